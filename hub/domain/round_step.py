"""What the hub says next in a round, from where the round stands and what time it is. Pure."""

from collections import Counter
from dataclasses import dataclass

from hub.domain.round import Round, failed
from hub.domain.says import CloseRound, FreezeRound, Say, ServeSum, VoidRound
from protocol.keying import convicted, tolerated
from protocol.study import StudyContract


@dataclass(frozen=True, slots=True)
class Retry:
    """This attempt is void: open another, if the study still can."""

    why: str


def next_step(state: Round, contract: StudyContract, withdrawn: tuple[str, ...], now: int) -> Say | Retry | None:
    """What follows now, or None while somebody is still awaited."""
    quorum = contract.schedule.quorum
    match state.state:
        case "open":
            return _from_open(state, quorum, withdrawn, now)
        case "frozen":
            return _from_frozen(state, quorum, withdrawn, now)
        case "served":
            return _from_served(state, contract, withdrawn, now)
    return None


def _from_open(state: Round, quorum: int, withdrawn: tuple[str, ...], now: int) -> Say | Retry | None:
    present = [silo for silo in state.silos if silo not in withdrawn]
    ready = tuple(sorted((silo, digest) for silo, digest in state.ready.items() if silo in present))
    if len(present) < quorum:
        return Retry("too few silos are left")
    if len(ready) == len(present) or (now >= state.due_at and len(ready) >= quorum):
        return FreezeRound(state.index, state.attempt, ready, state.base)
    if now >= state.due_at:
        return Retry(f"{len(ready)} silos were ready in time, {quorum} are needed")
    return None


def _from_frozen(state: Round, quorum: int, withdrawn: tuple[str, ...], now: int) -> Say | Retry | None:
    complete = tuple(sorted(silo for silo in state.complete if silo not in state.dropped))
    gone = {*state.dropped, *(silo for silo in withdrawn if silo not in complete)}
    awaited = [silo for silo in state.frozen if silo not in gone and silo not in complete]
    if len(complete) + len(awaited) < quorum:
        return Retry("too few uploads can be added")
    if now < state.due_at and awaited:
        return None
    if len(complete) >= quorum:
        return ServeSum(state.index, state.attempt, complete)
    return Retry(f"{len(complete)} uploads were complete in time, {quorum} are needed")


def _from_served(state: Round, contract: StudyContract, withdrawn: tuple[str, ...], now: int) -> Say | None:
    quorum, colluding = contract.schedule.quorum, tolerated(contract)
    due, against = now >= state.due_at, failed(state)
    if len(against) >= len(state.survivors) - quorum + 1:
        accused = {name for names in state.blames.values() for name in names}
        witnesses = [silo for silo in state.survivors if silo not in {*state.answers, *withdrawn, *accused}]
        # Whoever dealt or revealed wrong shares is put out by the word of several: hear them all.
        waiting = bool(accused and witnesses and not due)
        return None if waiting else _void(state, colluding, f"the sum didn't verify at {len(against)} silos")
    silent = set(state.survivors) if due else {*against, *withdrawn}
    signing = [silo for silo in state.survivors if silo in state.signed or silo not in silent]
    if len(signing) < quorum:
        return _void(state, colluding, f"{len(signing)} silos sign the sum, {quorum} are needed")
    awaited = [silo for silo in state.survivors if silo not in state.answers and silo not in withdrawn]
    if awaited and not due:
        return None
    macs = Counter(mac for mac in state.answers.values() if mac is not None)
    mac, count = macs.most_common(1)[0] if macs else (None, 0)
    if count < quorum:
        return _void(state, colluding, f"{count} silos agree on the new state, {quorum} are needed")
    agreed = tuple(silo for silo in state.survivors if state.answers.get(silo) == mac)
    suspended = tuple(silo for silo in state.survivors if silo not in agreed)
    return CloseRound(state.index, state.attempt, agreed, suspended)


def _void(state: Round, colluding: int, why: str) -> VoidRound:
    return VoidRound(state.index, state.attempt, why, convicted(state.blames, colluding))
