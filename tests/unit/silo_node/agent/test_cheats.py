"""Sums that a hub made up, signed for and served in place of the honest one: alpha takes no part in any."""

import numpy as np
import pytest

from protocol.canonical import digest
from protocol.round_statements import SharesRevealed, SumServed, SurvivorsSigned, VerificationFailed
from protocol.sealing import bfv, wire
from protocol.sealing.addition import add_chunks
from protocol.sealing.parameters import CIPHER_MODULUS
from tests.sample_study import SILOS
from tests.unit.silo_node.agent.peers import DUE
from tests.unit.silo_node.agent.story import begin_study, run_round
from tests.unit.silo_node.agent.test_lies import assert_silent, halted

MODULUS = np.uint64(CIPHER_MODULUS)


class Sum:
    """An honest sum of one chunk, taken apart: what a cheat changes before it is packed again."""

    def __init__(self, layout, terms, before):
        self.layout, self.before = layout, before
        self.terms = {name: wire.parse(term, layout.ciphertexts_in(0), 1) for name, term in terms.items()}
        self.chunk = add_chunks([terms[name] for name in sorted(terms)], layout, 0)
        records, coefficients = wire.parse(self.chunk, layout.ciphertexts_in(0), len(terms))
        self.records, self.c0 = records.copy(), coefficients.copy()

    def packed(self):
        wire.put_polynomials(self.records, self.c0 % MODULUS)
        self.records["tag"] %= MODULUS
        return self.records.tobytes()

    def add(self, name):
        """`name`'s term once more, its tag with it."""
        records, coefficients = self.terms[name]
        self.c0 = (self.c0 + coefficients) % MODULUS
        self.records["tag"] = (self.records["tag"] + records["tag"]) % MODULUS

    def drop(self, name):
        """`name`'s term taken off again, its tag with it."""
        records, coefficients = self.terms[name]
        self.c0 = (self.c0 + (MODULUS - coefficients)) % MODULUS
        self.records["tag"] = (self.records["tag"] + (MODULUS - records["tag"])) % MODULUS


def drops_a_term_and_keeps_the_count(made):
    made.drop("delta")


def counts_one_for_another(made):
    made.drop("delta")
    made.add("bravo")


def adds_a_constant(made):
    made.c0[0, 0] += np.uint64(1)


def shifts_every_coefficient_within_the_noise(made):
    made.c0 += np.uint64(3)


def scales_by_two(made):
    made.c0 = made.c0 * np.uint64(2)
    made.records["tag"] *= np.uint64(2)


def sends_nothing_but_zeros(made):
    made.c0[:] = 0
    made.records["tag"] = 0


def exchanges_a_seed_for_another(made):
    made.records["seeds"][0, 0] ^= 255


def swaps_the_halves_of_a_polynomial(made):
    made.c0 = np.roll(made.c0, 2048, axis=1)


def changes_the_tag(made):
    made.records["tag"] += np.uint64(1)


def replays_the_sum_before(made):
    return made.before


def sends_a_term_as_the_sum(made):
    records, coefficients = made.terms["bravo"]
    made.c0, made.records["tag"] = coefficients.copy(), records["tag"]


def cuts_it_short(made):
    return made.packed()[:-1]


def sends_nothing(made):
    return b""


CHEATS = [
    drops_a_term_and_keeps_the_count,
    counts_one_for_another,
    adds_a_constant,
    shifts_every_coefficient_within_the_noise,
    scales_by_two,
    sends_nothing_but_zeros,
    exchanges_a_seed_for_another,
    swaps_the_halves_of_a_polynomial,
    changes_the_tag,
    replays_the_sum_before,
    sends_a_term_as_the_sum,
    cuts_it_short,
    sends_nothing,
]


@pytest.mark.parametrize("cheat", CHEATS, ids=lambda cheat: cheat.__name__.replace("_", " "))
def test_a_hub_that_makes_up_a_sum_gets_no_signature_no_share_and_no_decryption(node, peers, monkeypatch, cheat):
    begin_study(node, peers)
    run_round(node, peers, 0)
    peers.open(1)
    node.go()
    peers.freeze()
    node.go()
    peers.upload()
    one = peers.record.current
    terms = {name: peers.terms[1, 1, name][0] for name in SILOS if name != "alpha"}
    made = Sum(peers.record.layout(one), {**terms, "alpha": node.hub.chunks[1, 1][0][0]}, node.hub.sums[0, 1][0])
    assert made.packed() == made.chunk, "without a cheat it is the honest sum"
    chunk = cheat(made)
    chunk = made.packed() if chunk is None else chunk
    node.hub.sums[1, 1] = [chunk]
    served = {"survivors": tuple(sorted(SILOS)), "chunks": (digest(chunk),), "due_at": DUE}
    peers.say(SumServed, round=1, attempt=1, **served)
    monkeypatch.setattr(bfv.Cipher, "decrypt", lambda *given: pytest.fail("decrypted"))
    before = len(node.hub.logged(SurvivorsSigned)), len(node.hub.logged(SharesRevealed))
    node.go()
    (told,) = node.hub.logged(VerificationFailed)
    assert (told.round, told.cause, told.blamed) == (1, "sum", ())
    assert (len(node.hub.logged(SurvivorsSigned)), len(node.hub.logged(SharesRevealed))) == before
    assert node.silo.files.state(peers.study, 1) is None
    assert (halted(node, peers), node.silo.tasks.sum_distrusted(peers.study, 1)) == (None, True)
    assert node.notes[-1].kind == "warning"
    assert_silent(node, peers)
