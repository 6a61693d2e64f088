"""A hub that keeps two logs, both signed: alpha is shown the one, the other silos the other.

Each test founds its own consortium, for alpha's trust in this hub is gone for good once it sees the others' log. Until
then no log breaks a rule by itself. What the hub can't do is sign for a silo: whatever it relays from one log to the
other names a freeze or a sum that isn't there, and without it there is no quorum.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from protocol.canonical import digest
from protocol.round_statements import (
    RoundFrozen,
    SharesRevealed,
    SumServed,
    SumVerified,
    SurvivorsSigned,
    UploadComplete,
)
from protocol.sealing.addition import add_chunks
from protocol.signing import Signed
from protocol.statements import Body
from silo_node.errors import HubDistrusted
from tests.federation.rig.cheating import HONEST, Cheat
from tests.federation.rig.cheating_log import SplitLog
from tests.federation.rig.cheating_reveals import KEY, SELF, all_given
from tests.federation.rig.cheating_silos import TRAINING, Group, founded_group
from tests.sample_study import SILOS

pytestmark = pytest.mark.slow

OTHERS = SILOS[1:]
VICTIM = "alpha"


@pytest.fixture
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    with founded_group(tmp_path_factory.mktemp("split")) as made:
        yield made


def logged(group: Group, kind: type, study: str) -> list[Signed]:
    """The others' statements of the training round, to be relayed."""
    group.words(kind, study)
    found = [signed for signed in group.seen if isinstance(signed.body, kind)]
    return [signed for signed in found if signed.body.study == study and signed.body.round == TRAINING]


def relay(group: Group, split: SplitLog, kind: type, study: str) -> None:
    for signed in logged(group, kind, study):
        split.record(signed)


def one_log_again(group: Group) -> None:
    """The hub gives up, and shows alpha the others' log."""
    group.hub.splits.clear()
    group.hub.cheat = HONEST
    alpha = group.nodes[VICTIM]
    group.run_to(lambda: alpha.ended is not None, VICTIM)
    assert isinstance(alpha.ended, HubDistrusted)
    assert "halt: the hub's log does not verify" in alpha.notes()


def split_before(group: Group, study: str, kind: type) -> SplitLog:
    """alpha's log, which ends before the training round's first statement of a kind and goes on by itself."""
    split = group.hub.split(VICTIM)
    split.cut_at(next(signed.digest for signed in logged(group, kind, study)))
    return split


def fields_of(body: Body) -> dict[str, Any]:
    """What a statement says, without its opening."""
    return body.model_dump(exclude={"type", "issuer", "issued_at", "nonce", "journal_head"})


def test_two_freezes_for_two_logs_give_no_sum_with_the_silo_that_was_split_off(group: Group) -> None:
    """alpha seals under a freeze of all four, the others under one without alpha."""
    whole = []

    def says(body):
        if not (isinstance(body, RoundFrozen) and body.round == TRAINING):
            return body
        whole.append(body)
        return body.model_copy(update={"ready": {name: body.ready[name] for name in OTHERS}})

    group.hub.cheat = Cheat(says=says)
    study = group.study()
    group.run_to(lambda: bool(whole))
    split = split_before(group, study, RoundFrozen)
    split.record(group.hub.signed(RoundFrozen, **fields_of(whole[0])))
    group.run_to(lambda: group.who(SumVerified, study, TRAINING) == set(OTHERS) and bool(split.words(UploadComplete)))
    others = {body.freeze for body in group.words(UploadComplete, study, TRAINING)}
    assert split.words(UploadComplete)[0].freeze not in others
    relay(group, split, UploadComplete, study)
    assert_alpha_stops(group, split, study, "sealed under another freeze digest")
    assert split.words(SurvivorsSigned) == []
    one_log_again(group)


def test_two_totals_for_two_logs_never_give_both_shares_of_a_silo(group: Group) -> None:
    """alpha is shown a sum with its term, the others one without: of those alpha counts as gone."""
    everybody = []

    def adds(job, terms, total):
        if job.round == TRAINING:
            everybody.append(add_chunks([terms[name] for name in SILOS], job.layout, job.position))
        return total

    def says(body):
        lies = isinstance(body, SumServed) and body.round == TRAINING
        return body.model_copy(update={"survivors": OTHERS}) if lies else body

    def serves(who, what, place, read):
        return everybody[0] if (who, what, place[1]) == (VICTIM, "sum", TRAINING) else read(*place)

    def whom(job):
        return OTHERS if job.round == TRAINING else job.silos

    group.hub.cheat = Cheat(adds=adds, whom=whom, says=says, serves=serves)
    study = group.study()
    # The hub may serve before its word is seen here, so alpha is held back once it has said that its upload is there.
    group.run_to(lambda: VICTIM in group.who(UploadComplete, study, TRAINING))
    group.run_to(lambda: bool(group.words(SumServed, study, TRAINING)), *OTHERS)
    (served,) = group.words(SumServed, study, TRAINING)
    split = split_before(group, study, SumServed)
    shown = {**fields_of(served), "survivors": SILOS, "chunks": (digest(everybody[0]),)}
    split.record(group.hub.signed(SumServed, **shown))
    group.run_to(lambda: group.who(SumVerified, study, TRAINING) == set(OTHERS) and bool(split.words(SurvivorsSigned)))
    given = all_given(group, "bravo", study, TRAINING)
    assert {which for _, whose, which in given if whose == VICTIM} == {KEY}
    assert {which for _, whose, which in given if whose != VICTIM} == {SELF}
    relay(group, split, SurvivorsSigned, study)
    assert_alpha_stops(group, split, study, "names a sum that was not served")
    one_log_again(group)


def assert_alpha_stops(group: Group, split: SplitLog, study: str, why: str) -> None:
    """alpha's study breaks a rule before it gives a share or reaches a state; the others all reach the same one."""
    alpha = group.nodes[VICTIM]
    group.run_to(lambda: why in alpha.notes(study))
    assert alpha.state(study, TRAINING) is None
    assert split.words(SharesRevealed) == []
    assert len({group.nodes[name].state(study, TRAINING) for name in OTHERS} - {None}) == 1
    assert len(alpha.sent(study, TRAINING)) == 1
