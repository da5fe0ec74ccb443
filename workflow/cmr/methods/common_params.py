"""Parameters that methods share. A method declares one again where its default is another."""

from typing import Literal, Self

from pydantic import Field, PositiveInt, model_validator

from cmr.params import Params


class LinearParams(Params):
    """Of a method that maps scaled features linearly, or by kernels."""

    scale: Literal["standardise", "centre"] = Field(
        "standardise", description="each feature to variance 1, or all divided by one number"
    )


class DeepParams(Params):
    """Of a method with networks."""

    batch_size: int = Field(100, ge=2, description="rows a step")
    learning_rate: float = Field(1e-4, gt=0, description="Adam's step")
    epochs: int = Field(100, ge=1, description="epochs at most; the best is chosen on held-out rows")
    patience: int = Field(20, ge=0, description="stop after so many epochs without a better one; 0: never")
    scale: Literal["standardise", "centre", "none"] = Field("standardise", description="scaling of the inputs")
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="of the networks' products in training; weights and losses are float32"
    )


class TwoNetworksParams(DeepParams):
    """Layers of a network for each of two modalities, which embed them in one space."""

    first_layers: tuple[PositiveInt, ...]
    second_layers: tuple[PositiveInt, ...]

    @model_validator(mode="after")
    def _one_space(self) -> Self:
        if self.first_layers[-1] != self.second_layers[-1]:
            raise ValueError("first_layers and second_layers must end in the same number: their outputs are compared")
        return self


class CorrelationParams(DeepParams):
    """Of networks that maximise the correlation of their outputs over a batch, which is therefore large."""

    layers: tuple[PositiveInt, ...] = Field((1024,), description="hidden layers of each network, tanh")
    components: int = Field(10, ge=1, description="outputs of each network, and of the embedding")
    regularisation: float = Field(0.1, gt=0, description="ridge r on the outputs' covariances")
    batch_size: int = Field(800, ge=2, description="rows a step; many more than components")
    epochs: int = Field(50, ge=1, description="epochs at most; the best is chosen on held-out rows")
    patience: int = Field(10, ge=0, description="stop after so many epochs without a better one; 0: never")
