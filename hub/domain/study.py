"""A study from proposal to release. Pure and frozen: `apply` takes recorded statements, `study_step` says what follows.

proposed -> approved -> keying -> running -> completed | aborted | expired

It stands while as many of the charter's present admins approve it as its threshold says. What no longer stands goes
back to proposed, or, once it has a key, opens no round until enough approve again.
After a void round, and when a holder of the study secret left, a running study is keying again before its next round.
A silo that paused keeps its part in the secret, and is in no round until it resumes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from hub.errors import Conflict, Expired, Forbidden
from protocol.charter import Charter
from protocol.ids import moment
from protocol.round_statements import RoundClosed, RoundVoided
from protocol.routes import StudyState
from protocol.signing import Signed
from protocol.statements import Body
from protocol.study import StudyContract
from protocol.study_statements import (
    ReleaseApproved,
    ReleaseRequested,
    ReleaseSealed,
    SecretCommitment,
    SecretSealed,
    StudyAccepted,
    StudyApproved,
    StudyClosed,
    StudyKeying,
    StudyObjected,
    StudyPaused,
    StudyRefused,
    StudyResumed,
    StudyWithdrawn,
)

FINAL = ("completed", "aborted", "expired")


@dataclass(frozen=True, slots=True)
class Study:
    """`admins` (party -> the keys it decides with) and `threshold` are those of the charter in force. `approvals` are
    the parties who approve, `objections` say why others don't (party -> reason). `accepted` stands in the order of the
    log. `keying` are the holders of the secret of `epoch`, the first makes it;
    `sealed_for` and `commitments` belong to that epoch, and after a void round it is `spoilt`. `silent` were to make
    a secret in an epoch before, and did not commit to one.

    `refused`: silo -> rule and reason. `left`: silo -> why it withdrew. `release_approvals`: silo -> commitment.
    `released`: person -> blob digest.
    """

    id: str
    contract: StudyContract
    proposed_at: int
    admins: Mapping[str, str] = field(default_factory=dict)
    threshold: int = 1
    stage: StudyState = "proposed"
    approvals: tuple[str, ...] = ()
    objections: Mapping[str, str] = field(default_factory=dict)
    accepted: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    withdrawn: tuple[str, ...] = ()
    left: Mapping[str, str] = field(default_factory=dict)
    paused: tuple[str, ...] = ()
    epoch: int = 0
    keyed_at: int | None = None
    keying: tuple[str, ...] = ()
    spoilt: bool = False
    silent: tuple[str, ...] = ()
    sealed_for: tuple[str, ...] = ()
    commitments: Mapping[str, str] = field(default_factory=dict)
    suspended: tuple[str, ...] = ()
    reason: str | None = None
    release_requested: bool = False
    release_approvals: Mapping[str, str] = field(default_factory=dict)
    released: Mapping[str, str] = field(default_factory=dict)
    closed_at: int | None = None

    @property
    def stands(self) -> bool:
        """Whether enough of the present admins approve."""
        return len(self.approvals) >= self.threshold

    @property
    def active(self) -> tuple[str, ...]:
        """Silos that share in what comes next, in the order of the contract."""
        return tuple(silo for silo in self.contract.silo_names if silo in self.keying and silo not in self.gone)

    @property
    def gone(self) -> frozenset[str]:
        """Silos that are out for good."""
        return frozenset((*self.withdrawn, *self.suspended))

    @property
    def needs_key(self) -> bool:
        """Whether the secret must be another one before a round is opened."""
        return self.spoilt or not self.gone.isdisjoint(self.keying)


def apply(state: Study, signed: Signed, now: int) -> Study:
    """The study after a recorded statement. Raises `Conflict`, `Forbidden` or `Expired` for one that doesn't fit."""
    body = signed.body
    if not isinstance(body, StudyClosed) and state.stage not in FINAL and now >= end_of(state.contract):
        raise Expired(f"{body.type}: the contract ended at {state.contract.expires_at}")
    match body:
        case StudyApproved() | StudyObjected():
            return _judged(state, body)
        case StudyAccepted() | StudyRefused() | StudyWithdrawn():
            return _decided(state, body)
        case StudyPaused() | StudyResumed():
            return _paused(state, body)
        case StudyKeying():
            _require_stage(state, body, "approved", "keying", "running")
            fresh = replace(state, sealed_for=(), commitments={}, spoilt=False, silent=silent_key_silos(state))
            return replace(fresh, stage="keying", epoch=body.epoch, keying=body.silos, keyed_at=now)
        case SecretSealed() | SecretCommitment():
            return _keyed(state, body)
        case RoundClosed() | RoundVoided():
            new = (silo for silo in body.suspended if silo not in state.suspended)
            spoilt = state.spoilt or isinstance(body, RoundVoided)
            return replace(state, suspended=(*state.suspended, *new), spoilt=spoilt)
        case StudyClosed():
            return replace(state, stage=body.outcome, reason=body.reason, closed_at=now)
        case ReleaseRequested() | ReleaseApproved() | ReleaseSealed():
            return _released(state, body)
    raise Conflict(f"a {body.type} doesn't change a study")


def under(state: Study, charter: Charter) -> Study:
    """The study under a charter that comes into force: whom it no longer names, with the keys that it had, is out."""
    if state.stage in FINAL:
        return state
    left = [silo for silo in state.contract.silo_names if silo not in charter.silos and silo not in state.suspended]
    suspended = (*state.suspended, *left)
    accepted = state.accepted if state.keying else tuple(silo for silo in state.accepted if silo not in suspended)
    kept = {party for party, keys in charter.admin_keys.items() if state.admins.get(party) == keys}
    approvals = tuple(party for party in state.approvals if party in kept)
    objections = {party: why for party, why in state.objections.items() if party in kept}
    changed = replace(state, suspended=suspended, accepted=accepted, approvals=approvals, objections=objections)
    return _restaged(replace(changed, admins=charter.admin_keys, threshold=charter.threshold))


def started(state: Study) -> Study:
    """The study at the opening of its first round."""
    return replace(state, stage="running")


def silent_key_silos(state: Study) -> tuple[str, ...]:
    """The silos that were to make a secret, in this epoch or before, and have not committed to one."""
    first = state.keying[:1]
    return tuple(sorted({*state.silent, *(silo for silo in first if silo not in state.commitments)}))


def release_ready(state: Study) -> tuple[str, ...]:
    """The silos that confirmed one and the same bundle, if they are enough for the contract's rule; else none."""
    for commitment in set(state.release_approvals.values()):
        silos = tuple(silo for silo, theirs in state.release_approvals.items() if theirs == commitment)
        if len(silos) >= state.contract.release.approvals:
            return silos
    return ()


def end_of(contract: StudyContract) -> int:
    """When the contract ends, in Unix seconds."""
    return int(moment(contract.expires_at).timestamp())


def _require_stage(state: Study, body: Body, *wanted: StudyState) -> None:
    if state.stage not in wanted:
        raise Conflict(f"{body.type}: the study is {state.stage}, not {' or '.join(wanted)}")


def _silo_of(state: Study, body: Body, among: tuple[str, ...]) -> str:
    silo = body.issuer.removeprefix("silo:")
    if silo not in among:
        raise Forbidden(f"{body.type}: silo {silo} has no part in this step of the study")
    return silo


def _judged(state: Study, body: StudyApproved | StudyObjected) -> Study:
    if state.stage in FINAL:
        raise Conflict(f"{body.type}: the study is {state.stage}")
    others = tuple(party for party in state.approvals if party != body.issuer)
    if isinstance(body, StudyObjected):
        objections = {**state.objections, body.issuer: body.reason}
        return _restaged(replace(state, approvals=others, objections=objections))
    if others != state.approvals:
        raise Conflict(f"{body.type}: {body.issuer} has approved before")
    objections = {party: why for party, why in state.objections.items() if party != body.issuer}
    return _restaged(replace(state, approvals=(*others, body.issuer), objections=objections))


def _restaged(state: Study) -> Study:
    """Before it has a key, a study is approved exactly while it stands."""
    if state.stage in ("proposed", "approved"):
        return replace(state, stage="approved" if state.stands else "proposed")
    return state


def _decided(state: Study, body: StudyAccepted | StudyRefused | StudyWithdrawn) -> Study:
    silo = _silo_of(state, body, state.contract.silo_names)
    if isinstance(body, StudyWithdrawn):
        _require_stage(state, body, "approved", "keying", "running")
        if silo not in state.accepted or silo in state.withdrawn:
            raise Conflict(f"{body.type}: silo {silo} doesn't take part")
        if state.stage == "approved":
            accepted = tuple(name for name in state.accepted if name != silo)
            return replace(state, accepted=accepted, refused={**state.refused, silo: f"withdrawn: {body.reason}"})
        return replace(state, withdrawn=(*state.withdrawn, silo), left={**state.left, silo: body.reason})
    _require_stage(state, body, "approved")
    if silo in state.accepted or silo in state.refused or silo in state.suspended:
        raise Conflict(f"{body.type}: silo {silo} has decided before, or is out; withdraw instead")
    if isinstance(body, StudyRefused):
        return replace(state, refused={**state.refused, silo: f"{body.rule}: {body.reason}"})
    return replace(state, accepted=(*state.accepted, silo))


def _paused(state: Study, body: StudyPaused | StudyResumed) -> Study:
    _require_stage(state, body, "keying", "running")
    silo, resuming = _silo_of(state, body, state.active), isinstance(body, StudyResumed)
    if (silo in state.paused) != resuming:
        raise Conflict(f"{body.type}: silo {silo} {'has not paused' if resuming else 'has paused before'}")
    others = tuple(name for name in state.paused if name != silo)
    return replace(state, paused=others if resuming else (*others, silo))


def _keyed(state: Study, body: SecretSealed | SecretCommitment) -> Study:
    # A silo that was away while the others agreed on the key may still take it, and join the next round.
    _require_stage(state, body, "keying", "running")
    silo = _silo_of(state, body, state.active)
    if body.epoch != state.epoch:
        raise Conflict(f"{body.type}: key epoch {body.epoch} is over, {state.epoch} is under way")
    if isinstance(body, SecretCommitment):
        if silo in state.commitments:
            raise Conflict(f"{body.type}: silo {silo} has committed before")
        return replace(state, commitments={**state.commitments, silo: body.commitment})
    if silo != state.keying[0]:
        raise Forbidden(f"{body.type}: silo {state.keying[0]} makes this study's key, not {silo}")
    if body.recipient not in state.keying[1:] or body.recipient in state.sealed_for:
        raise Conflict(f"{body.type}: recipient {body.recipient} needs no key, or has it")
    return replace(state, sealed_for=(*state.sealed_for, body.recipient))


def _released(state: Study, body: ReleaseRequested | ReleaseApproved | ReleaseSealed) -> Study:
    _require_stage(state, body, "completed")
    if isinstance(body, ReleaseRequested):
        if state.release_requested:
            raise Conflict(f"{body.type}: the release was requested before")
        return replace(state, release_requested=True)
    silo = _silo_of(state, body, state.active)
    if not state.release_requested:
        raise Conflict(f"{body.type}: nobody requested the release")
    if isinstance(body, ReleaseApproved):
        if silo in state.release_approvals:
            raise Conflict(f"{body.type}: silo {silo} has approved before")
        return replace(state, release_approvals={**state.release_approvals, silo: body.commitment})
    if silo not in release_ready(state):
        raise Conflict(f"{body.type}: {state.contract.release.approvals} silos must confirm the same bundle first")
    if body.recipient not in state.contract.recipients or body.recipient in state.released:
        raise Conflict(f"{body.type}: {body.recipient} is no recipient, or has the bundle")
    return replace(state, released={**state.released, body.recipient: body.blob})
