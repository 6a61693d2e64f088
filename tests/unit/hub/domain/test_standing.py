"""When a study stands in the hub's own books: the same answers as ``protocol.record`` gives to everybody else."""

import itertools

import pytest

from hub.domain.study import Study, apply, under
from hub.errors import Conflict
from protocol.signing import Signed, sign
from protocol.study import study_id
from protocol.study_statements import StudyApproved, StudyObjected
from tests.sample_study import NOW, SILOS, Consortium, consortium, contract, party

GROUP = consortium()
CHARTER = GROUP.charter(4)
NONCES = itertools.count()


def a_study() -> Study:
    return Study(study_id(contract()), contract(), 1000, CHARTER.admin_keys, CHARTER.threshold)


def said(objection: str | None = None) -> Signed:
    head = {"issuer": "person:ada", "issued_at": NOW, "nonce": f"{next(NONCES):032x}", "journal_head": None}
    about = {"study": study_id(contract()), "assertion": None}
    if objection is None:
        return sign(StudyApproved(type="study-approved", **head, **about), GROUP.admin.signing)  # type: ignore[arg-type]
    body = StudyObjected(type="study-objected", reason=objection, **head, **about)  # type: ignore[arg-type]
    return sign(body, GROUP.admin.signing)


def test_an_objection_takes_an_approval_back_and_a_new_approval_the_objection() -> None:
    approved = apply(a_study(), said(), 2000)
    assert approved.stage == "approved"
    with pytest.raises(Conflict, match="has approved before"):
        apply(approved, said(), 2000)
    objected = apply(approved, said("the purpose has changed"), 2000)
    assert (objected.stage, dict(objected.objections)) == ("proposed", {"person:ada": "the purpose has changed"})
    again = apply(objected, said(), 2000)
    assert (again.stage, dict(again.objections)) == ("approved", {})


def test_an_approval_ends_with_the_keys_that_made_it() -> None:
    approved = apply(a_study(), said(), 2000)
    assert under(approved, GROUP.charter(4, CHARTER)).stage == "approved"
    other = Consortium(party("ada"), GROUP.researcher, GROUP.silos, GROUP.hub, GROUP.log)
    changed = under(approved, other.charter(4, CHARTER))
    assert (changed.stage, changed.approvals) == ("proposed", ())
    assert apply(changed, said(), 2000).stage == "approved"


def test_a_silo_that_the_charter_names_no_more_is_out_and_not_waited_for() -> None:
    left = under(apply(a_study(), said(), 2000), GROUP.charter(3, CHARTER))
    assert left.suspended == (SILOS[3],) and left.stage == "approved"
