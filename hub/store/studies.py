"""Studies as rows: the contract, and the progress as JSON beside the columns that are searched."""

import json
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from hub.domain.study import FINAL, Study
from hub.errors import Conflict, NotFound
from hub.store.tables import studies, study_parties
from protocol import canonical
from protocol.ids import moment, person_party, silo_party
from protocol.study import StudyContract, contract_value, parse_contract

_PROGRESS = (
    "admins",
    "threshold",
    "approvals",
    "objections",
    "accepted",
    "refused",
    "withdrawn",
    "left",
    "paused",
    "epoch",
    "keyed_at",
    "keying",
    "spoilt",
    "silent",
    "sealed_for",
    "commitments",
    "suspended",
    "reason",
    "release_requested",
    "release_approvals",
    "released",
)
_TUPLES = ("approvals", "accepted", "withdrawn", "paused", "keying", "silent", "sealed_for", "suspended")


_ONE = select(studies).where(studies.c.study == bindparam("study"))
_PARTY = select(study_parties.c.party).where(
    study_parties.c.study == bindparam("study"), study_parties.c.party == bindparam("party")
)


def create(connection: Connection, study: Study) -> None:
    contract = study.contract
    connection.execute(
        insert(studies).values(
            study=study.id,
            stage=study.stage,
            version=1,
            expires_at=int(moment(contract.expires_at).timestamp()),
            proposed_at=study.proposed_at,
            closed_at=None,
            swept=False,
            contract=canonical.encode(contract_value(contract)).decode(),
            progress=_progress(study),
        )
    )
    parties = {silo_party(silo) for silo in contract.silo_names}
    parties |= {person_party(person) for person in (contract.lead, *contract.recipients)}
    connection.execute(insert(study_parties), [{"party": party, "study": study.id} for party in sorted(parties)])


def load(connection: Connection, study: str) -> tuple[Study, int]:
    """The study and its row's version. Raises `NotFound`."""
    row = connection.execute(_ONE, {"study": study}).first()
    if row is None:
        raise NotFound(f"study {study[:64]} isn't known here")
    return _study(row), row.version


def save(connection: Connection, study: Study, version: int) -> None:
    """Replace the row of `version`; raises `Conflict` when somebody else changed it in between."""
    changed = connection.execute(
        update(studies)
        .where(studies.c.study == study.id, studies.c.version == version)
        .values(stage=study.stage, version=version + 1, closed_at=study.closed_at, progress=_progress(study))
    )
    if changed.rowcount != 1:
        raise Conflict("the study changed meanwhile; send it again")


def is_party(connection: Connection, study: str, party: str) -> bool:
    return connection.execute(_PARTY, {"study": study, "party": party}).first() is not None


def of_party(connection: Connection, party: str | None) -> list[Study]:
    """All studies, newest first, or those of one party."""
    query = select(studies).order_by(studies.c.proposed_at.desc(), studies.c.study)
    if party is not None:
        query = query.join(study_parties, study_parties.c.study == studies.c.study).where(
            study_parties.c.party == party
        )
    return [_study(row) for row in connection.execute(query)]


def unfinished(connection: Connection) -> list[str]:
    return list(connection.execute(select(studies.c.study).where(studies.c.stage.not_in(FINAL))).scalars())


def overdue(connection: Connection, now: int) -> list[str]:
    """Studies whose contract has ended while they were not final, and those where a key may be waited for too long."""
    where = (studies.c.stage.not_in(FINAL), (studies.c.expires_at <= now) | (studies.c.stage == "keying"))
    return list(connection.execute(select(studies.c.study).where(*where)).scalars())


def unswept(connection: Connection, closed_before: int) -> list[str]:
    """Final studies whose sums still lie in the blob store."""
    where = (studies.c.closed_at.is_not(None), studies.c.closed_at <= closed_before, studies.c.swept.is_(False))
    return list(connection.execute(select(studies.c.study).where(*where)).scalars())


def mark_swept(connection: Connection, study: str) -> None:
    connection.execute(update(studies).where(studies.c.study == study).values(swept=True))


def _progress(study: Study) -> str:
    return json.dumps({name: _plain(getattr(study, name)) for name in _PROGRESS})


def _plain(value: Any) -> Any:
    return dict(value) if hasattr(value, "items") else value


def _study(row: Any) -> Study:
    progress = json.loads(row.progress)
    for name in _TUPLES:
        progress[name] = tuple(progress[name])
    contract = _contract(row.contract)
    return Study(row.study, contract, row.proposed_at, stage=row.stage, closed_at=row.closed_at, **progress)


@lru_cache(maxsize=64)
def _contract(text: str) -> StudyContract:
    return parse_contract(json.loads(text))
