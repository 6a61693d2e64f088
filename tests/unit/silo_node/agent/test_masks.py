"""The masks of a round at silo alpha: when it signs, what it reveals to whom, and what it never does twice."""

import base64

import numpy as np
import pytest

from protocol.round_statements import SharesRevealed, SumVerified, SurvivorsSigned, VerificationFailed
from protocol.sealing.sharing import open_reveal
from silo_node.agent import sayings
from silo_node.agent.study import Study
from silo_node.agent.unmasking import masks_for_term
from silo_node.errors import HubDistrusted, StudyHalted
from silo_node.sealing import masking
from tests.sample_study import SILOS
from tests.unit.silo_node.agent.conftest import LIMITS
from tests.unit.silo_node.agent.peers import OTHERS
from tests.unit.silo_node.agent.story import begin_study, run_round
from tests.unit.silo_node.agent.test_lies import assert_silent, flipped, halted


def serve_round(node, peers, uploading=OTHERS):
    """Up to the served sum that alpha has looked at; ``uploading``: the peers that don't vanish before."""
    begin_study(node, peers)
    peers.open(0)
    node.go()
    peers.freeze()
    node.go()
    peers.upload(*uploading)
    peers.serve()
    node.go()


def revealed_by_alpha(node, peers):
    (word,) = node.hub.logged(SharesRevealed)
    one = peers.record.current
    context = masking.reveal_context(peers.study, one.index, one.served_digest, "alpha")
    shares = open_reveal(peers.secret, context, base64.b64decode(word.shares), len(one.frozen_ready))
    return dict(zip(sorted(one.frozen_ready), shares, strict=True))


def test_nothing_is_revealed_before_a_quorum_has_signed(node, peers):
    serve_round(node, peers)
    assert len(node.hub.logged(SurvivorsSigned)) == 1
    peers.sign("bravo")
    node.go()
    assert node.hub.logged(SharesRevealed) == []
    peers.sign("charlie")
    node.go()
    assert len(node.hub.logged(SharesRevealed)) == 1
    assert node.hub.logged(SumVerified) == []


def test_nothing_is_opened_before_a_quorum_has_revealed(node, peers):
    serve_round(node, peers)
    peers.sign()
    node.go()
    peers.reveal("bravo")
    node.go()
    assert node.hub.logged(SumVerified) == []
    peers.reveal("charlie")
    node.go()
    assert len(node.hub.logged(SumVerified)) == 1


def test_a_reveal_holds_one_share_of_each_silo_and_never_both(node, peers):
    serve_round(node, peers, uploading=("bravo", "charlie"))
    peers.sign()
    node.go()
    given = revealed_by_alpha(node, peers)
    for name in OTHERS:
        context = masking.share_context(peers.study, 0, 1, name, "alpha")
        pair = peers.bundles(peers.record.current)[name].open(
            "alpha", node.hub.group.silos["alpha"].receiving.private, context
        )
        assert given[name] == (pair.key_share if name == "delta" else pair.self_share)
    assert len(given) == len(SILOS)


@pytest.mark.parametrize("vanished", OTHERS)
def test_the_total_of_the_survivors_is_exact_whoever_vanished_after_the_freeze(node, peers, vanished):
    serve_round(node, peers, uploading=[name for name in OTHERS if name != vanished])
    peers.unmask(node)
    peers.verify()
    (word,) = node.hub.logged(SumVerified)
    assert {word.state_mac} == set(peers.record.current.macs.values())
    assert len(peers.record.current.macs) == 3


def test_a_silo_that_was_left_out_opens_the_total_all_the_same(node, peers):
    begin_study(node, peers)
    peers.open(0)
    node.go()
    peers.freeze()
    peers.upload()
    peers.serve()
    peers.sign()
    peers.reveal()
    peers.verify()
    peers.close()
    node.go()
    assert (node.hub.logged(SurvivorsSigned), node.hub.logged(SharesRevealed)) == ([], [])
    assert node.silo.files.state(peers.study, 0) == peers.states[0]


def test_a_silo_that_vanishes_after_it_signed_costs_nothing_with_a_quorum_left(node, peers):
    serve_round(node, peers)
    peers.sign()
    node.go()
    peers.reveal("bravo", "charlie")
    node.go()
    peers.verify()
    assert len(node.hub.logged(SumVerified)) == 1
    assert node.silo.files.state(peers.study, 0) == peers.states[0]


def knowing(node, *peers):
    node.write(limits=f"peers = {list(peers)}\n".replace("'", '"') + LIMITS)


def test_a_round_without_two_peers_known_as_independent_is_not_charged(node, peers):
    knowing(node, "bravo")
    begin_study(node, peers)
    peers.open(0)
    node.go()
    assert "know as independent" in halted(node, peers)
    assert (node.charges(), node.runner.runs) == ([], 0)


def test_a_survivor_list_without_two_peers_known_as_independent_is_not_signed(node, peers):
    knowing(node, "bravo", "delta")
    serve_round(node, peers, uploading=("bravo", "charlie"))
    assert node.hub.logged(SurvivorsSigned) == []
    assert "know as independent" in halted(node, peers)
    assert_silent(node, peers)


def wrong(shares):
    return [bytes([share[0]]) + bytes(len(share) - 1) for share in shares]


def test_a_wrong_share_does_no_harm_while_a_quorum_of_good_ones_is_there(node, peers):
    serve_round(node, peers)
    peers.sign()
    node.go()
    peers.reveal("bravo", changed=wrong)
    peers.reveal("charlie", "delta")
    node.go()
    peers.verify()
    assert node.silo.files.state(peers.study, 0) == peers.states[0]
    assert halted(node, peers) is None


def test_too_many_wrong_shares_void_the_round_before_anything_changes_and_name_who_sent_them(node, peers):
    serve_round(node, peers)
    peers.sign()
    node.go()
    peers.reveal("bravo", "delta", changed=wrong)
    node.go()
    assert halted(node, peers) is None, "another silo's shares may still come"
    peers.reveal("charlie")
    node.go()
    (told,) = node.hub.logged(VerificationFailed)
    assert (told.cause, told.blamed) == ("masks", ("bravo", "delta"))
    assert node.silo.files.state(peers.study, 0) is None
    assert (halted(node, peers), node.silo.tasks.sum_distrusted(peers.study, 0)) == (None, True)
    assert_silent(node, peers)


def test_a_bundle_that_the_hub_exchanged_ends_all_trust(node, peers):
    serve_round(node, peers)
    node.hub.bundles[0, 1, "bravo"] = flipped(node.hub.bundles[0, 1, "bravo"])
    peers.sign()
    with pytest.raises(HubDistrusted, match="shares of bravo"):
        node.go()


def test_a_dealer_whose_envelope_does_not_open_is_noted_and_the_others_still_open_the_total(node, peers, monkeypatch):
    begin_study(node, peers)
    peers.open(0)
    node.go()
    peers.freeze()
    node.go()
    peers.upload()
    peers.serve()
    node.go()
    honest = masking.share_context
    peers.sign()
    notes = len(node.notes)
    with monkeypatch.context() as patched:
        patched.setattr(
            masking, "share_context", lambda *place: honest(*place) + (b"x" if place[3] == "bravo" else b"")
        )
        node.go()
    assert len(node.notes) == notes + 1
    peers.reveal()
    node.go()
    peers.verify()
    assert node.silo.files.state(peers.study, 0) == peers.states[0]


def test_an_update_that_was_signed_into_a_sum_is_never_sealed_again(node, peers):
    serve_round(node, peers)
    name = sayings.signed_name(peers.study, 0)
    assert node.silo.tasks.kept(name) is not None
    study, freeze = Study(peers.record, node.hub.group.charter(4)), peers.record.freeze(peers.record.current)
    node.restart()
    with pytest.raises(StudyHalted, match="never sealed again"):
        masks_for_term(node.silo, study, peers.record.current, freeze)


def test_masks_that_were_announced_and_are_gone_halt_the_study(node, peers):
    begin_study(node, peers)
    peers.open(0)
    node.go()
    for file in node.folder.glob("studies/*/round-0/masks-1"):
        file.unlink()
    peers.freeze()
    node.go()
    assert "masks of round 0" in halted(node, peers)
    assert node.hub.chunks == {}


def test_masks_are_fresh_for_every_attempt_and_gone_after_the_round(node, peers):
    begin_study(node, peers)
    peers.open(0)
    node.go()
    peers.open(0, attempt=2)
    node.go()
    first, second = (node.silo.files.masks(peers.study, 0, attempt) for attempt in (1, 2))
    assert first[:64] != second[:64]
    peers.freeze()
    node.go()
    peers.upload()
    peers.serve()
    node.go()
    peers.unmask(node)
    peers.verify()
    peers.close()
    run_round(node, peers, 1)
    assert [*node.folder.glob("studies/*/round-0/masks-*")] == []


def test_what_leaves_alpha_is_masked_however_its_update_looks(node, peers):
    """The insider has the key and opens alpha's very term: every slot is uniform modulo t."""
    serve_round(node, peers)
    from protocol.sealing import bfv, wire
    from protocol.sealing.parameters import PLAIN_MODULUS

    chunk = node.hub.chunks[0, 1][0][0]
    one = peers.record.current
    records, first = wire.parse(chunk, peers.record.layout(one).ciphertexts_in(0), seeds=1)
    cipher = bfv.Cipher(peers.secret.bfv_key)
    slots = np.stack(
        [cipher.decrypt(row, [bytes(record["seeds"][0])]) for row, record in zip(first, records, strict=True)]
    )
    counts, _ = np.histogram(slots, bins=16, range=(0, PLAIN_MODULUS))
    expected = slots.size / 16
    assert float(((counts - expected) ** 2 / expected).sum()) < 60  # chi-square, 15 degrees of freedom: p < 3e-7
