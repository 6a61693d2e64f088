"""A person's keys: a private file (0600) and a public card that the admin enters in the charter."""

import base64
import json
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import Field, ValidationError, model_validator

from client.errors import KeyRefused
from protocol.charter import person_words
from protocol.decision import DecisionKey
from protocol.ids import Base64, Hex32, PersonId, Strict, person_party
from protocol.sealing.envelope import EnvelopeKeys, from_private, generate_keys
from protocol.sealing.errors import KeyRefused as EnvelopeKeyRefused
from protocol.study import explain

MAX_KEY_FILE_BYTES = 64 * 1024


class Card(Strict):
    """What others need to know of a person: who, and with which public keys."""

    format: Literal["consortia-card/1", "consortia-card/2"]
    person: PersonId
    signing_key: Hex32
    receiving_key: Base64
    decision_key: DecisionKey | None = None

    @model_validator(mode="after")
    def _second_format_has_a_decision_key(self) -> Self:
        if (self.decision_key is not None) != (self.format == "consortia-card/2"):
            raise ValueError("decision_key: a card of format 2 has one, of format 1 none")
        return self

    @property
    def words(self) -> str:
        """Six words that name all its keys, to be compared by telephone."""
        return person_words(self.signing_key, self.receiving_key, self.decision_key)


class _KeyFile(Strict):
    format: Literal["consortia-key/1"]
    person: PersonId
    signing: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", repr=False)]
    receiving: Annotated[Base64, Field(repr=False)]


@dataclass(frozen=True, slots=True)
class Identity:
    """A person with private keys in memory; its ``repr`` shows the name only."""

    person: str
    signing: Ed25519PrivateKey = field(repr=False)
    receiving: EnvelopeKeys = field(repr=False)

    @property
    def party(self) -> str:
        return person_party(self.person)

    @property
    def card(self) -> Card:
        return Card(
            format="consortia-card/1",
            person=self.person,
            signing_key=self.signing.public_key().public_bytes_raw().hex(),
            receiving_key=base64.b64encode(self.receiving.public).decode(),
        )


def new_identity(person: str) -> Identity:
    """Fresh keys from the system's generator."""
    return Identity(person, Ed25519PrivateKey.generate(), generate_keys())


def card_path(key_path: Path) -> Path:
    """Where the public card of a key file lies: ``me.key`` -> ``me.card.json``."""
    return key_path.with_suffix(".card.json")


def write_identity(identity: Identity, path: Path) -> Path:
    """Write the key file (0600) and the card beside it; returns the card's path. Never overwrites either."""
    card = card_path(path)
    for file in (path, card):
        if file.exists():
            raise KeyRefused(f"{file} exists already and is never overwritten; choose another --out")
    private = _KeyFile(
        format="consortia-key/1",
        person=identity.person,
        signing=identity.signing.private_bytes_raw().hex(),
        receiving=base64.b64encode(identity.receiving.private).decode(),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    _create(path, json.dumps(private.model_dump(), indent=2) + "\n", 0o600)
    _create(card, card_text(identity.card), 0o644)
    return card


def read_identity(path: Path) -> Identity:
    """The identity in a key file. Raises ``KeyRefused`` if others may read it, or it is no key file."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise KeyRefused(f"{path} may be read by others (mode {mode:04o}); run: chmod 600 {path}")
            raw = file.read(MAX_KEY_FILE_BYTES + 1)
    except OSError as error:
        raise KeyRefused(f"key file {path} can't be read: {error.strerror}; make one: consortia keys new") from None
    try:
        stored = _KeyFile.model_validate_json(raw)
        signing = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(stored.signing))
        receiving = from_private(base64.b64decode(stored.receiving, validate=True))
    except (ValueError, EnvelopeKeyRefused):  # without the reason: it could quote the file
        raise KeyRefused(f"{path} is not a consortia key file (consortia-key/1)") from None
    return Identity(stored.person, signing, receiving)


def read_card(path: Path) -> Card:
    """The public card in ``path``. Raises ``KeyRefused`` with every field that is wrong."""
    try:
        return Card.model_validate_json(path.read_bytes()[: MAX_KEY_FILE_BYTES + 1])
    except OSError as error:
        raise KeyRefused(f"card {path} can't be read: {error.strerror}") from None
    except ValidationError as error:
        raise KeyRefused(f"{path} is not a public card: {explain(error)}") from None


def own_card(identity: Identity, key_path: Path) -> Card:
    """The card beside a person's key file, with the security key that it may hold; made anew where there is none.

    Raises ``KeyRefused`` if it is another person's, or of other keys.
    """
    path = card_path(key_path)
    if not path.exists():
        return identity.card
    card = read_card(path)
    bare = card.model_copy(update={"format": "consortia-card/1", "decision_key": None})
    if bare != identity.card:
        raise KeyRefused(f"{path} is not the card of {key_path}; move it away, or give the right key")
    return card


def card_text(card: Card) -> str:
    """The card as its file holds it."""
    return json.dumps(card.model_dump(exclude_none=True), indent=2) + "\n"


def add_decision_key(card_file: Path, key: DecisionKey, *, replace: bool) -> Card:
    """Write ``key`` into a public card, whole or not at all. Raises ``KeyRefused`` if another is there."""
    card = decision_key_wanted(card_file, replace=replace)
    value = {**card.model_dump(), "format": "consortia-card/2", "decision_key": key}
    newer = Card.model_validate(value)
    written = card_file.with_name(f".{card_file.name}.new")
    written.unlink(missing_ok=True)
    _create(written, card_text(newer), 0o644)
    written.replace(card_file)
    return newer


def decision_key_wanted(card_file: Path, *, replace: bool) -> Card:
    """The card, if it may be given a decision key. Raises ``KeyRefused`` otherwise."""
    card = read_card(card_file)
    if card.decision_key is not None and not replace:
        raise KeyRefused(f"{card_file} has a decision key already; --replace puts another in its place")
    return card


def _create(path: Path, text: str, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
