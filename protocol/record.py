"""One study as the whole log tells it, and whether everybody kept to the order of things.

The rules, each named in the reason when one is broken:

1. proposed: once; all its silos are members, its recipients people of the charter.
2. approved: after the proposal. accepted: after an approval, once, by a silo of the contract.
3. keying: exactly the silos that accepted, in the order of the log, at least a quorum, after an approval.
4. key: envelopes come from the first keyed silo; whoever a round is opened for has committed to one same key.
5. opened: the round after the last closed one, or the next attempt of one of which no total was served; for
   keyed silos that are neither suspended nor withdrawn, at least a quorum.
6. ready: by an opened silo that reserved its spend. frozen: those silos' very ready statements, on the total before.
7. upload: by a frozen silo, under the freeze digest that follows from the log.
8. served: once a round, at least a quorum of silos with a complete upload; as many chunks as the layout has.
   signed: by a silo of that sum. revealed: once, by one that signed, after a quorum had signed.
9. verified: names the sum that was served. closed: a quorum that logged one and the same state MAC, after a quorum
   had signed the survivors.
10. closed study: nothing of a round comes after; completed means that the last round closed.
11. release: asked for by the lead of a completed study; sealed after enough silos confirmed the same bytes.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol

from protocol.errors import RuleBroken
from protocol.round_record import NO_BASE, RoundRecord
from protocol.rounds import freeze_digest, last_round, round_layout
from protocol.sealing.parameters import Layout
from protocol.statements import (
    Body,
    ReleaseApproved,
    ReleaseRequested,
    ReleaseSealed,
    RoundClosed,
    RoundFrozen,
    RoundOpened,
    RoundReady,
    SecretCommitment,
    SecretSealed,
    SharesRevealed,
    Signed,
    SpendReserved,
    SpendSettled,
    StudyAccepted,
    StudyApproved,
    StudyClosed,
    StudyKeying,
    StudyRefused,
    StudyWithdrawn,
    SumServed,
    SumVerified,
    SurvivorsSigned,
    UploadComplete,
    VerificationFailed,
)
from protocol.study import StudyContract


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
)


@dataclass(slots=True)
class StudyRecord:
    """A study's place in the log; ``leaves`` are the indices of all that concerns it, by type."""

    study: str
    contract: StudyContract
    proposed_at: str
    leaves: dict[str, list[int]] = field(default_factory=dict)
    approvals: dict[str, int] = field(default_factory=dict)
    accepted: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    withdrawn: set[str] = field(default_factory=set)
    suspended: set[str] = field(default_factory=set)
    keyed: tuple[str, ...] = ()
    envelopes: dict[str, SecretSealed] = field(default_factory=dict)
    commitments: dict[str, str] = field(default_factory=dict)
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
            case StudyApproved():
                self.approvals.setdefault(body.issuer, index)
            case StudyAccepted() | StudyRefused() | StudyWithdrawn() | SecretSealed() | SecretCommitment():
                self._decide(body, who)
            case StudyKeying():
                self._key(body)
            case StudyClosed():
                self._end(body)
            case ReleaseRequested() | ReleaseApproved() | ReleaseSealed():
                self._release(body, who)
            case SpendReserved():
                known = body.round in self.rounds and who in self.keyed
                _require(known, f"rule 6: {who} charges round {body.round}, in which it has no part")
                charges.reserve(body, self.contract)
            case SpendSettled():
                charges.settle(body)
            case RoundOpened():
                self._open(body, at)
            case RoundReady():
                self._in_open_round(body, who)
                charged = charges.charged(who, self.study, body.round)
                _require(charged, f"rule 6: {who} was ready without a charge")
                if body.attempt == self.rounds[body.round].opened.attempt:
                    self.rounds[body.round].ready[who] = signed.digest
                    self.rounds[body.round].offers[who] = body
            case _:
                self._exchange(body, signed, who, at)

    @property
    def key_silo(self) -> str:
        """The silo that makes the study secret: the first that accepted."""
        return self.keyed[0]

    @property
    def current(self) -> RoundRecord | None:
        return self.rounds[max(self.rounds)] if self.rounds else None

    @property
    def complete_through(self) -> int:
        """Index of the last closed round, -1 before any."""
        return max((index for index, one in self.rounds.items() if one.closed), default=-1)

    def _decide(self, body: Body, who: str) -> None:
        _require(who in self.contract.silo_names, f"rule 2: {who} is not a silo of the contract")
        match body:
            case StudyAccepted():
                _require(bool(self.approvals), f"rule 2: {who} accepted before an admin approved")
                _require(who not in self.accepted and who not in self.refused, f"rule 2: {who} decided twice")
                self.accepted.append(who)
            case StudyRefused():
                _require(who not in self.accepted and who not in self.refused, f"rule 2: {who} decided twice")
                self.refused[who] = body.rule
            case StudyWithdrawn():
                self.withdrawn.add(who)
                if not self.keyed and who in self.accepted:
                    self.accepted.remove(who)
            case SecretSealed():
                _require(self.keyed[:1] == (who,), f"rule 4: {who} is not the key silo")
                _require(body.recipient in self.keyed, f"rule 4: a key for {body.recipient}, who has no part")
                self.envelopes.setdefault(body.recipient, body)
            case SecretCommitment():
                _require(who in self.keyed and who not in self.commitments, f"rule 4: {who} may not commit here")
                self.commitments[who] = body.commitment

    def _key(self, body: StudyKeying) -> None:
        _require(bool(self.approvals) and not self.keyed, "rule 3: keyed twice, or before an admin approved")
        exact = list(body.silos) == self.accepted and len(body.silos) >= self.contract.schedule.quorum
        _require(exact, "rule 3: not the silos that accepted, in the order of the log")
        self.keyed = body.silos

    def _open(self, body: RoundOpened, at: str) -> None:
        what = f"round {body.round} attempt {body.attempt}"
        _require(self.closed is None and body.round <= last_round(self.contract), f"rule 5: {what} after the end")
        eligible = set(self.keyed) - self.suspended - self.withdrawn
        held = {self.commitments.get(silo) for silo in body.silos}
        _require(None not in held, f"rule 4: {what} opened before all committed to the key")
        _require(len(held) == 1, "rule 4: the silos hold different keys")
        enough = len(set(body.silos)) >= self.contract.schedule.quorum
        _require(enough and set(body.silos) <= eligible, f"rule 5: {what} opened for silos that may not take part")
        known = self.rounds.get(body.round)
        if known is None:
            fits = body.attempt == 1 and body.round == self.complete_through + 1
        else:
            fits = body.attempt == known.opened.attempt + 1 and known.served is None
        _require(fits, f"rule 5: {what} is out of order")
        self.rounds[body.round] = RoundRecord(body.round, body, at)

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
        match body:
            case RoundFrozen():
                self._freeze(one, body)
            case UploadComplete():
                _require(one.frozen is not None and who in one.frozen.ready, f"rule 7: {who} was not frozen")
                _require(body.freeze == self.freeze(one).hex(), f"rule 7: {who} sealed under another freeze digest")
                one.uploads[who] = body
            case SumServed():
                self._serve(one, body, signed)
            case SurvivorsSigned() | SharesRevealed():
                self._unmask(one, body, who)
            case SumVerified() | VerificationFailed():
                _require(one.served is not None and body.sum == one.served_digest, f"rule 9: {who} names another sum")
                if isinstance(body, SumVerified):
                    state = one.macs.setdefault(who, body.state_mac)
                    _require(state == body.state_mac, f"rule 9: {who} says two states")
                else:
                    one.failed.add(who)
            case RoundClosed():
                self._close(one, body, at)

    def layout(self, one: RoundRecord) -> Layout:
        """How a frozen round's vector is packed."""
        return round_layout(self.contract, one.index, len(one.frozen_ready))

    def freeze(self, one: RoundRecord) -> bytes:
        """F of a frozen round, 32 bytes, recomputed from the log."""
        ready = one.frozen_ready
        return freeze_digest(
            study=self.study,
            index=one.index,
            attempt=one.attempt,
            silos=tuple(sorted(ready)),
            ready=ready,
            layout=self.layout(one),
            base=self._base(one.index),
        )

    def _base(self, index: int) -> str:
        return self.rounds[index - 1].served_digest if index else NO_BASE

    def _freeze(self, one: RoundRecord, body: RoundFrozen) -> None:
        what = f"rule 6: round {one.index}"
        _require(one.frozen is None, f"{what} was frozen twice")
        _require(len(body.ready) >= self.contract.schedule.quorum, f"{what} was frozen below the quorum")
        for silo, digest in body.ready.items():
            _require(one.ready.get(silo) == digest, f"{what} names a ready statement of {silo} that is not in the log")
        _require(body.base == self._base(one.index), f"{what} is frozen on another total than the one before")
        one.frozen = body

    def _serve(self, one: RoundRecord, body: SumServed, signed: Signed) -> None:
        what = f"rule 8: round {one.index}"
        _require(one.served is None, f"{what} was served twice: their difference would be a term")
        ordered = list(body.survivors) == sorted(set(body.survivors)) and set(body.survivors) <= set(one.uploads)
        _require(ordered, f"{what} was served with silos that had not completed their upload")
        _require(len(body.survivors) >= self.contract.schedule.quorum, f"{what} was served below the quorum")
        chunks = self.layout(one).chunks
        _require(len(body.chunks) == chunks, f"{what} has {len(body.chunks)} chunks, its layout {chunks}")
        one.served, one.served_digest = body, signed.digest

    def _unmask(self, one: RoundRecord, body: SurvivorsSigned | SharesRevealed, who: str) -> None:
        what = f"rule 8: round {one.index}"
        known = one.served is not None and body.sum == one.served_digest
        _require(known, f"{what}: {who} names a sum that was not served")
        _require(who in one.total_served.survivors, f"{what}: {who} is not of the sum that it speaks of")
        if isinstance(body, SurvivorsSigned):
            one.signed.add(who)
            return
        _require(who in one.signed, f"{what}: {who} revealed shares and did not sign the survivors")
        enough = len(one.signed) >= self.contract.schedule.quorum
        _require(enough, f"{what}: {who} revealed shares before a quorum had signed the survivors")
        _require(who not in one.revealed, f"{what}: {who} revealed shares twice")
        one.revealed[who] = body

    def _close(self, one: RoundRecord, body: RoundClosed, at: str) -> None:
        what = f"rule 9: round {one.index}"
        _require(one.served is not None and one.closed is None, f"{what} was closed without a total, or twice")
        states = {one.macs.get(silo) for silo in body.agreed}
        _require(len(states) == 1 and None not in states, f"{what}: the agreed silos did not log one state")
        _require(len(set(body.agreed)) >= self.contract.schedule.quorum, f"{what} was closed below the quorum")
        signed = len(one.signed) >= self.contract.schedule.quorum
        _require(signed, f"{what} was closed before a quorum had signed its survivors")
        _require(not set(body.agreed) & set(body.suspended), f"{what}: a silo is agreed and suspended at once")
        one.closed, one.closed_at = body, at
        self.suspended |= set(body.suspended)

    def _end(self, body: StudyClosed) -> None:
        _require(self.closed is None, "rule 10: the study was closed twice")
        done = self.complete_through == last_round(self.contract)
        _require(body.outcome != "completed" or done, "rule 10: completed before its last round closed")
        self.closed = body

    def _release(self, body: ReleaseRequested | ReleaseApproved | ReleaseSealed, who: str) -> None:
        completed = self.closed is not None and self.closed.outcome == "completed"
        _require(completed, f"rule 11: {body.type} of a study that is not completed")
        match body:
            case ReleaseRequested():
                _require(who == self.contract.lead, f"rule 11: {who} asks for a release and is not the lead")
                self.requested = True
            case ReleaseApproved():
                _require(self.requested, "rule 11: approved before it was asked for")
                _require(who in self.keyed, f"rule 11: {who} has no part in the study")
                _require(self.confirmations.setdefault(who, body.commitment) == body.commitment, "rule 11: two bundles")
            case ReleaseSealed():
                _require(body.recipient in self.contract.recipients, f"rule 11: {body.recipient} is no recipient")
                most = max(Counter(self.confirmations.values()).values(), default=0)
                _require(most >= self.contract.release.approvals, "rule 11: sealed before enough silos confirmed it")
                self.released_to[body.recipient] = body.blob


def _require(holds: bool, reason: str) -> None:
    if not holds:
        raise RuleBroken(reason)
