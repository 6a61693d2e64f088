"""A commitment to a dataset: says later "this is still what was registered", and says nothing to anyone else."""

import hashlib
import hmac
from typing import Any, Final

from protocol import canonical
from silo_node.dataset.schema import Schema

CONTEXT = b"consortia/dataset/v1\0"
_YOUNGER: Final = ("categories", "missing", "image")
"""Fields that a column did not have at first: where unset they are left out, so that old commitments hold."""


class Seal:
    """HMAC-SHA256 (RFC 2104) under the silo's own 32-byte ``key`` of a schema and of what its source tells of itself.

    Keyed, since a plain digest of a table lets anyone who holds a candidate for it (an extract, or all but one
    record and a guess at the last) confirm it. Files give their bytes as they lie on the disk: one that is saved anew
    is another source. Databases give the cells that were read, in a declared order.
    """

    def __init__(self, key: bytes, schema: Schema) -> None:
        declared = hashlib.sha256(canonical.encode(declaration(schema))).digest()
        self._mac = hmac.new(key, CONTEXT + declared, hashlib.sha256)

    def take(self, data: bytes | memoryview) -> None:
        """What comes next of the source."""
        self._mac.update(data)

    def commitment(self) -> str:
        """64 hexadecimal characters: the commitment to all that was taken."""
        return self._mac.hexdigest()


def declaration(schema: Schema) -> dict[str, Any]:
    """The schema in JSON types, as it is committed to."""
    value = schema.model_dump(mode="json")
    for column in value["columns"]:
        for name in _YOUNGER:
            if column[name] is None:
                del column[name]
    return value


def same(first: str, second: str) -> bool:
    """Whether two commitments are equal, compared in constant time."""
    return hmac.compare_digest(first, second)
