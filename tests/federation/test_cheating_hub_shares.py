"""A hub that hands out other mask shares than were dealt, and silos that reveal wrong ones, over HTTP."""

import base64
from collections.abc import Iterator

import pytest

from protocol.round_statements import RoundVoided, SharesRevealed, SumVerified, VerificationFailed
from protocol.study_statements import StudyClosed
from silo_node.errors import HubDistrusted
from silo_node.sealing import masking
from tests.federation.rig.cheating import Cheat
from tests.federation.rig.cheating_silos import TRAINING, Group, founded_group

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    with founded_group(tmp_path_factory.mktemp("shares")) as group:
        yield group


@pytest.fixture
def group(founded: Group) -> Group:
    return founded.honest()


def changes_a_byte_of_an_envelope(group, place, read):
    bundle = bytearray(read(*place))
    bundle[-1] ^= 1
    return bytes(bundle)


def changes_a_commitment(group, place, read):
    bundle = bytearray(read(*place))
    bundle[0] ^= 1
    return bytes(bundle)


def hands_out_another_silos_bundle(group, place, read):
    return read(*place[:-1], "charlie")


def hands_out_the_bundle_of_the_round_before(group, place, read):
    study, index, *rest = place
    return read(study, index - 1, *rest)


def deals_shares_of_its_own(group, place, read):
    """A whole bundle, good in every way but that bravo didn't name it."""
    study, index, attempt, dealer = place
    holders = {name: base64.b64decode(node.receiving) for name, node in group.nodes.items()}
    return masking.deal_masks(study, index, attempt, dealer, holders, 3).bundle


FORGERIES = [
    changes_a_byte_of_an_envelope,
    changes_a_commitment,
    hands_out_another_silos_bundle,
    hands_out_the_bundle_of_the_round_before,
    deals_shares_of_its_own,
]


@pytest.fixture(scope="module")
def long(founded: Group) -> str:
    """A study with a round of training for each forgery."""
    return founded.study(rounds=len(FORGERIES))


@pytest.mark.parametrize("forge", FORGERIES, ids=lambda forge: forge.__name__.replace("_", " "))
def test_a_bundle_that_its_dealer_did_not_name_is_not_used_and_the_round_goes_on_with_the_right_one(
    group: Group, long: str, forge
) -> None:
    index = group.open_round(long)

    def serves(who, what, place, read):
        forged = what == "shares" and place[1] == index and place[-1] == "bravo"
        return forge(group, place, read) if forged else read(*place)

    group.hub.cheat = Cheat(serves=serves)
    shown = [node for name, node in group.nodes.items() if name != "bravo"]
    group.run_to(lambda: all(node.ended is not None for node in shown))
    for node in shown:
        assert isinstance(node.ended, HubDistrusted)
        assert f"halt: round {index}: the shares of bravo are not those that it signed for" in node.notes(long)
    # bravo needs no bundle of its own to reveal; one silo's shares open nothing.
    assert group.who(SharesRevealed, long, index) <= {"bravo"}
    assert {node.state(long, index) for node in group.nodes.values()} == {None}
    group.honest().go_past(long, index)
    for node in group.nodes.values():
        assert len(node.sent(long, index)) == 1
        assert node.charges(long)["reserve", index] == 1


def lying(monkeypatch: pytest.MonkeyPatch, *liars: str) -> None:
    """These silos reveal, well sealed and signed, other shares than they hold; in the training round."""
    honest = masking.seal_shares

    def seal_shares(secret, study, one, sender, shares):
        wrong = [share[:1] + bytes(len(share) - 1) for share in shares]
        lies = sender in liars and one.index == TRAINING
        return honest(secret, study, one, sender, wrong if lies else shares)

    monkeypatch.setattr(masking, "seal_shares", seal_shares)


def test_one_silo_that_reveals_wrong_shares_costs_nothing(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    lying(monkeypatch, "alpha")
    study = group.study()
    group.completed(study)
    assert group.words(VerificationFailed, study, TRAINING) == []
    assert "alpha" in group.who(SharesRevealed, study, TRAINING)


def test_two_silos_that_reveal_wrong_shares_are_named_and_put_out_before_a_model_changes(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    lying(monkeypatch, "charlie", "delta")
    study = group.study()
    group.run_to(lambda: bool(group.words(RoundVoided, study)))
    told = {said.issuer: said for said in group.words(VerificationFailed, study, TRAINING)}
    for honest in ("silo:alpha", "silo:bravo"):
        assert (told[honest].cause, told[honest].blamed) == ("masks", ("charlie", "delta"))
    (void,) = group.words(RoundVoided, study)
    assert (void.round, void.suspended) == (TRAINING, ("charlie", "delta"))
    group.run_to(lambda: bool(group.words(StudyClosed, study)))
    group.rest()
    for node in group.nodes.values():
        assert node.state(study, TRAINING) in (None, node.state(study, TRAINING - 1))
        assert len(node.sent(study, TRAINING)) == 1
        assert node.ended is None
    assert group.words(SumVerified, study, TRAINING) == []
    assert f"warning: round {TRAINING}: " in group.nodes["alpha"].notes(study)
    monkeypatch.undo()
    group.completed(group.study())
