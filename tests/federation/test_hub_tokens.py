"""Tokens over real HTTP: what whoever holds one, or saw a request go by, can't do with it. Two replicas answer."""

import json
import secrets
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import ECAlgorithm

from hub.config.keys import load
from hub.services.pinned_charter import RECENT_S
from protocol import routes
from protocol.charter import charter_digest
from protocol.dpop import make_proof, thumbprint
from tests.unit.hub.rig.consortium import Consortium
from tests.unit.hub.rig.party import Party
from tests.unit.hub.rig.process import HubProcess
from tests.unit.hub.rig.silo import FakeSilo

MALFORMED, UNAUTHENTICATED = "consortia:malformed", "consortia:unauthenticated"
BAD_PROOF, NONCE = "consortia:invalid-dpop-proof", "consortia:use-dpop-nonce"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    process = HubProcess(tmp_path_factory.mktemp("tokens") / "hub", tokens_per_minute="1000")
    process.start()
    yield process
    process.stop()


@pytest.fixture(scope="module")
def replica(hub: HubProcess) -> Iterator[HubProcess]:
    process = HubProcess(hub.folder, card=hub.card)
    process.start()
    yield process
    process.stop()


@pytest.fixture(scope="module")
def consortium(hub: HubProcess) -> Consortium:
    made = Consortium(hub.url, hub.card, silos=("ada", "bern"))
    made.gather()
    return made


@pytest.fixture
def ada(consortium: Consortium) -> Party:
    party = consortium.silo("ada")
    party.get(routes.SILOS)  # has a token and a nonce of this minute from here on
    return party


def ask(party: Party, headers: dict[str, str], path: str = routes.SILOS, url: str = "") -> tuple[int, str]:
    """Status, and the problem's type of a refusal, of a GET with these headers and nothing else."""
    answer = httpx.get((url or party.url) + path, headers=headers)
    return answer.status_code, answer.json()["type"] if answer.status_code >= 400 else ""


def proof(party: Party, key: Any = None, algorithm: str = "EdDSA", **changes: Any) -> str:
    """A proof for GET /v1/silos, with the claims and header fields in ``changes`` put in place; None leaves one out."""
    url, token = party.url + routes.SILOS, party.token
    sound = make_proof(party.proof_key, "GET", url, datetime.now(UTC), secrets.token_hex(16), token, party.nonce)
    header = jwt.get_unverified_header(sound)
    claims = jwt.decode(sound, options={"verify_signature": False})
    for name, value in changes.items():
        place = header if name in ("typ", "jwk") else claims
        place[name] = value
        if value is None:
            del place[name]
    header.pop("alg")
    return jwt.encode(claims, party.proof_key if key is None else key, algorithm=algorithm, headers=header)


def shown(party: Party, proof: str) -> dict[str, str]:
    return {"Authorization": f"DPoP {party.token}", "DPoP": proof}


# -- assertions


def test_an_assertion_is_used_once_at_all_replicas(consortium: Consortium, replica: HubProcess) -> None:
    party = consortium.silos[0]
    assertion = party.assertion()
    assert party.ask_token(assertion).status_code == 200
    again = party.ask_token(assertion)
    assert (again.status_code, again.json()["type"]) == (401, UNAUTHENTICATED)
    elsewhere = Party(party.party, replica.url, replica.card)
    elsewhere.key, elsewhere.proof_key = party.key, party.proof_key
    assert elsewhere.ask_token(assertion).status_code == 401
    assert elsewhere.ask_token(elsewhere.assertion()).status_code == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "another-log/1234"},
        {"exp": 1},
        {"exp": int(time.time()) + 3600},
        {"iat": int(time.time()) + 3600, "exp": int(time.time()) + 3650},
        {"iss": "silo:bern"},
        {"sub": "silo:bern", "iss": "silo:bern"},
        {"sub": "hub", "iss": "hub"},
        {"sub": "silo:nobody", "iss": "silo:nobody"},
        {"jti": ""},
        {"jti": 7},
        {"cnf": {"jkt": "A" * 43}},
        {"cnf": {}},
    ],
)
def test_an_assertion_that_does_not_fit_is_refused(consortium: Consortium, changes: dict[str, Any]) -> None:
    ada = consortium.silo("ada")
    assert ada.ask_token(ada.assertion(**changes)).status_code == 401


def test_an_assertion_for_a_log_or_an_address_instead_of_this_hub_is_refused(consortium: Consortium) -> None:
    ada, origin = consortium.silo("ada"), consortium.card["log_origin"]
    for audience in (origin, consortium.url + routes.TOKENS, consortium.url):
        assert ada.ask_token(ada.assertion(aud=audience)).status_code == 401


def test_assertions_without_a_signature_or_keyed_with_the_public_key_are_refused(consortium: Consortium) -> None:
    ada = consortium.silo("ada")
    claims = jwt.decode(ada.assertion(), options={"verify_signature": False})
    assert ada.ask_token(jwt.encode(claims, None, algorithm="none")).status_code == 401
    secret = bytes.fromhex(ada.public)
    assert ada.ask_token(jwt.encode(claims, secret, algorithm="HS256")).status_code == 401


def test_an_assertion_taken_on_its_way_gives_no_token_for_another_key(consortium: Consortium) -> None:
    ada, thief = consortium.silo("ada"), Party("silo:ada", consortium.url, consortium.card)
    stolen = ada.assertion()
    answer = thief.ask_token(stolen)
    assert (answer.status_code, "cnf" in answer.json()["detail"]) == (401, True)
    assert ada.ask_token(stolen).status_code == 200, "the thief's try doesn't use it up"


def test_a_token_request_needs_a_proof_of_its_own(consortium: Consortium) -> None:
    ada = consortium.silo("ada")
    form = {"grant_type": "client_credentials", "client_assertion_type": "", "client_assertion": ada.assertion()}
    form["client_assertion_type"] = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    answer = httpx.post(consortium.url + routes.TOKENS, data=form)
    assert (answer.status_code, answer.json()["type"]) == (401, UNAUTHENTICATED)
    wrong = ada.proof("POST", consortium.url + routes.TOKENS, token="x")
    answer = httpx.post(consortium.url + routes.TOKENS, data=form, headers={"DPoP": wrong})
    assert (answer.status_code, answer.json()["type"]) == (401, BAD_PROOF)


# -- access tokens


def access(consortium: Consortium, key: Any, algorithm: str = "EdDSA", kid: str = "", **changes: Any) -> int:
    """Status of a request with a token made with ``key``, and a sound proof by ada's key."""
    ada, origin, now = consortium.silo("ada"), consortium.card["log_origin"], int(time.time())
    claims = {
        "iss": origin,
        "aud": routes.audience(origin),
        "sub": "silo:ada",
        "client_id": "silo:ada",
        "scope": "silos:read",
        "jti": "x",
        "iat": now,
        "exp": now + 50,
        "cnf": {"jkt": thumbprint(ada.proof_key.public_key().public_bytes_raw())},
        "identity": thumbprint(bytes.fromhex(ada.public)),
    }
    kid = kid or thumbprint(bytes.fromhex(consortium.card["hub_key"]))
    token = jwt.encode({**claims, **changes}, key, algorithm=algorithm, headers={"typ": "at+jwt", "kid": kid})
    made = ada.proof("GET", ada.url + routes.SILOS, token)
    return ask(ada, {"Authorization": f"DPoP {token}", "DPoP": made})[0]


def test_access_tokens_that_the_hub_did_not_sign_or_that_ran_out_are_refused(
    hub: HubProcess, consortium: Consortium, ada: Party
) -> None:
    key = load(hub.folder / "keys").hub
    assert access(consortium, key) == 200
    assert access(consortium, key, exp=int(time.time()) - 1) == 401
    assert access(consortium, key, sub="silo:nobody") == 401
    assert access(consortium, key, sub="silo:bern") == 401, "given for ada's key"
    assert access(consortium, key, aud="elsewhere") == 401
    assert access(consortium, key, aud=consortium.card["log_origin"]) == 401
    assert access(consortium, key, iss="elsewhere") == 401
    assert access(consortium, key, identity=thumbprint(bytes(32))) == 401
    assert access(consortium, key, cnf={"jkt": thumbprint(bytes(32))}) == 401
    assert access(consortium, key, cnf={}) == 401
    assert access(consortium, key, kid="other") == 401
    assert access(consortium, key, scope="log:read") == 403
    assert access(consortium, ada.key) == 401
    assert access(consortium, ada.key, kid=thumbprint(bytes.fromhex(ada.public))) == 401
    assert access(consortium, None, "none") == 401
    assert access(consortium, bytes.fromhex(consortium.card["hub_key"]), "HS256") == 401


def test_an_assertion_is_no_access_token(ada: Party) -> None:
    assertion = ada.assertion()
    made = ada.proof("GET", ada.url + routes.SILOS, assertion)
    assert ask(ada, {"Authorization": f"DPoP {assertion}", "DPoP": made}) == (401, UNAUTHENTICATED)


def test_a_token_is_no_bearer_token(ada: Party) -> None:
    for headers in ({}, {"DPoP": ada.proof("GET", ada.url + routes.SILOS, ada.token)}):
        answer = httpx.get(ada.url + routes.SILOS, headers={"Authorization": f"Bearer {ada.token}", **headers})
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'DPoP algs="EdDSA"')
    assert ask(ada, {"Authorization": f"DPoP {ada.token}"}) == (401, UNAUTHENTICATED)
    assert ask(ada, {}) == (401, UNAUTHENTICATED)


def test_a_stolen_token_is_worth_nothing_without_its_key(ada: Party, consortium: Consortium) -> None:
    thief = Ed25519PrivateKey.generate()
    url, now = ada.url + routes.SILOS, datetime.now(UTC)
    own = make_proof(thief, "GET", url, now, secrets.token_hex(16), ada.token, ada.nonce)
    assert ask(ada, shown(ada, own)) == (401, UNAUTHENTICATED)
    # Nor does the victim's own key in the header help, as the thief can't sign for it.
    header = jwt.get_unverified_header(proof(ada))
    assert ask(ada, shown(ada, proof(ada, key=thief, jwk=header["jwk"]))) == (401, BAD_PROOF)
    # Nor the token of a member who has one of their own.
    bern = consortium.silo("bern")
    mixed = make_proof(bern.proof_key, "GET", url, now, secrets.token_hex(16), ada.token, ada.nonce)
    assert ask(ada, shown(ada, mixed)) == (401, UNAUTHENTICATED)


# -- proofs


def test_a_proof_is_used_once_at_all_replicas(ada: Party, hub: HubProcess, replica: HubProcess) -> None:
    once = proof(ada)
    assert ask(ada, shown(ada, once)) == (200, "")
    assert ask(ada, shown(ada, once)) == (401, BAD_PROOF)
    # A replica has the same public address as far as a proof is concerned: the thief sends the Host of the other.
    headers = {**shown(ada, once), "Host": hub.url.removeprefix("http://")}
    assert ask(ada, headers, url=replica.url) == (401, BAD_PROOF)
    fresh = {**shown(ada, proof(ada)), "Host": hub.url.removeprefix("http://")}
    assert ask(ada, fresh, url=replica.url) == (200, ""), "refused for its use, not for the replica"


def test_the_identifier_of_one_partys_proof_is_free_for_anothers(ada: Party, consortium: Consortium) -> None:
    bern, jti = consortium.silo("bern"), secrets.token_hex(16)
    bern.get(routes.SILOS)
    assert ask(ada, shown(ada, proof(ada, jti=jti))) == (200, "")
    assert ask(bern, shown(bern, proof(bern, jti=jti))) == (200, "")
    assert ask(bern, shown(bern, proof(bern, jti=jti))) == (401, BAD_PROOF)


def test_a_proof_for_another_address_or_method_is_refused(ada: Party) -> None:
    good = proof(ada)
    assert ask(ada, shown(ada, good), path=routes.BUDGETS) == (401, BAD_PROOF)
    answer = httpx.post(ada.url + routes.STATEMENTS, content=b"{}", headers=shown(ada, good))
    assert (answer.status_code, answer.json()["type"]) == (401, BAD_PROOF)
    for changes in (
        {"htm": "PUT"},
        {"htm": "get"},
        {"htu": "https://hub.example" + routes.SILOS},
        {"htu": ada.url.replace("http:", "https:") + routes.SILOS},
        {"htu": ada.url + routes.SILOS + "/"},
        {"htu": ada.url + routes.SILOS + "?x=1"},
        {"htu": routes.SILOS},
        {"htu": ada.url.replace("127.0.0.1", "127.0.0.1@evil.example") + routes.SILOS},
    ):
        assert ask(ada, shown(ada, proof(ada, **changes))) == (401, BAD_PROOF), changes
    assert ask(ada, shown(ada, good)) == (200, ""), "its tries elsewhere didn't use it up"


def test_a_proof_for_another_host_is_refused_whatever_host_the_request_names(ada: Party) -> None:
    """A machine in between, whom a party takes for its hub, has proofs for its own address only."""
    made = proof(ada, htu="http://evil.example" + routes.SILOS)
    assert ask(ada, {**shown(ada, made), "Host": "evil.example"}) == (401, BAD_PROOF)


def test_a_proof_with_another_token_hash_is_refused(ada: Party) -> None:
    for changed in ({"ath": "A" * 43}, {"ath": None}, {"ath": ""}, {"ath": 7}):
        assert ask(ada, shown(ada, proof(ada, **changed))) == (401, BAD_PROOF), changed


def test_an_old_or_future_proof_is_refused(ada: Party) -> None:
    now = int(time.time())
    for iat in (now - 120, now + 60, 0, -1, 2**70, str(now), now + 0.5):
        assert ask(ada, shown(ada, proof(ada, iat=iat))) == (401, BAD_PROOF), iat
    assert ask(ada, shown(ada, proof(ada, iat=now - 20))) == (200, "")


def test_a_proof_without_a_nonce_of_these_minutes_is_sent_back_for_one(ada: Party) -> None:
    for stale in (None, "A" * 24, secrets.token_urlsafe(18)):
        answer = httpx.get(ada.url + routes.SILOS, headers=shown(ada, proof(ada, nonce=stale)))
        assert (answer.status_code, answer.json()["type"]) == (401, NONCE)
        assert answer.headers["WWW-Authenticate"] == 'DPoP error="use_dpop_nonce", algs="EdDSA"'
        given = answer.headers["DPoP-Nonce"]
        assert ask(ada, shown(ada, proof(ada, nonce=given))) == (200, "")


def test_the_nonce_of_one_replica_counts_at_the_other(ada: Party, hub: HubProcess, replica: HubProcess) -> None:
    answer = httpx.get(replica.url + routes.SILOS, headers={"DPoP": "none"})
    given = answer.headers["DPoP-Nonce"]
    assert ask(ada, shown(ada, proof(ada, nonce=given))) == (200, "")


def test_proofs_by_other_algorithms_or_of_another_form_are_refused(ada: Party) -> None:
    jwk = jwt.get_unverified_header(proof(ada))["jwk"]
    private = {**jwk, "d": jwk["x"]}
    curve = generate_private_key(SECP256R1())
    elliptic = json.loads(ECAlgorithm.to_jwk(curve.public_key()))
    symmetric = {"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"}
    made = {
        "no algorithm": proof(ada, key="", algorithm="none"),
        "keyed with the public key": proof(ada, key=bytes.fromhex(ada.public), algorithm="HS256"),
        "a symmetric key": proof(ada, key=b"secret-secret-secret-secret-secret", algorithm="HS256", jwk=symmetric),
        "another curve": proof(ada, key=curve, algorithm="ES256", jwk=elliptic),
        "private key": proof(ada, jwk=private),
        "no key": proof(ada, jwk=None),
        "a key of zeros": proof(ada, jwk={**jwk, "x": "A" * 43}),
        "a key that is short": proof(ada, jwk={**jwk, "x": "AAAA"}),
        "another spelling of the key": proof(ada, jwk={**jwk, "x": jwk["x"][:-1] + _next(jwk["x"][-1])}),
        "another type": proof(ada, typ="JWT"),
        "no identifier": proof(ada, jti=None),
        "a short identifier": proof(ada, jti="x"),
        "a claim too many": proof(ada, exp=int(time.time()) + 50),
        "not a JWT": "x.y.z",
        "nothing": "",
        "far too long": "x" * 20_000,
    }
    for what, one in made.items():
        assert ask(ada, shown(ada, one)) == (401, BAD_PROOF), what


def _next(letter: str) -> str:
    """The last of 43 letters holds four bits: the letter after it decodes to the same key."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return alphabet[alphabet.index(letter) + 1]


def test_two_proofs_or_two_tokens_in_one_request_are_refused(ada: Party) -> None:
    for doubled in ("DPoP", "Authorization"):
        headers = list(shown(ada, proof(ada)).items())
        headers += [(name, value) for name, value in headers if name == doubled]
        answer = httpx.get(ada.url + routes.SILOS, headers=headers)
        assert (answer.status_code, answer.json()["type"]) == (401, UNAUTHENTICATED)


def test_a_proof_with_any_letter_changed_is_refused(ada: Party) -> None:
    sound = proof(ada)
    for place in range(0, len(sound), 29):
        bent = sound[:place] + ("A" if sound[place] != "A" else "B") + sound[place + 1 :]
        assert ask(ada, shown(ada, bent))[0] == 401, place


def test_a_clock_that_is_twenty_seconds_off_is_borne(ada: Party) -> None:
    url = ada.url + routes.SILOS
    for seconds in (-20, 20):
        moment = datetime.now(UTC) + timedelta(seconds=seconds)
        made = make_proof(ada.proof_key, "GET", url, moment, secrets.token_hex(16), ada.token, ada.nonce)
        assert ask(ada, shown(ada, made)) == (200, "")


# -- after the charter has changed


def test_after_its_key_changed_in_the_charter_tokens_and_assertions_by_the_older_one_count_nowhere(
    consortium: Consortium, hub: HubProcess, replica: HubProcess
) -> None:
    bern, older, newer = consortium.silo("bern"), consortium.silo("bern").key, Ed25519PrivateKey.generate()
    bern.get(routes.SILOS)
    change_members(consortium, lambda one: {**one, "signing_key": public(newer)} if one["silo"] == "bern" else one)
    refuse_everywhere(bern, hub, replica)
    bern.key, bern._expires = newer, 0.0
    assert bern.get(routes.SILOS).status_code == 200
    bern.key = older
    assert bern.ask_token(bern.assertion()).status_code == 401


def test_after_a_revocation_by_charter_no_token_and_no_assertion_of_the_silo_counts_at_any_replica(
    consortium: Consortium, hub: HubProcess, replica: HubProcess
) -> None:
    gone = FakeSilo("gone", hub.url, hub.card)
    assert consortium.enrol(gone, consortium.invite(gone.name)).status_code == 200
    consortium.admit(gone)
    gone.get(routes.SILOS)
    change_members(consortium, lambda one: None if one["silo"] == "gone" else one)
    refuse_everywhere(gone, hub, replica)
    assert consortium.silo("ada").get(routes.SILOS).status_code == 200


def change_members(consortium: Consortium, change: Callable[[dict[str, str]], dict[str, str] | None]) -> None:
    """The next charter version, whose members are those of this one after ``change``; None leaves one out."""
    assert consortium.charter is not None
    value = consortium.charter.model_dump(mode="json")
    value |= {"version": value["version"] + 1, "previous": charter_digest(consortium.charter)}
    value["members"] = [changed for one in value["members"] if (changed := change(one))]
    signed = consortium.admin.signed("charter", **consortium.admin.signs(value))
    consortium.admin.post(signed)
    consortium.charter = signed.body.charter
    time.sleep(RECENT_S + 0.2)


def refuse_everywhere(party: Party, hub: HubProcess, replica: HubProcess) -> None:
    for url in (hub.url, replica.url):
        headers = {**shown(party, proof(party)), "Host": hub.url.removeprefix("http://")}
        assert ask(party, headers, url=url) == (401, UNAUTHENTICATED)
    answer = party.ask_token(party.assertion())
    assert (answer.status_code, answer.json()["type"]) == (401, UNAUTHENTICATED)


def public(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes_raw().hex()


# -- behind a proxy that ends TLS


def test_behind_a_proxy_proofs_are_for_the_public_address_and_no_other(tmp_path: Any) -> None:
    hub = HubProcess(tmp_path / "hub", behind_proxy="true")
    hub._settings["CONSORTIA_HUB_PUBLIC_ORIGIN"] = "https://hub.example"
    hub.start()
    try:
        party = Party("person:ines", hub.url, hub.card)
        lone = Consortium(hub.url, hub.card, silos=())
        lone.admin = party
        lone.found()
        for origin, reason in (("https://hub.example", ""), (hub.url, BAD_PROOF), ("http://hub.example", BAD_PROOF)):
            form = _form(party)
            for _ in range(2):
                headers = {"DPoP": party.proof("POST", origin + routes.TOKENS), "Host": "whatever.example"}
                answer = httpx.post(hub.url + routes.TOKENS, data=form, headers=headers)
                party.learn(answer)
            assert answer.json().get("type", "") == reason
    finally:
        hub.stop()


def _form(party: Party) -> dict[str, str]:
    return {
        "grant_type": "client_credentials",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": party.assertion(),
    }
