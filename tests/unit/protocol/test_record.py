"""Every rule of the round that the hub might break, one broken rule a test; the honest run breaks none."""

import itertools

import pytest

from protocol.errors import RuleBroken
from protocol.record import StudyRecord
from protocol.round_record import NO_BASE
from protocol.round_statements import (
    RoundClosed,
    RoundFrozen,
    RoundOpened,
    RoundReady,
    RoundVoided,
    SharesRevealed,
    SpendReserved,
    SumServed,
    SumVerified,
    SurvivorsSigned,
    UploadComplete,
    VerificationFailed,
)
from protocol.rounds import freeze_digest, round_events, round_layout
from protocol.signing import sign
from protocol.study import study_id
from protocol.study_statements import (
    SecretCommitment,
    StudyAccepted,
    StudyApproved,
    StudyKeying,
    StudyObjected,
)
from tests.sample_study import NOW, SILOS, consortium, contract, party

GROUP = consortium()
STUDY = study_id(contract())
OFFER = {"mask_key": "9".rjust(64, "0"), "self_commitment": "1" * 64, "shares": "2" * 64}


class Script:
    """Writes a study's log as an honest hub and honest silos would, and lets a test write something else."""

    def __init__(self) -> None:
        self.record = StudyRecord(STUDY, contract(), NOW, GROUP.charter(4))
        self.broken: str | None = None
        self.reserved: set[tuple[str, int]] = set()
        self._number, self._index = itertools.count(), itertools.count()
        self.ready: dict[str, str] = {}
        self.base = NO_BASE

    def say(self, kind, issuer, **fields):
        number = next(self._number)
        body = kind.model_validate(
            {
                "type": kind.model_fields["type"].annotation.__args__[0],
                "issuer": issuer,
                "issued_at": NOW,
                "nonce": f"{number:032x}",
                "journal_head": None,
                "study": STUDY,
                **fields,
            }
        )
        key = GROUP.hub if issuer == "hub" else GROUP.admin.signing
        return self.record_again(sign(body, key))

    def record_again(self, signed):
        try:
            self.record.apply(next(self._index), NOW, signed, self)
        except RuleBroken as rule:
            self.broken = self.broken or str(rule)
        return signed

    def reserve(self, body, _):
        self.reserved.add((body.issuer, body.round))

    def settle(self, _):
        pass

    def charged(self, silo, _, index):
        return (f"silo:{silo}", index) in self.reserved

    def accept_all(self):
        self.say(StudyApproved, "person:ada", assertion=None)
        for silo in SILOS:
            self.say(
                StudyAccepted,
                f"silo:{silo}",
                policy="0" * 64,
                dataset_commitment="1" * 64,
                decided_by="owner-rule",
            )
        return self

    def key(self, silos=SILOS, epoch=1):
        self.say(StudyKeying, "hub", epoch=epoch, silos=silos)
        return self

    def commit(self, epoch=1, silos=SILOS, **commitments):
        for silo in silos:
            commitment = commitments.get(silo, "6" * 64)
            self.say(SecretCommitment, f"silo:{silo}", epoch=epoch, commitment=commitment)
        return self

    def key_again(self, epoch=2, silos=SILOS):
        return self.key(silos, epoch).commit(epoch, silos)

    def open(self, index=0, attempt=1, silos=SILOS):
        self.say(RoundOpened, "hub", round=index, attempt=attempt, silos=silos, due_at=NOW)
        for silo in silos:
            self.charge(silo, index)
        offer = {"round": index, "attempt": attempt, **OFFER}
        self.ready = {silo: self.say(RoundReady, f"silo:{silo}", **offer).digest for silo in silos}
        return self

    def charge(self, silo, index):
        if silo in SILOS:
            events = round_events(contract(), silo, index)
            fields = {"domain": "patients", "ledger_head": "7" * 64, "events": events}
            self.say(SpendReserved, f"silo:{silo}", round=index, **fields)

    def freeze(self, index=0, attempt=1, **changes):
        fields = {"round": index, "attempt": attempt, "ready": self.ready, "base": self.base, "due_at": NOW}
        self.say(RoundFrozen, "hub", **{**fields, **changes})
        return self

    def freeze_of(self, index=0, attempt=1):
        return freeze_digest(
            study=STUDY,
            index=index,
            attempt=attempt,
            silos=tuple(sorted(self.ready)),
            ready=self.ready,
            layout=round_layout(contract(), index, len(self.ready)),
            base=self.base,
        ).hex()

    def upload(self, index=0, attempt=1, silos=SILOS, freeze=None):
        for silo in silos:
            self.say(
                UploadComplete,
                f"silo:{silo}",
                round=index,
                attempt=attempt,
                freeze=freeze or self.freeze_of(index, attempt),
                chunks=("2" * 64,),
            )
        return self

    def serve(self, index=0, attempt=1, survivors=SILOS, chunks=("3" * 64,)):
        signed = self.say(
            SumServed, "hub", round=index, attempt=attempt, survivors=survivors, chunks=chunks, due_at=NOW
        )
        self.base = signed.digest
        return self

    def sign(self, index=0, attempt=1, silos=SILOS, **changes):
        for silo in silos:
            fields = {"round": index, "attempt": attempt, "sum": self.base, **changes}
            self.say(SurvivorsSigned, f"silo:{silo}", **fields)
        return self

    def reveal(self, index=0, attempt=1, silos=SILOS, **changes):
        for silo in silos:
            fields = {"round": index, "attempt": attempt, "sum": self.base, "shares": "AAAA", **changes}
            self.say(SharesRevealed, f"silo:{silo}", **fields)
        return self

    def verify(self, index=0, attempt=1, macs=None):
        for silo in SILOS:
            mac = (macs or {}).get(silo, "4" * 64)
            if mac is not None:
                self.say(SumVerified, f"silo:{silo}", round=index, attempt=attempt, sum=self.base, state_mac=mac)
        return self

    def close(self, index=0, attempt=1, agreed=SILOS, suspended=()):
        self.say(RoundClosed, "hub", round=index, attempt=attempt, agreed=agreed, suspended=suspended)
        return self

    def fail(self, index=0, attempt=1, **blames):
        """Each silo named says that the sum failed, and blames those given."""
        for silo, blamed in blames.items():
            fields = {"sum": self.base, "cause": "masks" if blamed else "sum", "blamed": blamed}
            self.say(VerificationFailed, f"silo:{silo}", round=index, attempt=attempt, **fields)
        return self

    def void(self, index=0, attempt=1, suspended=()):
        self.say(RoundVoided, "hub", round=index, attempt=attempt, reason="no sum", suspended=suspended)
        return self

    def word(self, kind, silo, **fields):
        """Something else that a silo says."""
        self.say(kind, f"silo:{silo}", **fields)
        return self

    def unmask(self, index=0, attempt=1, silos=SILOS):
        return self.sign(index, attempt, silos).reveal(index, attempt, silos)

    def whole_round(self, index=0):
        return self.open(index).freeze(index).upload(index).serve(index).unmask(index).verify(index).close(index)


def keyed() -> Script:
    return Script().accept_all().key().commit()


def test_an_honest_study_breaks_no_rule_through_all_its_rounds():
    script = keyed()
    for index in range(4):
        script.whole_round(index)
    assert script.broken is None
    assert script.record.complete_through == 3


def test_an_honest_second_attempt_after_too_few_uploads_breaks_no_rule():
    script = keyed().open().freeze().upload(silos=SILOS[:1]).open(attempt=2).freeze(attempt=2).upload(attempt=2)
    script.serve(attempt=2).unmask(attempt=2).verify(attempt=2).close(attempt=2)
    assert script.broken is None


def test_a_silo_that_vanished_after_the_freeze_is_left_out_without_a_broken_rule():
    script = keyed().open().freeze().upload(silos=SILOS[:3]).serve(survivors=SILOS[:3])
    script.unmask(silos=SILOS[:3]).verify(macs={"delta": None}).close(agreed=SILOS[:3])
    assert script.broken is None
    assert script.record.suspended == set()


@pytest.mark.parametrize(
    ("play", "rule"),
    [
        (lambda: Script().accept_all().key(SILOS[:3]), "rule 3"),
        (lambda: Script().accept_all().key(SILOS[::-1]), "rule 3"),
        (lambda: Script().key(), "rule 3"),
        (lambda: keyed().key(), "rule 3"),
        (lambda: Script().accept_all().key().open(), "rule 4"),
        (lambda: Script().accept_all().key().commit(delta="8" * 64).open(), "rule 4"),
        (lambda: keyed().open(index=1), "rule 5"),
        (lambda: keyed().open(attempt=2), "rule 5"),
        (lambda: keyed().open(silos=(*SILOS[:2], "echo")), "rule 4"),
        (lambda: keyed().whole_round().whole_round(0), "rule 5"),
        (lambda: keyed().open().freeze().upload().serve().open(attempt=2), "rule 5"),
        (lambda: keyed().open().freeze().freeze(), "rule 6"),
        (lambda: keyed().open().freeze(ready={"alpha": "a" * 64, "bravo": "b" * 64, "charlie": "c" * 64}), "rule 6"),
        (lambda: keyed().open().freeze(base="f" * 64), "rule 6"),
        (lambda: keyed().open().freeze().serve(), "rule 8"),
        (lambda: keyed().open().freeze().upload(silos=SILOS[:3]).serve(), "rule 8"),
        (lambda: keyed().open().freeze().upload(freeze="e" * 64).serve(), "rule 7"),
        (lambda: keyed().open().freeze().upload().serve(survivors=SILOS[::-1]), "rule 8"),
        (lambda: keyed().open().freeze().upload().serve(chunks=("3" * 64, "5" * 64)), "rule 8"),
        (lambda: keyed().open().freeze().upload().serve().serve(survivors=SILOS[:3]), "rule 8"),
        (lambda: keyed().open().freeze().upload().serve().unmask().verify(macs={"delta": "5" * 64}).close(), "rule 9"),
        (lambda: keyed().open().freeze().upload().serve().sign(silos=SILOS[:2]).verify().close(), "rule 9"),
        (lambda: keyed().open().freeze().upload().sign(), "rule 8"),
        (lambda: keyed().open().freeze().upload().serve().sign(sum="9" * 64), "rule 8"),
        (lambda: keyed().open().freeze().upload(silos=SILOS[:3]).serve(survivors=SILOS[:3]).sign(), "rule 8"),
        (lambda: keyed().open().freeze().upload().serve().reveal(silos=SILOS[:1]), "rule 8"),
        (lambda: keyed().open().freeze().upload().serve().sign(silos=SILOS[:2]).reveal(silos=SILOS[:1]), "rule 8"),
        (lambda: keyed().open().freeze().upload().serve().sign(silos=SILOS[:3]).reveal(silos=SILOS[3:]), "rule 8"),
        (lambda: keyed().open().freeze().upload().serve().unmask().reveal(silos=SILOS[:1]), "rule 8"),
        (lambda: keyed().open().freeze().upload().serve().close(), "rule 9"),
        (lambda: keyed().open().freeze().upload().close(), "rule 9"),
    ],
)
def test_a_hub_that_breaks_a_rule_of_the_round_is_caught_with_the_rule_named(play, rule):
    broken = play().broken
    assert broken is not None
    assert broken.startswith(rule)


def test_a_suspended_silo_is_not_let_in_again():
    script = keyed().open().freeze().upload().serve().unmask().verify(macs={"delta": "5" * 64})
    script.close(agreed=SILOS[:3], suspended=("delta",))
    assert script.broken is None
    script.open(1)
    assert "rule 3" in script.broken


def test_the_holders_that_are_left_share_another_key_before_the_next_round():
    script = keyed().open().freeze().upload().serve().unmask().verify(macs={"delta": "5" * 64})
    script.close(agreed=SILOS[:3], suspended=("delta",)).key_again(silos=SILOS[:3]).open(1, silos=SILOS[:3])
    assert script.broken is None
    assert [keying.silos for keying in script.record.keyings] == [SILOS, SILOS[:3]]


def test_an_approval_that_was_taken_back_does_not_count_when_the_hub_records_it_again():
    script = Script()
    approved = script.say(StudyApproved, "person:ada", assertion=None)
    script.say(StudyObjected, "person:ada", reason="the purpose has changed", assertion=None)
    script.record_again(approved)
    assert script.broken == "rule 2: study-approved of person:ada was recorded before; it counts once"
    assert not script.record.stands
    script.say(StudyApproved, "person:ada", assertion=None)
    assert script.record.stands, "a new one counts"


def with_ada(older, key):
    """The charter after ``older``, in which ada has the keys of ``key``; None takes her out, as an admin at least."""
    ada = older.people[0]
    changed = ada.model_copy(update={"role": "officer"} if key is None else key.public)
    return GROUP.charter(4, older).model_copy(update={"people": (changed, *older.people[1:])})


def test_an_approval_counts_for_as_long_as_the_charter_has_the_keys_that_made_it():
    script = Script()
    first = script.record.charter
    script.say(StudyApproved, "person:ada", assertion=None)
    script.record.under(GROUP.charter(4, first))
    assert script.record.stands, "another version with the same keys takes nothing back"
    replaced = with_ada(first, party("ada"))
    script.record.under(replaced)
    assert not script.record.stands
    script.say(StudyApproved, "person:ada", assertion=None)
    assert script.record.stands


def test_an_approval_of_an_admin_who_was_removed_does_not_come_back_with_the_name():
    script = Script()
    first = script.record.charter
    script.say(StudyApproved, "person:ada", assertion=None)
    script.record.under(with_ada(first, None))
    assert not script.record.stands
    script.record.under(with_ada(first, GROUP.admin))
    assert not script.record.stands, "she approves anew, or it does not count"


def test_an_objection_and_an_approval_count_by_their_own_nonces():
    script = Script()
    for _ in range(3):
        script.say(StudyApproved, "person:ada", assertion=None)
        script.say(StudyObjected, "person:ada", reason="no", assertion=None)
    assert script.broken is None
    assert script.record.objections == {"person:ada": "no"}
