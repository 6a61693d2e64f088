"""One token for all threads of a process, renewed before it ends and never twice at once."""

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protocol.dpop import read_proof, thumbprint
from protocol.problems import FORBIDDEN, INVALID_DPOP_PROOF, UNAUTHENTICATED, USE_DPOP_NONCE
from protocol.routes import TokenAnswer
from protocol.token_holder import Credentials, TokenHolder
from protocol.tokens import read_assertion

IDENTITY = Ed25519PrivateKey.generate()
PUBLIC = IDENTITY.public_key().public_bytes_raw()
GIVEN = Credentials("silo:alpha", IDENTITY, "consortia-hub:x", "https://hub.example")


class Hub:
    """Gives tokens ``t1``, ``t2``, ... of five minutes; ``now`` is everybody's clock."""

    def __init__(self):
        self.now = datetime(2026, 11, 24, tzinfo=UTC)
        self.asked = 0
        self.wait = lambda: None
        self.numbers = iter(range(10**6))
        self.holder = TokenHolder(GIVEN, self.ask, lambda: self.now, lambda: f"{next(self.numbers):032x}")

    def ask(self):
        self.asked += 1
        number = self.asked
        self.wait()
        return TokenAnswer(access_token=f"t{number}", token_type="DPoP", expires_in=300, scope="")

    def token(self):
        return self.holder.headers("GET", "/v1/silos")["Authorization"].removeprefix("DPoP ")

    def pass_(self, seconds):
        self.now += timedelta(seconds=seconds)


def test_a_token_is_renewed_a_minute_before_it_ends():
    hub = Hub()
    assert [hub.token(), hub.token()] == ["t1", "t1"]
    hub.pass_(239)
    assert hub.token() == "t1"
    hub.pass_(1)
    assert [hub.token(), hub.token()] == ["t2", "t2"]
    assert hub.asked == 2


def test_of_many_threads_one_asks_for_the_first_token_and_all_have_it():
    hub, barrier, found = Hub(), threading.Barrier(8), []
    hub.wait = lambda: time.sleep(0.3)  # so that the others come while one asks

    def call():
        barrier.wait()
        found.append(hub.token())

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (hub.asked, set(found)) == (1, {"t1"})


def test_while_one_thread_renews_the_others_go_on_with_the_token_that_still_lasts():
    hub = Hub()
    assert hub.token() == "t1"
    hub.pass_(250)
    reached, go_on, late = threading.Event(), threading.Event(), []
    hub.wait = lambda: (reached.set(), go_on.wait(10))
    renewing = threading.Thread(target=lambda: late.append(hub.token()))
    renewing.start()
    assert reached.wait(10)
    assert hub.token() == "t1", "no gap: it waits for nobody"
    hub.wait = lambda: None
    go_on.set()
    renewing.join()
    assert (late, hub.token(), hub.asked) == (["t2"], "t2", 2)


def test_a_refused_token_is_dropped_once_and_a_newer_one_is_kept():
    hub = Hub()
    older = hub.holder.headers("GET", "/x")
    assert hub.holder.cures(UNAUTHENTICATED, older, set())
    newer = hub.holder.headers("GET", "/x")
    assert newer["Authorization"] == "DPoP t2"
    assert hub.holder.cures(
        UNAUTHENTICATED, older, set()
    )  # another thread's request with the older one is refused a moment later
    assert (hub.token(), hub.asked) == ("t2", 2)


def test_a_refusal_is_cured_once_for_each_reason_and_others_never():
    hub, cured = Hub(), set()
    headers = hub.holder.headers("GET", "/x")
    assert hub.holder.cures(USE_DPOP_NONCE, headers, cured)
    assert hub.token() == "t1", "a nonce that was missing says nothing against the token"
    assert hub.holder.cures(UNAUTHENTICATED, headers, cured)
    assert not hub.holder.cures(USE_DPOP_NONCE, headers, cured)
    assert not hub.holder.cures(UNAUTHENTICATED, headers, cured)
    for final in (INVALID_DPOP_PROOF, FORBIDDEN, ""):
        assert not hub.holder.cures(final, headers, set())


def test_a_failed_renewal_leaves_no_lock_behind():
    hub = Hub()

    def fail():
        raise ConnectionError

    hub.wait = fail
    for _ in range(2):
        with pytest.raises(ConnectionError):
            hub.token()
    hub.wait = lambda: None
    assert hub.token() == "t3"


def test_an_assertion_names_the_key_of_the_proofs_and_is_new_each_time():
    hub = Hub()
    seen = set()
    for _ in range(2):
        form, headers = hub.holder.request()
        proof = read_proof(headers["DPoP"])
        shown = read_assertion(form["client_assertion"], lambda _: PUBLIC.hex(), GIVEN.audience, hub.now.timestamp())
        assert shown.thumbprint == proof.thumbprint != thumbprint(PUBLIC)
        assert (proof.method, proof.url, proof.token_hash) == ("POST", "https://hub.example/v1/tokens", None)
        seen |= {shown.identifier, proof.identifier}
    assert len(seen) == 4


@pytest.mark.parametrize("nonce", ["", "a b", 'a"b', "a\\b", "x" * 257, "ä", "a\nb", None])
def test_a_nonce_that_is_none_is_not_taken(nonce):
    hub = Hub()
    hub.holder.learn("good")
    hub.holder.learn(nonce)
    assert read_proof(hub.holder.headers("GET", "/x")["DPoP"]).nonce == "good"


def test_two_processes_have_two_keys_and_no_secret_is_shown():
    one, two = Hub().holder, Hub().holder
    keys = {read_proof(holder.headers("GET", "/x")["DPoP"]).thumbprint for holder in (one, two)}
    assert len(keys) == 2
    one.learn("the-nonce")
    assert all(word not in repr(one) for word in ("t1", "the-nonce", "Ed25519PrivateKey"))
