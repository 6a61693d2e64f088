"""A public card holds the keys that its words name, a decision key among them."""

import hashlib
import json

import pytest
from pydantic import ValidationError

from client.errors import KeyRefused
from client.keys import Card, add_decision_key, card_text, new_identity, read_card, write_identity
from protocol.charter import key_words
from protocol.words import spoken
from tests.security_key import SecurityKey

KEY = SecurityKey.es256().public


@pytest.fixture
def card_file(tmp_path):
    return write_identity(new_identity("ada"), tmp_path / "ada.key")


def test_a_card_without_a_security_key_is_what_it_always_was(card_file):
    value = json.loads(card_file.read_text())
    assert set(value) == {"format", "person", "signing_key", "receiving_key"}
    assert read_card(card_file).words == key_words(value["signing_key"], value["receiving_key"])


def test_a_card_with_a_security_key_reads_back_with_other_words(card_file):
    plain = read_card(card_file)
    made = add_decision_key(card_file, KEY, replace=False)
    assert read_card(card_file) == made and made.decision_key == KEY and made.words != plain.words
    other = add_decision_key(card_file, SecurityKey.es256(8).public, replace=True)
    assert other.words not in (made.words, plain.words)


def test_the_words_are_those_of_the_document(card_file):
    made = add_decision_key(card_file, KEY, replace=False)
    value = json.loads(card_file.read_text())
    keys = {name: value[name] for name in ("decision_key", "receiving_key", "signing_key")}
    told = json.dumps(keys, sort_keys=True, separators=(",", ":")).encode()
    assert made.words == spoken(hashlib.sha256(b"consortia/card-words/v2\x00" + told).digest()[:12])


def test_a_security_key_is_never_overwritten_by_chance(card_file):
    add_decision_key(card_file, KEY, replace=False)
    before = card_file.read_bytes()
    with pytest.raises(KeyRefused, match="--replace"):
        add_decision_key(card_file, SecurityKey.eddsa().public, replace=False)
    assert card_file.read_bytes() == before


def test_format_and_security_key_go_together(card_file):
    value = {**json.loads(card_file.read_text()), "decision_key": KEY.model_dump()}
    for wrong in (value, {**value, "format": "consortia-card/2", "decision_key": None}):
        with pytest.raises(ValidationError, match="decision_key"):
            Card.model_validate_json(json.dumps(wrong))
    spoilt = {**value, "format": "consortia-card/2", "decision_key": {**KEY.model_dump(), "public_key": "A" * 60}}
    card_file.write_text(json.dumps(spoilt))
    with pytest.raises(KeyRefused, match="decision_key"):
        read_card(card_file)


def test_the_text_of_a_card_is_the_card(card_file):
    made = add_decision_key(card_file, KEY, replace=False)
    assert card_text(made) == card_file.read_text()
