"""As steady, but a short run: without a GPU. A fit of it may fail."""

from typing import Literal

from cmr.methods.steady import Steady
from pydantic import Field

from cmr.data import Part
from cmr.info import MethodInfo
from cmr.methods.base import History
from cmr.params import Params as BaseParams

INFO = MethodInfo(
    title="Brief",
    paper="made up",
    implementation="own",
    modalities=2,
    labels=True,
    stochastic=True,
)


class Params(BaseParams):
    scale: Literal["standardise", "centre"] = Field("centre", description="as for every linear method")
    steps: int = Field(3, ge=1, description="steps of a fit")
    megabytes: int = Field(1, description="memory that a fit takes")
    fails: bool = Field(False, description="whether a fit fails")


class Brief(Steady):
    def fit(self, train: Part, validation: Part | None = None, unlabelled: Part | None = None) -> History:
        if self.params.fails:
            raise ValueError("made to fail")
        return super().fit(train, validation, unlabelled)
