"""One study as the whole log tells it, and whether everybody kept to the order of things.

The rules, each named in the reason when one is broken:

1. proposed: once; all its silos are members, its recipients people of the charter.
2. approved, objected: before the end; an admin's later word replaces its earlier one. The study *stands* while as many
   of the admins of the charter in force as its threshold says have approved it, by the keys that they have there.
   accepted: while it stands, once, by a silo of the contract. paused: by a silo that shares the secret; resumed: by
   one that is paused. Whatever may be said again needs a new statement each time: an approval, or a silo's going on,
   that is recorded once more is a replay.
3. keying: while the study stands; first exactly the silos that accepted, in the order of the log. Anew, before the next
   round is opened, after a void round and when a holder left, or while the key silo has not committed: exactly the
   holders that are left, those first that completed an upload in the newest round, silent key silos last. At least a
   quorum.
4. key: envelopes of an epoch come from its first silo; whoever a round is opened for has committed to one same key.
5. opened: while the study stands and its contract has not ended, the round after the last that is over, or the next
   attempt of one of which no total was served; for keyed silos that are neither suspended, withdrawn nor paused, at
   least a quorum. A silo that the charter no longer names is suspended.
6. ready: by an opened silo that reserved its spend. frozen: those silos' very ready statements, on the total before.
7. upload: by a frozen silo, under the freeze digest that follows from the log.
8. served: once a round, at least a quorum of silos with a complete upload; as many chunks as the layout has.
   signed: by a silo of that sum. revealed: once, by one that signed, after a quorum had signed.
9. verified, failed: by a silo of that sum, naming it; verified after a quorum revealed. closed: a quorum that logged
   one and the same state MAC, after a quorum had signed the survivors. voided: a training round whose total was served,
   while no quorum has logged one state; it suspends exactly the silos that more others blame than may collude.
10. closed study: nothing of a round comes after; completed means that the last round closed, expired that the
    contract had ended.
11. release: asked for by the lead of a completed study; sealed after enough silos confirmed the same bytes.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol

from protocol import round_rules
from protocol.charter import Charter
from protocol.errors import RuleBroken
from protocol.keying import Keying, next_holders
from protocol.round_record import NO_BASE, RoundRecord
from protocol.round_rules import require
from protocol.round_statements import (
    RoundClosed,
    RoundFrozen,
    RoundOpened,
    RoundReady,
    RoundVoided,
    SharesRevealed,
    SpendReserved,
    SpendSettled,
    SumServed,
    SumVerified,
    SurvivorsSigned,
    UploadComplete,
    VerificationFailed,
)
from protocol.rounds import freeze_digest, last_round, round_layout
from protocol.sealing.parameters import Layout
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


class Charges(Protocol):
    """What is known of the budgets' charges: all of it to an officer (``Spending``), their names to a silo."""

    def reserve(self, body: SpendReserved, contract: StudyContract) -> None: ...
    def settle(self, body: SpendSettled) -> None: ...
    def charged(self, silo: str, study: str, index: int) -> bool: ...


Exchange = (
    RoundFrozen
    | UploadComplete
    | SumServed
    | SurvivorsSigned
    | SharesRevealed
    | SumVerified
    | VerificationFailed
    | RoundClosed
    | RoundVoided
)


@dataclass(slots=True)
class StudyRecord:
    """A study's place in the log; ``leaves`` are the indices of all that concerns it, by type.

    ``charter`` is the one in force: whoever reads on calls ``under`` at each later one. ``approvals`` are the leaves
    of the approvals that nobody took back, ``objections`` the reasons of admins who object, both by party; ``heard``
    issuers and nonces of whatever can be taken back.
    ``keyings`` are its epochs; ``void_rounds`` counts, for each silo, the void rounds that its updates went into since
    its owner last let it go on, ``pauses`` how often it paused.
    """

    study: str
    contract: StudyContract
    proposed_at: str
    charter: Charter
    leaves: dict[str, list[int]] = field(default_factory=dict)
    approvals: dict[str, int] = field(default_factory=dict)
    objections: dict[str, str] = field(default_factory=dict)
    heard: set[tuple[str, str]] = field(default_factory=set)
    accepted: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    withdrawn: set[str] = field(default_factory=set)
    suspended: set[str] = field(default_factory=set)
    paused: set[str] = field(default_factory=set)
    pauses: Counter[str] = field(default_factory=Counter)
    void_rounds: Counter[str] = field(default_factory=Counter)
    keyings: list[Keying] = field(default_factory=list)
    rounds: dict[int, RoundRecord] = field(default_factory=dict)
    closed: StudyClosed | None = None
    requested: bool = False
    confirmations: dict[str, str] = field(default_factory=dict)
    released_to: dict[str, str] = field(default_factory=dict)

    def apply(self, index: int, at: str, signed: Signed, charges: Charges) -> None:
        """Take in the next statement about this study. Raises ``RuleBroken`` by the rules above."""
        body = signed.body
        self.leaves.setdefault(body.type, []).append(index)
        who = body.issuer.partition(":")[2]
        match body:
            case StudyApproved() | StudyObjected():
                self._hear(body)
                self._judge(body, index)
            case StudyAccepted() | StudyRefused() | StudyWithdrawn():
                self._decide(body, who)
            case StudyPaused() | StudyResumed():
                self._hear(body)
                self._pause(body, who)
            case StudyKeying():
                self._key(body)
            case SecretSealed() | SecretCommitment():
                self._share_key(body, who)
            case StudyClosed():
                self._end(body, at)
            case ReleaseRequested() | ReleaseApproved() | ReleaseSealed():
                self._release(body, who)
            case SpendReserved():
                known = body.round in self.rounds and who in self.keyed
                require(known, f"rule 6: {who} charges round {body.round}, in which it has no part")
                charges.reserve(body, self.contract)
            case SpendSettled():
                charges.settle(body)
            case RoundOpened():
                self._open(body, at)
            case RoundReady():
                self._in_open_round(body, who)
                charged = charges.charged(who, self.study, body.round)
                require(charged, f"rule 6: {who} was ready without a charge")
                if body.attempt == self.rounds[body.round].opened.attempt:
                    self.rounds[body.round].ready[who] = signed.digest
                    self.rounds[body.round].offers[who] = body
            case _:
                self._exchange(body, signed, who, at)

    def under(self, charter: Charter) -> None:
        """Goes on under another charter: whom it no longer names, with the keys that it had, has no part any more."""
        same = self.charter.admin_keys.items() & charter.admin_keys.items()
        self.charter = charter
        if self.closed is not None:
            return
        kept = {party for party, _ in same}
        self.approvals = {party: leaf for party, leaf in self.approvals.items() if party in kept}
        self.objections = {party: why for party, why in self.objections.items() if party in kept}
        for silo in self.contract.silo_names:
            if silo not in charter.silos:
                self.suspended.add(silo)
                if not self.keyed and silo in self.accepted:
                    self.accepted.remove(silo)

    @property
    def approved_by(self) -> tuple[str, ...]:
        """The admins who approve, by the keys that they have now, in the order of the log."""
        return tuple(self.approvals)

    @property
    def stands(self) -> bool:
        """Whether enough of the present admins approve (rule 2)."""
        return len(self.approved_by) >= self.charter.threshold

    @property
    def keying(self) -> Keying | None:
        """The epoch whose secret serves now."""
        return self.keyings[-1] if self.keyings else None

    @property
    def keyed(self) -> tuple[str, ...]:
        """The silos that share the secret of this epoch."""
        return self.keyings[-1].silos if self.keyings else ()

    @property
    def gone(self) -> set[str]:
        """The silos that are out of the study for good."""
        return self.withdrawn | self.suspended

    @property
    def needs_key(self) -> bool:
        """Whether another secret must be shared before a round is opened."""
        last = self.rounds.get(self.complete_through)
        spoilt = last is not None and last.voided is not None and last.keying is self.keying
        return spoilt or bool(self.gone & set(self.keyed))

    @property
    def current(self) -> RoundRecord | None:
        return self.rounds[max(self.rounds)] if self.rounds else None

    @property
    def complete_through(self) -> int:
        """Index of the last round that is over, -1 before any."""
        return max((index for index, one in self.rounds.items() if one.over), default=-1)

    @property
    def closed_through(self) -> int:
        """Index of the last round whose total counts, -1 before any."""
        return max((index for index, one in self.rounds.items() if one.closed), default=-1)

    def _hear(self, body: StudyApproved | StudyObjected | StudyPaused | StudyResumed) -> None:
        said = (body.issuer, body.nonce)
        require(said not in self.heard, f"rule 2: {body.type} of {body.issuer} was recorded before; it counts once")
        self.heard.add(said)

    def _judge(self, body: StudyApproved | StudyObjected, index: int) -> None:
        require(self.closed is None, f"rule 2: {body.issuer} judges a study that is over")
        if isinstance(body, StudyApproved):
            self.objections.pop(body.issuer, None)
            self.approvals.setdefault(body.issuer, index)
            return
        self.approvals.pop(body.issuer, None)
        self.objections[body.issuer] = body.reason

    def _decide(self, body: Body, who: str) -> None:
        require(who in self.contract.silo_names, f"rule 2: {who} is not a silo of the contract")
        match body:
            case StudyAccepted():
                require(self.stands, f"rule 2: {who} accepted a study that too few admins approve")
                require(who not in self.suspended, f"rule 2: {who} accepted, and is no member any more")
                require(who not in self.accepted and who not in self.refused, f"rule 2: {who} decided twice")
                self.accepted.append(who)
            case StudyRefused():
                require(who not in self.accepted and who not in self.refused, f"rule 2: {who} decided twice")
                self.refused[who] = body.rule
            case StudyWithdrawn():
                self.withdrawn.add(who)
                if not self.keyed and who in self.accepted:
                    self.accepted.remove(who)

    def _pause(self, body: StudyPaused | StudyResumed, who: str) -> None:
        if isinstance(body, StudyPaused):
            require(who in self.keyed and who not in self.paused, f"rule 2: {who} may not pause here")
            self.paused.add(who)
            self.pauses[who] += 1
            return
        require(who in self.paused, f"rule 2: {who} resumes and is not paused")
        self.paused.discard(who)
        self.void_rounds[who] = 0

    def _key(self, body: StudyKeying) -> None:
        running = self.stands and self.closed is None
        require(running, "rule 3: keyed while too few admins approve, or after the end")
        require(body.epoch == len(self.keyings) + 1, f"rule 3: key epoch {body.epoch} is out of order")
        wanted = tuple(self.accepted)
        if self.keyings:
            newest = self.current
            amid = newest is not None and newest.served is not None and not newest.over
            reason = self.needs_key or not self.keyings[-1].made
            require(reason and not amid, "rule 3: another key without a reason, or in the middle of a sum")
            silent = {keying.key_silo for keying in self.keyings if not keying.made}
            wanted = next_holders(self.keyed, self.gone, newest.uploads if newest is not None else (), silent)
        enough = len(wanted) >= self.contract.schedule.quorum
        require(body.silos == wanted and enough, "rule 3: not the silos that are left of those that accepted, in order")
        self.keyings.append(Keying(body.epoch, body.silos))

    def _share_key(self, body: SecretSealed | SecretCommitment, who: str) -> None:
        keying = self.keying
        known = keying is not None and keying.epoch == body.epoch
        if keying is None or not known:
            raise RuleBroken(f"rule 4: {who} speaks of key epoch {body.epoch}, which is not the study's")
        if isinstance(body, SecretSealed):
            require(who == keying.key_silo, f"rule 4: {who} is not the key silo")
            require(body.recipient in keying.silos, f"rule 4: a key for {body.recipient}, who has no part")
            keying.envelopes.setdefault(body.recipient, body)
            return
        require(who in keying.silos and who not in keying.commitments, f"rule 4: {who} may not commit here")
        keying.commitments[who] = body.commitment

    def _open(self, body: RoundOpened, at: str) -> None:
        what = f"round {body.round} attempt {body.attempt}"
        require(self.closed is None and body.round <= last_round(self.contract), f"rule 5: {what} after the end")
        require(at < self.contract.expires_at, f"rule 5: {what} after the contract had ended")
        require(self.stands, f"rule 5: {what} while too few admins approve")
        keying = self.keying
        if keying is None or self.needs_key:
            raise RuleBroken(f"rule 3: {what} opened before another key was shared")
        held = {keying.commitments.get(silo) for silo in body.silos}
        require(None not in held, f"rule 4: {what} opened before all committed to the key")
        require(len(held) == 1, "rule 4: the silos hold different keys")
        enough = len(set(body.silos)) >= self.contract.schedule.quorum
        eligible = set(keying.silos) - self.gone - self.paused
        require(enough and set(body.silos) <= eligible, f"rule 5: {what} opened for silos that may not take part")
        known = self.rounds.get(body.round)
        if known is None:
            fits = body.attempt == 1 and body.round == self.complete_through + 1
        else:
            fits = body.attempt == known.opened.attempt + 1 and known.served is None
        require(fits, f"rule 5: {what} is out of order")
        self.rounds[body.round] = RoundRecord(body.round, body, at, keying)

    def _in_open_round(self, body: RoundReady, who: str) -> None:
        known = self.rounds.get(body.round)
        if known is None or who not in known.opened.silos:
            raise RuleBroken(f"rule 6: {who} has no part in round {body.round}")
        if body.attempt > known.opened.attempt:
            raise RuleBroken(f"rule 6: {who} is ready for an attempt of round {body.round} that never opened")

    def _exchange(self, body: Body, signed: Signed, who: str, at: str) -> None:
        if not isinstance(body, Exchange):
            raise RuleBroken(f"a {body.type} has no place in a study")
        one = self.rounds.get(body.round)
        if one is not None and body.attempt < one.opened.attempt and isinstance(body, UploadComplete):
            return  # a silo's late word on an attempt that is over changes nothing
        if one is None or one.opened.attempt != body.attempt:
            raise RuleBroken(f"{body.type}: round {body.round} attempt {body.attempt} is not the one that is open")
        quorum = self.contract.schedule.quorum
        match body:
            case RoundFrozen():
                round_rules.freeze(one, body, quorum, self._base(one.index))
            case UploadComplete():
                require(one.frozen is not None and who in one.frozen.ready, f"rule 7: {who} was not frozen")
                require(body.freeze == self.freeze(one).hex(), f"rule 7: {who} sealed under another freeze digest")
                one.uploads[who] = body
            case SumServed():
                round_rules.serve(one, body, signed.digest, quorum, self.layout(one).chunks)
            case SurvivorsSigned() | SharesRevealed():
                round_rules.unmask(one, body, who, quorum)
            case SumVerified() | VerificationFailed():
                round_rules.answer(one, body, who, quorum)
            case RoundClosed():
                round_rules.close(one, body, at, quorum)
                self.suspended |= set(body.suspended)
            case RoundVoided():
                round_rules.void(one, body, at, self.contract)
                self.suspended |= set(body.suspended)
                self.void_rounds.update(one.uploads.keys())

    def layout(self, one: RoundRecord) -> Layout:
        """How a frozen round's vector is packed."""
        return round_layout(self.contract, one.index, len(one.frozen_ready))

    def freeze(self, one: RoundRecord) -> bytes:
        """F of a frozen round, 32 bytes, recomputed from the log."""
        ready = one.frozen_ready
        if not one.freeze:
            one.freeze = freeze_digest(
                study=self.study,
                index=one.index,
                attempt=one.attempt,
                silos=tuple(sorted(ready)),
                ready=ready,
                layout=self.layout(one),
                base=self._base(one.index),
            )
        return one.freeze

    def _base(self, index: int) -> str:
        return self.rounds[index - 1].served_digest if index else NO_BASE

    def _end(self, body: StudyClosed, at: str) -> None:
        require(self.closed is None, "rule 10: the study was closed twice")
        done = self.complete_through == last_round(self.contract)
        require(body.outcome != "completed" or done, "rule 10: completed before its last round closed")
        ended = at >= self.contract.expires_at
        require(body.outcome != "expired" or ended, "rule 10: expired before its contract had ended")
        self.closed = body

    def _release(self, body: ReleaseRequested | ReleaseApproved | ReleaseSealed, who: str) -> None:
        completed = self.closed is not None and self.closed.outcome == "completed"
        require(completed, f"rule 11: {body.type} of a study that is not completed")
        match body:
            case ReleaseRequested():
                require(who == self.contract.lead, f"rule 11: {who} asks for a release and is not the lead")
                self.requested = True
            case ReleaseApproved():
                require(self.requested, "rule 11: approved before it was asked for")
                require(who in self.keyed, f"rule 11: {who} has no part in the study")
                require(self.confirmations.setdefault(who, body.commitment) == body.commitment, "rule 11: two bundles")
            case ReleaseSealed():
                require(body.recipient in self.contract.recipients, f"rule 11: {body.recipient} is no recipient")
                most = max(Counter(self.confirmations.values()).values(), default=0)
                require(most >= self.contract.release.approvals, "rule 11: sealed before enough silos confirmed it")
                self.released_to[body.recipient] = body.blob
