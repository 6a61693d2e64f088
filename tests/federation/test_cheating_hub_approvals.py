"""A hub that starts studies which too few admins approve: without a signature, with an old, copied or foreign one.

The hub writes what it likes into its log, properly proved, and asks the silos for the study's key. Each test founds its
own consortium, where two of three admins decide.
"""

import base64
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from protocol import canonical
from protocol.round_statements import RoundOpened
from protocol.signing import parse, sign
from protocol.study import study_id
from protocol.study_statements import StudyAccepted, StudyApproved
from silo_node.errors import HubDistrusted
from tests.federation.rig.cheating_silos import small_contract
from tests.federation.rig.several_admins import Several, forged_party, several_admins
from tests.sample_study import SILOS

pytestmark = pytest.mark.slow


@pytest.fixture
def several(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Several]:
    with several_admins(tmp_path_factory.mktemp("approvals")) as made:
        yield made


# -- too few approvals: each statement is good, and they are not enough


def nobody_approves(several: Several, study: str) -> None:
    """The hub asks for the key all the same."""


def one_of_two_approves(several: Several, study: str) -> None:
    several.approve(study, "bea")


def one_admin_approves_twice(several: Several, study: str) -> None:
    for _ in range(2):
        several.force(several.admins["bea"].signed("study-approved", study=study, assertion=None))


def an_admin_who_approved_was_removed(several: Several, study: str) -> None:
    several.approve(study, "cid")
    people = several.charter.model_dump(mode="json")["people"]
    several.amend("ines", "bea", people=[one for one in people if one["person"] != "cid"])
    several.approve(study, "bea")


def an_admin_who_approved_is_a_researcher_now(several: Several, study: str) -> None:
    several.approve(study, "cid")
    people = several.charter.model_dump(mode="json")["people"]
    others = [one for one in people if one["person"] != "cid"]
    several.amend("ines", "bea", people=[*others, several.person("cid", "researcher")])
    several.approve(study, "bea")


def an_approval_was_taken_back(several: Several, study: str) -> None:
    several.approve(study, "ines")
    several.admins["ines"].say("study-objected", study=study, reason="not this purpose", assertion=None)
    several.approve(study, "bea")


FEW = (
    nobody_approves,
    one_of_two_approves,
    one_admin_approves_twice,
    an_admin_who_approved_was_removed,
    an_admin_who_approved_is_a_researcher_now,
    an_approval_was_taken_back,
)


@pytest.mark.parametrize("approvals", FEW, ids=lambda given: given.__name__.replace("_", " "))
def test_a_study_that_too_few_admins_approve_is_accepted_by_no_silo_and_halts_when_the_hub_begins_it(
    several: Several, approvals: Callable[[Several, str], None]
) -> None:
    study = several.propose()
    approvals(several, study)
    assert several.nothing_left(study)
    several.begin_keying(study)
    several.group.run_to(lambda: several.group.all_halted(study, "keyed while too few admins approve"))
    assert several.nothing_left(study)


def test_with_a_second_approval_the_same_study_runs_to_its_end(several: Several) -> None:
    study = several.propose()
    several.approve(study, "bea")
    assert several.nothing_left(study)
    several.approve(study, "cid")
    several.group.completed(study)


def test_an_approval_that_was_taken_back_is_not_played_again(several: Several) -> None:
    """The very bytes that the admin signed, as another leaf after its objection: the signature is good."""
    study, ines = several.propose(), several.admins["ines"]
    approved = ines.signed("study-approved", study=study, assertion=None)
    ines.post(approved)
    ines.say("study-objected", study=study, reason="not this purpose", assertion=None)
    several.approve(study, "bea")
    assert several.nothing_left(study)
    split, alpha = several.hub.split("alpha"), several.group.nodes["alpha"]
    split.record(approved)
    several.group.run_to(lambda: alpha.silo.tasks.halted(study) is not None, "alpha")
    assert "was recorded before; it counts once" in alpha.notes(study)
    assert split.words(StudyAccepted) == []


def test_an_objection_stops_the_next_round_until_another_admin_approves(several: Several) -> None:
    study = several.propose(rounds=2)
    several.approve(study, "ines", "bea")
    several.group.run_to(lambda: bool(several.group.words(RoundOpened, study, 0)))
    several.admins["ines"].say("study-objected", study=study, reason="not this purpose", assertion=None)
    several.group.rest()
    assert several.group.words(RoundOpened, study, 1) == []
    several.approve(study, "cid")
    several.group.completed(study)


# -- approvals that are none


def of_another_study(several: Several, study: str) -> bytes:
    """The signature under bea's approval of another study."""
    other = several.propose(title="Another study")
    copied = several.admins["bea"].signed("study-approved", study=other, assertion=None)
    return copied.wire.replace(other.encode(), study.encode())


def of_a_consortium_where_an_admin_has_that_name(several: Several, study: str) -> bytes:
    return forged_party("bea", several).signed("study-approved", study=study, assertion=None).wire


def by_a_researcher(several: Several, study: str) -> bytes:
    return several.group.people.lead.signed("study-approved", study=study, assertion=None).wire


def by_a_researcher_in_an_admins_name(several: Several, study: str) -> bytes:
    body = several.admins["bea"].body("study-approved", study=study, assertion=None)
    return sign(body, several.group.people.lead.key).wire


def by_the_hub(several: Several, study: str) -> bytes:
    return several.hub.signed(StudyApproved, study=study, assertion=None).wire


def by_a_silo(several: Several, study: str) -> bytes:
    alpha = several.group.nodes["alpha"]
    body = several.admins["bea"].body("study-approved", study=study, assertion=None)
    return sign(body.model_copy(update={"issuer": "silo:alpha"}), alpha.silo.identity.signing).wire


def with_the_signature_of_the_admins_login(several: Several, study: str) -> bytes:
    """Every login hands the hub a JWT that the admin's own key signed."""
    bea = several.admins["bea"]
    return _signed_instead(several, study, bea.assertion())


def with_the_signature_of_the_admins_proof(several: Several, study: str) -> bytes:
    """And every request one by the key of its process."""
    bea = several.admins["bea"]
    return _signed_instead(several, study, bea.proof("POST", several.hub.url))


def _signed_instead(several: Several, study: str, jwt: str) -> bytes:
    signature = base64.urlsafe_b64decode(jwt.rpartition(".")[2] + "==").hex()
    value = canonical.decode(several.admins["bea"].signed("study-approved", study=study, assertion=None).wire)
    return canonical.encode({**value, "signature": signature})


def with_an_objections_signature(several: Several, study: str) -> bytes:
    bea = several.admins["bea"]
    objected = bea.signed("study-objected", study=study, reason="no", assertion=None)
    value = canonical.decode(bea.signed("study-approved", study=study, assertion=None).wire)
    return canonical.encode({**value, "signature": objected.signature})


FORGED: dict[Callable[[Several, str], bytes], str] = {
    of_another_study: "signature does not verify",
    of_a_consortium_where_an_admin_has_that_name: "signature does not verify",
    by_a_researcher: "study-approved must come from the role admin",
    by_a_researcher_in_an_admins_name: "signature does not verify",
    by_the_hub: "study-approved must come from the role admin",
    by_a_silo: "study-approved must come from the role admin",
    with_the_signature_of_the_admins_login: "signature does not verify",
    with_the_signature_of_the_admins_proof: "signature does not verify",
    with_an_objections_signature: "signature does not verify",
}


@pytest.mark.parametrize("forged", FORGED, ids=lambda made: made.__name__.replace("_", " "))
def test_an_approval_that_no_admin_signed_for_this_study_ends_all_trust(
    several: Several, forged: Callable[[Several, str], bytes]
) -> None:
    study = several.propose()
    several.approve(study, "ines")
    assert several.nothing_left(study)
    several.force(parse(forged(several, study)))
    several.assert_distrusted(FORGED[forged])
    assert several.nothing_left(study)


# -- a contract that is changed


def test_a_contract_in_which_the_hub_changed_a_letter_ends_all_trust(several: Several) -> None:
    split, lead = several.hub.split("alpha"), several.group.people.lead
    proposed = lead.signed("study-proposed", contract=small_contract().model_dump(mode="json"))
    split.record(parse(proposed.wire.replace(b"Predict heart disease", b"Predict heart diseases")))
    alpha = several.group.nodes["alpha"]
    several.group.run_to(lambda: alpha.ended is not None, "alpha")
    assert isinstance(alpha.ended, HubDistrusted)
    assert "signature does not verify" in alpha.notes()
    assert split.said == []


def test_a_contract_that_its_lead_changed_by_a_letter_has_none_of_the_approvals_of_the_first(several: Several) -> None:
    """The lead and the hub together: a second proposal, for which the hub takes the first one's approvals."""
    study = several.propose()
    several.approve(study, "ines", "bea")
    lead = several.group.people.lead
    contract = several.group._contracts[study]
    text = contract.description
    changed = contract.model_copy(update={"description": text[:-1] + ("?" if text[-1] != "?" else "!")})
    lead.say("study-proposed", contract=changed.model_dump(mode="json"))
    other = study_id(changed)
    assert other != study
    several.begin_keying(other)
    several.group.run_to(lambda: several.group.all_halted(other, "keyed while too few admins approve"))
    assert several.nothing_left(other)
    several.group.completed(study)


# -- a revocation that is withheld


def test_a_silo_that_is_not_shown_a_revocation_works_on_for_a_day_at_most(several: Several) -> None:
    """Alpha's log stands still before delta's revocation, of which the others know, so that none of them cosigns it."""
    alpha = several.group.nodes["alpha"]
    several.group.rest()
    split = several.hub.split("alpha")
    members = several.charter.model_dump(mode="json")["members"]
    several.amend("ines", "bea", members=[one for one in members if one["silo"] != "delta"])
    for name in SILOS[1:3]:
        several.group.run_to(lambda name=name: len(several.held_by(name).members) == 3, name)
    assert len(several.held_by("alpha").members) == 4
    study = several.relay_study(split)
    alpha.clock = lambda: datetime.now(UTC) + timedelta(hours=24, minutes=1)
    alpha.restart()
    several.group.rest()
    assert split.words(StudyAccepted) == []
    assert alpha.ended is None
    alpha.clock = lambda: datetime.now(UTC)
    alpha.restart()
    several.group.run_to(lambda: bool(split.words(StudyAccepted)), "alpha")
    assert [said.study for said in split.words(StudyAccepted)] == [study]
