"""A commitment to a dataset: says later "this is still what was registered", and says nothing to anyone else."""

import hashlib
import hmac

from protocol import canonical
from silo_node.dataset.schema import Schema

CONTEXT = b"consortia/dataset/v1\0"


def commitment(key: bytes, schema: Schema, content: bytes) -> str:
    """HMAC-SHA256 (RFC 2104) under the silo's own 32-byte ``key`` of the schema and of the source's bytes, in hex.

    Keyed, since a plain digest of a table lets anyone who holds a candidate for it (an extract, or all but one
    record and a guess at the last) confirm it. The bytes are the source's as they lie on the disk: a file that is
    saved anew is another source, and is registered as one.
    """
    declared = hashlib.sha256(canonical.encode(schema.model_dump(mode="json"))).digest()
    mac = hmac.new(key, CONTEXT + declared, hashlib.sha256)
    mac.update(content)
    return mac.hexdigest()


def same(first: str, second: str) -> bool:
    """Whether two commitments are equal, compared in constant time."""
    return hmac.compare_digest(first, second)
