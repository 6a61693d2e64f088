"""What the hub says next in a study, from where the study and its newest round stand and what time it is. Pure."""

from collections.abc import Callable

from hub.domain import round_step
from hub.domain.round import MAX_ATTEMPTS, OVER, Round
from hub.domain.round_step import Retry
from hub.domain.says import CloseStudy, OpenRound, Say, StartKeying, VoidRound
from hub.domain.study import FINAL, Study, end_of, silent_key_silos
from protocol.keying import next_holders
from protocol.rounds import last_round, plan_round
from protocol.study import StudyContract

CanPay = Callable[[str, int], bool]
"""Whether the mirrored budget of a silo (name) pays for a round (index)."""


def next_step(state: Study, round: Round | None, can_pay: CanPay, now: int) -> Say | None:
    """What the hub has to say now, or None while somebody is still awaited."""
    if state.stage in FINAL:
        return None
    if now >= end_of(state.contract):
        return CloseStudy("expired", f"the contract ended at {state.contract.expires_at}")
    match state.stage:
        case "approved":
            return _from_approved(state)
        case "keying":
            return _from_keying(state, round, can_pay, now)
        case "running" if round is not None:
            return _from_running(state, round, can_pay, now)
    return None


def keying_limit_s(contract: StudyContract) -> int:
    """How long the silos have to share the key: three steps (seal, open, commit), and never under a minute."""
    return max(60, 3 * contract.schedule.step_timeout_s)


def _from_approved(state: Study) -> Say | None:
    named, quorum = len(state.contract.silos), state.contract.schedule.quorum
    out = {*state.refused, *state.suspended}
    if named - len(out) < quorum:
        return CloseStudy("aborted", f"{len(out)} of {named} silos refused, or are no members; {quorum} are needed")
    if len(out | set(state.accepted)) < named:
        return None
    return StartKeying(1, state.accepted)


def _from_keying(state: Study, round: Round | None, can_pay: CanPay, now: int) -> Say | None:
    """The next round, once all hold the key, or their time for it has passed and a quorum with the key silo does.

    Where the key silo let that time pass, another one makes the key.
    """
    if not state.stands:
        return None
    if state.needs_key:
        return _key_again(state, round)
    present = state.active
    holding = [silo for silo in present if silo in state.commitments]
    if len(holding) < len(present):
        if now < (state.keyed_at or now) + keying_limit_s(state.contract):
            return None
        if state.keying[0] not in state.commitments:
            return _let_another_make_it(state, round)
        if len(holding) < state.contract.schedule.quorum:
            return CloseStudy("aborted", f"only {len(holding)} silos committed to the study key in time")
    if len({state.commitments[silo] for silo in holding}) > 1:
        return CloseStudy("aborted", "the silos' commitments to the study secret differ")
    return _open(state, *_next_place(round), can_pay)


def _let_another_make_it(state: Study, round: Round | None) -> Say:
    heard = [silo for silo in state.active if silo not in silent_key_silos(state)]
    if len(heard) < state.contract.schedule.quorum:
        return CloseStudy("aborted", f"no study key in time: silent were {', '.join(silent_key_silos(state))}")
    return _key_again(state, round)


def _key_again(state: Study, round: Round | None) -> Say:
    quorum = state.contract.schedule.quorum
    present = () if round is None else round.complete
    holders = next_holders(state.keying, state.gone, present, silent_key_silos(state))
    if len(holders) < quorum:
        return CloseStudy("aborted", f"quorum not reached: {len(holders)} silos are left, {quorum} are needed")
    return StartKeying(state.epoch + 1, holders)


def _next_place(round: Round | None) -> tuple[int, int]:
    """Index and attempt of what is opened next."""
    if round is None:
        return 0, 1
    return (round.index + 1, 1) if round.state in OVER else (round.index, round.attempt + 1)


def _from_running(state: Study, round: Round, can_pay: CanPay, now: int) -> Say | None:
    if round.state in OVER:
        if round.index >= last_round(state.contract):
            return CloseStudy("completed", "all rounds are done")
        return _go_on(state, round, can_pay)
    step = round_step.next_step(round, state.contract, tuple(state.gone), now)
    match step:
        case VoidRound() if plan_round(state.contract, round.index).stage != "training":
            return CloseStudy("aborted", f"round {round.index}: {step.why}")
        case Retry() if round.attempt >= MAX_ATTEMPTS:
            return CloseStudy("aborted", f"quorum not reached in round {round.index}: {step.why}")
        case Retry():
            return _go_on(state, round, can_pay)
        case _:
            return step


def _go_on(state: Study, round: Round, can_pay: CanPay) -> Say | None:
    """The next round or attempt, once enough admins approve."""
    if not state.stands:
        return None
    return _key_again(state, round) if state.needs_key else _open(state, *_next_place(round), can_pay)


def _open(state: Study, index: int, attempt: int, can_pay: CanPay) -> Say | None:
    quorum = state.contract.schedule.quorum
    key = state.commitments.get(state.keying[0])
    able = tuple(silo for silo in state.active if state.commitments.get(silo) == key)
    if len(able) < quorum:
        return CloseStudy("aborted", f"quorum not reached: {len(able)} silos are left, {quorum} are needed")
    willing = tuple(silo for silo in able if silo not in state.paused)
    if len(willing) < quorum:
        return None  # Until enough owners resume, or the contract ends.
    paying = tuple(silo for silo in willing if can_pay(silo, index))
    if len(paying) < quorum:
        return CloseStudy(
            "aborted", f"round {index}: the budgets of {len(paying)} silos pay for it, {quorum} are needed"
        )
    return OpenRound(index, attempt, paying)
