"""A commitment binds schema and content, and tells nothing to whom the key is unknown."""

import hashlib
import hmac

from protocol import canonical
from silo_node.dataset.fingerprint import Seal, same
from silo_node.dataset.schema import Schema

KEY = bytes(range(32))


def committed(key: bytes, schema: Schema, *pieces: bytes) -> str:
    seal = Seal(key, schema)
    for piece in pieces:
        seal.take(piece)
    return seal.commitment()


def test_a_commitment_is_the_documented_mac(schema: Schema) -> None:
    value = schema.model_dump(mode="json", exclude={"columns": {"__all__": {"categories", "missing", "image"}}})
    declared = hashlib.sha256(canonical.encode(value)).digest()
    expected = hmac.new(KEY, b"consortia/dataset/v1\0" + declared + b"rows", "sha256").hexdigest()
    assert committed(KEY, schema, b"rows") == committed(KEY, schema, b"ro", b"ws") == expected


def test_it_changes_with_the_key_the_schema_and_the_content(schema: Schema) -> None:
    other = schema.model_copy(update={"title": "Another clinic"})
    made = {
        committed(KEY, schema, b"rows"),
        committed(bytes(32), schema, b"rows"),
        committed(KEY, other, b"rows"),
        committed(KEY, schema, b"rows "),
    }
    assert len(made) == 4
    assert not any(same(one, other) for one in made for other in made - {one})
