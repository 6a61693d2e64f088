"""Whom the hub believes while keys change, and what its replicas remember of each other's requests."""

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import func, select

from hub.errors import Conflict, InvalidProof, InvalidToken, NonceNeeded
from hub.services.access_tokens import AccessTokens
from hub.services.identity import Caller, Identity
from hub.services.nonces import Nonces
from hub.store import tables
from hub.store.database import Database
from hub.store.schema import migrate
from protocol.dpop import Asked, make_proof, thumbprint
from protocol.errors import BadSignature
from protocol.routes import TOKENS
from protocol.tokens import client_assertion

ORIGIN, AUDIENCE = "https://hub.example", "consortia-hub:test/log"


def public(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes_raw().hex()


@dataclass(frozen=True)
class Person:
    role: str


@dataclass
class Named:
    """What a charter says of who there is; ``recent`` and ``current`` are the same here."""

    hub_key: str
    keys: dict[str, str]
    roles: dict[str, str]
    version: int = 1

    def current(self, _: Any) -> "Named":
        return self

    def recent(self) -> "Named":
        return self

    def signing_key_of(self, party: str) -> str:
        if party not in self.keys:
            raise BadSignature(f"{party} is not named in charter version {self.version}")
        return self.keys[party]

    def member(self, silo: str) -> None:
        self.signing_key_of(f"silo:{silo}")

    def person(self, name: str) -> Person:
        self.signing_key_of(f"person:{name}")
        return Person(self.roles[name])


@dataclass
class World:
    """A hub's replicas under one charter, with one clock, and the keys of a silo and a person."""

    folder: Path
    now: datetime = datetime(2026, 11, 24, 12, 0, 30, tzinfo=UTC)
    hub: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    proof_key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    opened: list[Database] = field(default_factory=list)

    def __post_init__(self) -> None:
        keys = {"silo:ada": public(self.key), "person:ines": public(Ed25519PrivateKey.generate())}
        self.charter = Named(public(self.hub), keys, {"ines": "admin"})

    def replica(self, *keys: Ed25519PrivateKey, clock: Callable[[], datetime] | None = None) -> Identity:
        database = Database(f"sqlite:///{self.folder / 'hub.sqlite'}")
        self.opened.append(database)
        migrate(database, self.folder)
        tokens = AccessTokens(lambda _: keys or (self.hub,), "test/log", AUDIENCE)
        clock = clock or (lambda: self.now)
        charters: Any = self.charter
        return Identity(
            database, charters, tokens, Nonces(lambda: (self.hub,), clock), clock, lambda: secrets.token_hex(16)
        )

    def ask(self, identity: Identity, party: str = "silo:ada", key: Ed25519PrivateKey | None = None) -> str:
        bound = thumbprint(self.proof_key.public_key().public_bytes_raw())
        assertion = client_assertion(party, key or self.key, AUDIENCE, bound, self.now, secrets.token_hex(16))
        asked = Asked("POST", ORIGIN, TOKENS)
        return identity.token(assertion, self.proof(identity, asked), asked).access_token

    def proof(self, identity: Identity, asked: Asked, token: str | None = None) -> str:
        given = (asked.method, asked.origin + asked.path, self.now, secrets.token_hex(16), token)
        return make_proof(self.proof_key, *given, identity.nonces.current())

    def call(self, identity: Identity, token: str) -> Caller:
        asked = Asked("GET", ORIGIN, "/v1/silos")
        return identity.caller(token, self.proof(identity, asked, token), asked)

    def pass_(self, **time: float) -> None:
        self.now += timedelta(**time)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    for database in made.opened:
        database.close()


def test_a_token_serves_for_five_minutes_at_every_replica(world: World) -> None:
    one, two = world.replica(), world.replica()
    token = world.ask(one)
    world.pass_(seconds=299)
    for replica in (one, two):
        caller = world.call(replica, token)
        assert (caller.party, caller.role, "terms:write" in caller.scopes) == ("silo:ada", "silo", True)
    world.pass_(seconds=1)
    for replica in (one, two):
        with pytest.raises(InvalidToken, match="expired"):
            world.call(replica, token)


def test_a_silo_that_the_charter_no_longer_names_is_out_at_its_next_request(world: World) -> None:
    hub = world.replica()
    token = world.ask(hub)
    del world.charter.keys["silo:ada"]
    for refused in (lambda: world.call(hub, token), lambda: world.ask(hub)):
        with pytest.raises(InvalidToken, match="not named in"):
            refused()


def test_after_a_party_changed_its_key_assertions_and_tokens_by_the_older_one_are_refused_at_once(
    world: World,
) -> None:
    one, two, newer = world.replica(), world.replica(), Ed25519PrivateKey.generate()
    token = world.ask(one)
    assert world.call(two, token)
    world.charter.keys["silo:ada"] = public(newer)
    for hub in (one, two):
        with pytest.raises(InvalidToken, match="names another key"):
            world.call(hub, token)
        with pytest.raises(InvalidToken, match="not signed by the key that the charter names"):
            world.ask(hub)
        assert world.call(hub, world.ask(hub, key=newer)).party == "silo:ada"


def test_a_person_whose_role_changed_has_no_more_than_both_roles_may(world: World) -> None:
    hub, key = world.replica(), Ed25519PrivateKey.generate()
    world.charter.keys["person:ines"] = public(key)
    token = world.ask(hub, "person:ines", key)
    assert "enrolments:read" in world.call(hub, token).scopes
    world.charter.roles["ines"] = "officer"
    caller = world.call(hub, token)
    assert (caller.role, caller.scopes & {"enrolments:read", "statements:write"}) == ("officer", set())
    older = world.ask(hub, "person:ines", key)
    world.charter.roles["ines"] = "admin"
    assert "enrolments:read" not in world.call(hub, older).scopes, "a token never grows"


def test_while_the_hubs_key_is_changed_no_token_is_cut_off_and_new_ones_are_by_the_new_key(world: World) -> None:
    older, newer = world.hub, Ed25519PrivateKey.generate()
    hub = world.replica(older, newer)
    token = world.ask(hub)
    world.pass_(seconds=120)
    world.charter.hub_key = public(newer)
    after = world.ask(hub)
    assert jwt.get_unverified_header(after)["kid"] == thumbprint(newer.public_key().public_bytes_raw())
    for one in (token, after):
        assert world.call(hub, one).party == "silo:ada"
    world.pass_(seconds=179)
    assert world.call(hub, token), "until its end"
    world.pass_(seconds=1)
    with pytest.raises(InvalidToken, match="expired"):
        world.call(hub, token)
    assert world.call(hub, after)


def test_the_hubs_older_key_makes_no_tokens_once_its_last_ones_have_ended(world: World) -> None:
    """Whoever has stolen it can't go on with it for longer than a token lasts, though the hub still holds it."""
    older, newer = world.hub, Ed25519PrivateKey.generate()
    hub = world.replica(older, newer)
    world.ask(hub)
    world.charter.hub_key = public(newer)
    world.ask(hub)
    world.pass_(seconds=299)
    thief = World(world.folder, now=world.now, hub=older, key=world.key, proof_key=world.proof_key)
    forged = thief.ask(thief.replica(older))
    assert world.call(hub, forged)
    world.pass_(seconds=2)
    with pytest.raises(InvalidToken, match="key was changed"):
        world.call(hub, forged)
    for database in thief.opened:
        database.close()


def test_a_token_by_a_key_that_is_not_the_hubs_is_refused(world: World) -> None:
    hub = world.replica()
    stranger = World(world.folder, hub=Ed25519PrivateKey.generate(), key=world.key, proof_key=world.proof_key)
    forged = stranger.ask(stranger.replica())
    with pytest.raises(InvalidToken, match="not an access token of this hub"):
        world.call(hub, forged)
    for database in stranger.opened:
        database.close()


def test_a_hub_without_the_key_that_the_charter_names_gives_no_tokens_and_says_why(world: World) -> None:
    hub = world.replica()
    world.charter.hub_key = public(Ed25519PrivateKey.generate())
    with pytest.raises(Conflict, match="hub key that this hub doesn't hold"):
        world.ask(hub)


def test_a_proof_that_one_replica_took_is_refused_by_the_other(world: World) -> None:
    one, two = world.replica(), world.replica()
    token, asked = world.ask(one), Asked("GET", ORIGIN, "/v1/silos")
    proof = world.proof(one, asked, token)
    assert two.caller(token, proof, asked)
    for replica in (one, two):
        with pytest.raises(InvalidProof, match="used before"):
            replica.caller(token, proof, asked)


def test_a_proof_counts_as_long_as_its_nonce_and_is_remembered_for_longer(world: World) -> None:
    hub = world.replica()
    token, asked = world.ask(hub), Asked("GET", ORIGIN, "/v1/silos")
    used, unused = (world.proof(hub, asked, token) for _ in range(2))
    hub.caller(token, used, asked)
    world.pass_(seconds=89)  # the nonce is of the minute before by now
    hub.sweep()
    with pytest.raises(InvalidProof, match="used before"):
        hub.caller(token, used, asked)
    assert hub.caller(token, unused, asked)
    world.pass_(seconds=2)
    with pytest.raises(InvalidProof, match="iat"):
        hub.caller(token, unused, asked)


def test_a_nonce_counts_for_a_minute_after_its_own_and_at_a_replica_whose_clock_is_behind(world: World) -> None:
    nonces = Nonces(lambda: (world.hub,), lambda: world.now)
    given, period = nonces.current(), nonces.period
    for seconds, known in ((0, True), (29, True), (60, True), (1, False), (-180, True), (-1, False)):
        world.pass_(seconds=seconds)
        assert nonces.period_of(given) == (period if known else None)
    assert Nonces(lambda: (world.key,), lambda: world.now).period_of(given) is None, "another hub's"
    assert nonces.period_of("") is None and nonces.period_of("ä") is None


def test_a_stale_nonce_is_asked_for_again_without_using_up_the_proof(world: World) -> None:
    hub = world.replica()
    asked = Asked("GET", ORIGIN, "/v1/silos")
    token = world.ask(hub)
    stale = make_proof(world.proof_key, "GET", ORIGIN + asked.path, world.now, "a" * 32, token, "old")
    with pytest.raises(NonceNeeded):
        hub.caller(token, stale, asked)
    fresh = make_proof(world.proof_key, "GET", ORIGIN + asked.path, world.now, "a" * 32, token, hub.nonces.current())
    assert hub.caller(token, fresh, asked)


def test_what_can_not_be_shown_again_is_forgotten_and_nothing_else(world: World) -> None:
    hub = world.replica()

    def kept() -> tuple[int, int]:
        with hub.database.reading() as connection:
            counts = (select(func.count()).select_from(table) for table in (tables.assertions, tables.proofs))
            one, two = (connection.execute(count).scalar_one() for count in counts)
            return one, two

    token = world.ask(hub)
    world.call(hub, token)
    assert kept() == (1, 2)
    world.pass_(seconds=89)
    hub.sweep()
    assert kept() == (1, 2)
    world.pass_(seconds=120)
    hub.sweep()
    assert kept() == (0, 0)


def test_a_refused_request_leaves_nothing_behind(world: World) -> None:
    """Or a flood of them would fill the table of proofs."""
    hub, asked = world.replica(), Asked("POST", ORIGIN, TOKENS)
    with pytest.raises(InvalidToken):
        hub.token("no assertion", world.proof(hub, asked), asked)
    with pytest.raises(InvalidToken):
        world.ask(hub, "silo:nobody")
    stolen, thief = world.ask(hub), Ed25519PrivateKey.generate()
    place = Asked("GET", ORIGIN, "/v1/silos")
    own = make_proof(thief, "GET", ORIGIN + place.path, world.now, "b" * 32, stolen, hub.nonces.current())
    with pytest.raises(InvalidToken, match="bound to another key"):
        hub.caller(stolen, own, place)
    with hub.database.reading() as connection:
        assert connection.execute(select(func.count()).select_from(tables.proofs)).scalar_one() == 1
