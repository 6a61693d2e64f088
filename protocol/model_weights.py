"""The file of weights that a contract holds: checked by digest and size, then read by the bounds of its format."""

import base64
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Final, Self

from pydantic import Field, model_validator

from protocol import canonical
from protocol.errors import Malformed
from protocol.ids import Base64, Digest, Strict
from protocol.tensor_file import Floats, read_tensors

MAX_WEIGHTS_BYTES: Final = 1 << 20
"""They are in the contract, which every party holds and the log keeps: 262,000 values of float32."""


@dataclass(frozen=True, slots=True, eq=False)
class Tensors:
    """What a file of weights holds. Two are equal if they are one: files are compared by their digest."""

    by_name: dict[str, Floats]


class Weights(Strict):
    """A safetensors file in the contract itself: tensors are float32 or float64, named as the graph's parameters.

    ``digest`` and ``size`` are of the file; ``data`` is the file, in base64. It is checked by digest and size before
    it is parsed.
    """

    digest: Digest
    size: Annotated[int, Field(ge=8, le=MAX_WEIGHTS_BYTES)]
    data: Annotated[Base64, Field(max_length=4 * (MAX_WEIGHTS_BYTES // 3 + 1))]

    @model_validator(mode="after")
    def _readable(self) -> Self:
        try:
            vars(self)["opened"] = self.opened
        except Malformed as error:
            raise ValueError(str(error)) from None
        return self

    @property
    def tensors(self) -> dict[str, Floats]:
        """The values of the file, by name, float64."""
        return self.opened.by_name

    @cached_property
    def opened(self) -> Tensors:
        """The file, read once. Raises ``Malformed``."""
        try:
            data = base64.b64decode(self.data, validate=True)
        except ValueError:
            raise Malformed("weights.data is not base64") from None
        if len(data) != self.size or not hmac.compare_digest(canonical.digest(data), self.digest):
            raise Malformed("weights.data: is not the file of this digest and size")
        return Tensors(read_tensors(data, "weights.data", ("F32", "F64"))[1])

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As pydantic's; the values of what is changed are read anew."""
        copied = super().model_copy(update=update, deep=deep)
        vars(copied).pop("opened", None)
        return copied
