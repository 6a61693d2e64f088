"""What the log says of one study, and whether the hub kept to the rules. Built from verified statements only.

The hub is not trusted to schedule honestly; each of its statements must follow from what stands in the log
before it. The rules (sealed-sum.md, "A round"), each named in the reason when one is broken:

1. keying: exactly the silos that accepted, in the order of the log, at least the contract's quorum of them.
2. opened: the round after the last closed one, for silos that hold the key and are not suspended or withdrawn;
   or the same round once more, one attempt later, as long as no total of it was served.
3. frozen: at least a quorum, each with the digest of its logged ready statement of this attempt; once an attempt.
4. served: survivors among the frozen, at least a quorum, each with a logged complete upload under this freeze;
   once a round, ever: the difference of two totals would be a term.
5. closed: the agreed silos are a quorum that logged one and the same state MAC.
"""

from dataclasses import dataclass, field
from typing import Literal

from protocol.follow import Verified
from protocol.rounds import freeze_digest, last_round, round_layout
from protocol.sealing.parameters import Layout
from protocol.statements import (
    Body,
    ReleaseApproved,
    ReleaseSealed,
    RoundClosed,
    RoundFrozen,
    RoundOpened,
    RoundReady,
    SecretCommitment,
    SecretSealed,
    Signed,
    StudyAccepted,
    StudyApproved,
    StudyClosed,
    StudyKeying,
    StudyProposed,
    StudyRefused,
    StudyWithdrawn,
    SumServed,
    SumVerified,
    UploadComplete,
)
from protocol.study import StudyContract, study_id

NO_BASE = "0" * 64


class RuleBroken(Exception):
    """A statement of the hub that does not follow from the log before it."""


@dataclass(slots=True)
class RoundRecord:
    """One round: its present attempt, and what was served of it."""

    index: int
    opened: RoundOpened
    ready: dict[str, str] = field(default_factory=dict)
    frozen: RoundFrozen | None = None
    complete: dict[str, UploadComplete] = field(default_factory=dict)
    served: SumServed | None = None
    served_digest: str = NO_BASE
    macs: dict[str, str] = field(default_factory=dict)
    closed: RoundClosed | None = None

    @property
    def attempt(self) -> int:
        return self.opened.attempt

    @property
    def total_served(self) -> SumServed:
        """The hub's statement of the sum. Raises ``RuleBroken`` before there is one."""
        if self.served is None:
            raise RuleBroken(f"no total of round {self.index} was served")
        return self.served


@dataclass(slots=True)
class StudyRecord:
    """One study as the log tells it. ``broken`` is the first rule that the hub broke, if it did."""

    study: str
    contract: StudyContract
    approved: bool = False
    accepted: list[str] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    withdrawn: set[str] = field(default_factory=set)
    suspended: set[str] = field(default_factory=set)
    holders: tuple[str, ...] = ()
    envelopes: dict[str, SecretSealed] = field(default_factory=dict)
    commitments: dict[str, str] = field(default_factory=dict)
    rounds: dict[int, RoundRecord] = field(default_factory=dict)
    closed: StudyClosed | None = None
    release_requested: bool = False
    confirmations: dict[str, str] = field(default_factory=dict)
    released_to: set[str] = field(default_factory=set)
    broken: str | None = None

    def apply(self, verified: Verified) -> None:
        """Takes in the next logged statement. A broken rule is kept in ``broken``; nothing after it counts."""
        if self.broken is None:
            try:
                self._apply(verified.signed.body, verified.signed)
            except RuleBroken as rule:
                self.broken = str(rule)

    @property
    def key_silo(self) -> str:
        return self.holders[0]

    @property
    def current(self) -> RoundRecord | None:
        return self.rounds[max(self.rounds)] if self.rounds else None

    def layout(self, record: RoundRecord) -> Layout:
        """How this round's vector is packed, once it is frozen."""
        return round_layout(self.contract, record.index, len(_frozen(record).ready))

    def freeze(self, record: RoundRecord) -> bytes:
        """F of the round's present attempt, 32 bytes."""
        frozen = _frozen(record)
        return freeze_digest(
            study=self.study,
            index=record.index,
            attempt=record.attempt,
            silos=tuple(sorted(frozen.ready)),
            ready=dict(frozen.ready),
            layout=self.layout(record),
            base=frozen.base,
        )

    def complete_through(self) -> int:
        """Index of the last round that closed, -1 before any."""
        closed = [index for index, record in self.rounds.items() if record.closed]
        return max(closed, default=-1)

    def _apply(self, body: Body, signed: Signed) -> None:
        speaker = body.issuer.partition(":")[2]
        match body:
            case StudyApproved():
                self.approved = True
            case StudyAccepted():
                if speaker in self.contract.silo_names and speaker not in [*self.accepted, *self.refused]:
                    self.accepted.append(speaker)
            case StudyRefused():
                if speaker not in self.accepted:
                    self.refused.add(speaker)
            case StudyWithdrawn():
                self.withdrawn.add(speaker)
            case StudyKeying():
                self._keying(body)
            case SecretSealed():
                if self.holders and speaker == self.key_silo:
                    self.envelopes.setdefault(body.recipient, body)
            case SecretCommitment():
                self.commitments.setdefault(speaker, body.commitment)
            case StudyClosed():
                self.closed = body
            case ReleaseApproved():
                self.confirmations.setdefault(speaker, body.commitment)
            case ReleaseSealed():
                self.released_to.add(body.recipient)
            case _ if body.type == "release-requested":
                self.release_requested = True
            case _:
                self._apply_round(body, signed, speaker)

    def _apply_round(self, body: Body, signed: Signed, speaker: str) -> None:
        match body:
            case RoundOpened():
                self._opened(body)
            case RoundFrozen():
                self._froze(self._round(body.round, body.attempt, "frozen"), body)
            case SumServed():
                self._serve(self._round(body.round, body.attempt, "served"), body, signed)
            case RoundClosed():
                self._close(self._round(body.round, body.attempt, "closed"), body)
            case RoundReady() | UploadComplete() | SumVerified():
                record = self.rounds.get(body.round)
                if record is None or record.attempt != body.attempt:
                    return  # a silo's late word on an attempt that is over changes nothing
                if isinstance(body, RoundReady):
                    record.ready.setdefault(speaker, signed.digest)
                elif isinstance(body, UploadComplete):
                    record.complete.setdefault(speaker, body)
                elif body.sum == record.served_digest:
                    record.macs.setdefault(speaker, body.state_mac)

    def _round(self, index: int, attempt: int, what: Literal["frozen", "served", "closed"]) -> RoundRecord:
        record = self.rounds.get(index)
        if record is None or record.attempt != attempt or record.closed:
            raise RuleBroken(f"{what}: round {index} attempt {attempt} is not the one that is open")
        return record

    def _keying(self, body: StudyKeying) -> None:
        if not self.approved or self.holders:
            raise RuleBroken("rule 1, keying: the study is not approved, or was keyed before")
        if list(body.silos) != self.accepted or len(body.silos) < self.contract.schedule.quorum:
            raise RuleBroken("rule 1, keying: not the silos that accepted, in the order of the log")
        self.holders = body.silos

    def _opened(self, body: RoundOpened) -> None:
        eligible = set(self.holders) - self.suspended - self.withdrawn
        if not set(body.silos) <= eligible or len(set(body.silos)) < self.contract.schedule.quorum:
            raise RuleBroken(f"rule 2, opened: round {body.round} is for silos that may not take part")
        if self.closed or body.round > last_round(self.contract):
            raise RuleBroken(f"rule 2, opened: round {body.round} after the study's end")
        known = self.rounds.get(body.round)
        if known is None:
            fits = body.attempt == 1 and body.round == self.complete_through() + 1
        else:
            fits = body.attempt == known.attempt + 1 and known.served is None
        if not fits:
            raise RuleBroken(f"rule 2, opened: round {body.round} attempt {body.attempt} is out of order")
        self.rounds[body.round] = RoundRecord(body.round, body)

    def _froze(self, record: RoundRecord, body: RoundFrozen) -> None:
        if record.frozen is not None:
            raise RuleBroken(f"rule 3, frozen: round {record.index} attempt {record.attempt} was frozen twice")
        logged = all(record.ready.get(silo) == digest for silo, digest in body.ready.items())
        if not logged or len(body.ready) < self.contract.schedule.quorum:
            raise RuleBroken(f"rule 3, frozen: round {record.index} names a silo that was not ready, or too few")
        if not set(body.ready) <= set(record.opened.silos) or body.base != self._base(record.index):
            raise RuleBroken(f"rule 3, frozen: round {record.index} was not opened for these silos, or on another base")
        record.frozen = body

    def _base(self, index: int) -> str:
        return self.rounds[index - 1].served_digest if index else NO_BASE

    def _serve(self, record: RoundRecord, body: SumServed, signed: Signed) -> None:
        if record.frozen is None or record.served is not None:
            raise RuleBroken(f"rule 4, served: round {record.index} was not frozen, or a total of it was served before")
        enough = len(set(body.survivors)) >= self.contract.schedule.quorum
        ordered = list(body.survivors) == sorted(set(body.survivors))
        if not enough or not ordered or not set(body.survivors) <= set(record.frozen.ready):
            raise RuleBroken(f"rule 4, served: survivors of round {record.index} are not a quorum of the frozen silos")
        freeze = self.freeze(record).hex()
        uploads = [record.complete.get(silo) for silo in body.survivors]
        if any(upload is None or upload.freeze != freeze for upload in uploads):
            raise RuleBroken(f"rule 4, served: a survivor of round {record.index} has no complete upload in the log")
        if len(body.chunks) != self.layout(record).chunks:
            raise RuleBroken(f"rule 4, served: the sum of round {record.index} has another number of chunks")
        record.served, record.served_digest = body, signed.digest

    def _close(self, record: RoundRecord, body: RoundClosed) -> None:
        macs = {record.macs.get(silo) for silo in body.agreed}
        if record.served is None or len(macs) != 1 or None in macs:
            raise RuleBroken(f"rule 5, closed: the agreed silos of round {record.index} did not log one state")
        if len(set(body.agreed)) < self.contract.schedule.quorum or set(body.agreed) & set(body.suspended):
            raise RuleBroken(f"rule 5, closed: round {record.index} without a quorum of agreed silos")
        record.closed = body
        self.suspended |= set(body.suspended)


def _frozen(record: RoundRecord) -> RoundFrozen:
    if record.frozen is None:
        raise RuleBroken(f"round {record.index} is not frozen")
    return record.frozen


def take_in(studies: dict[str, StudyRecord], entry: Verified) -> None:
    """Adds the next logged statement to the study it is about; a proposal begins a study."""
    body = entry.signed.body
    if isinstance(body, StudyProposed):
        identity = study_id(body.contract)
        studies.setdefault(identity, StudyRecord(identity, body.contract))
    record = studies.get(getattr(body, "study", ""))
    if record is not None:
        record.apply(entry)
