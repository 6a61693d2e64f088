"""A commitment binds schema and content, and tells nothing to whom the key is unknown."""

import hashlib
import hmac

from protocol import canonical
from silo_node.dataset.fingerprint import commitment, same
from silo_node.dataset.schema import Schema

KEY = bytes(range(32))


def test_a_commitment_is_the_documented_mac(schema: Schema) -> None:
    declared = hashlib.sha256(canonical.encode(schema.model_dump(mode="json"))).digest()
    expected = hmac.new(KEY, b"consortia/dataset/v1\0" + declared + b"rows", "sha256").hexdigest()
    assert commitment(KEY, schema, b"rows") == expected


def test_it_changes_with_the_key_the_schema_and_the_content(schema: Schema) -> None:
    other = schema.model_copy(update={"title": "Another clinic"})
    made = {
        commitment(KEY, schema, b"rows"),
        commitment(bytes(32), schema, b"rows"),
        commitment(KEY, other, b"rows"),
        commitment(KEY, schema, b"rows "),
    }
    assert len(made) == 4
    assert not any(same(one, other) for one in made for other in made - {one})
