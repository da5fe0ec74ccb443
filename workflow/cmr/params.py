"""Parameters of plug-ins: validated, canonical, and digested into paths."""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from cmr.boundary import check_name

ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._@]*$"
Identifier = Annotated[str, Field(pattern=ID_PATTERN, max_length=40)]
"""An id becomes part of a path: letters, digits, '.', '_' and '@'. '-' and '+' are kept for digests and inputs.

Five ids, joined as inputs, with their digests, are within the 255 bytes that a file's name may have.
"""

Modality = Annotated[str, AfterValidator(check_name)]
"""A modality becomes part of files' names and of names in files."""


OF_DICTIONARY = "dictionary."
"""What stands before a parameter of the dictionary among those that a method tunes: ``dictionary.lambda1``."""


def of_method(tuned: Mapping[str, Any]) -> dict[str, Any]:
    """Of the parameters that a method tunes, or of their values, those of the method itself."""
    return {key: value for key, value in tuned.items() if not key.startswith(OF_DICTIONARY)}


def of_dictionary(tuned: Mapping[str, Any]) -> dict[str, Any]:
    """Of the parameters that a method tunes, or of their values, those of its dictionary, by their own names."""
    return {key.removeprefix(OF_DICTIONARY): value for key, value in tuned.items() if key.startswith(OF_DICTIONARY)}


class Params(BaseModel):
    """The parameters of one plug-in. Unknown keys are an error; every field has a default and a description."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    def changed(self) -> dict[str, Any]:
        """What differs from the defaults, as plain JSON values: the part that identifies a result."""
        return self.model_dump(mode="json", exclude_defaults=True)


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal for equal parameters."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def canonical_hash(value: Any) -> str:
    """sha256 of the canonical form."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def digest(value: Any) -> str:
    """Six hex digits of it."""
    return canonical_hash(value)[:6]


def component(identity: str, changed: dict[str, Any]) -> str:
    """A path component: the id, plus a digest where parameters differ from the defaults."""
    return f"{identity}-{digest(changed)}" if changed else identity
