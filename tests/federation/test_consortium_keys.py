"""Keys of the hub and of hospitals replaced by the documented commands, while the nodes run."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from compose.loopback import ADMIN
from protocol import routes
from protocol.errors import BadSignature
from protocol.round_statements import RoundOpened, SumVerified
from protocol.signing import verify
from protocol.study_statements import StudyClosed
from silo_node.errors import HubRefused
from silo_node.hub_client.identity import Identity
from silo_node.hub_client.key_files import FOLDER, KeyPair, read_pair
from silo_node.hub_client.retry import Backoff
from silo_node.hub_client.session import HubSession
from tests.federation.rig.hospitals import LAST, Hospitals

pytestmark = pytest.mark.slow

AWAY = "va-long-beach"


def replace_keys(hospitals: Hospitals, name: str) -> None:
    """Invited, asked, the six words compared, admitted."""
    group = hospitals.group
    code = group.consortia_json(ADMIN, "admin", "invite", name, "--replace-keys")["code"]
    words = group.silo_json(name, "rotate", "--code", code)["words"]
    group.consortia(ADMIN, "admin", "admit", name, "--words", words)
    hospitals.admin.log.refresh()


@contextmanager
def waiting(hospitals: Hospitals) -> Iterator[None]:
    """A round waits for a hospital that is away; it comes back before the round's time is over."""
    hospitals.stop(AWAY)
    yield
    hospitals.start(AWAY)


def session_of(hospitals: Hospitals, name: str, pair: KeyPair) -> HubSession:
    identity = Identity(name, pair.signing, pair.receiving)
    audience = routes.audience(hospitals.admin.log.charter.log_origin)
    backoff = Backoff(attempts=1, first_s=0, longest_s=0, sleep=lambda _: None, uniform=lambda low, high: low)
    return HubSession(hospitals.group.url, identity, audience, 30, backoff)


def test_a_hospital_changes_its_keys_in_the_middle_of_a_study(hospitals: Hospitals) -> None:
    name = "cleveland"
    old = read_pair(hospitals.group.silo(name), 1, None)
    study = hospitals.study()
    hospitals.await_statement(RoundOpened, study, lambda body: body.round == 1)
    with waiting(hospitals):
        replace_keys(hospitals, name)
    new = read_pair(hospitals.group.silo(name), 2, None)
    assert hospitals.admin.log.charter.member(name).signing_key == new.signing_public
    hospitals.completed(study)
    assert hospitals.same_state_everywhere(study)
    (word,) = (
        record.signed
        for record, body in hospitals.researcher.log.statements(SumVerified)
        if (body.issuer, body.study, body.round) == (f"silo:{name}", study, LAST)
    )
    assert word is not None
    verify(word, new.signing_public)
    with pytest.raises(BadSignature):
        verify(word, old.signing_public)
    with pytest.raises(HubRefused, match="401"):
        session_of(hospitals, name, old).poll(0, 0)
    assert session_of(hospitals, name, new).poll(0, 0).entries
    hospitals.stop(name)
    hospitals.start(name)
    hospitals.completed(hospitals.study())


def test_a_hospital_that_lost_its_keys_goes_on_with_its_ledger_and_journal(hospitals: Hospitals) -> None:
    name = "hungarian"
    hospitals.stop(name)
    before = hospitals.group.silo_json(name, "ledger")
    for path in (hospitals.group.silo(name) / FOLDER).iterdir():
        path.unlink()
    assert "does not exist" in hospitals.refused(["consortia-silo", "ledger", "--folder", hospitals.group.silo(name)])
    replace_keys(hospitals, name)
    hospitals.start(name)
    assert hospitals.group.silo_json(name, "ledger") == before
    study = hospitals.study()
    hospitals.completed(study)
    assert hospitals.charges(name, study)
    assert hospitals.same_state_everywhere(study)


def test_the_hubs_keys_change_in_the_middle_of_a_study_and_the_whole_log_verifies(
    hospitals: Hospitals, tmp_path: Path
) -> None:
    group, card = hospitals.group, tmp_path / "hub.card.json"
    hospitals.admin.log.refresh()
    before = hospitals.admin.log.charter
    study = hospitals.study()
    hospitals.await_statement(RoundOpened, study, lambda body: body.round == 1)
    with waiting(hospitals):
        group.processes.run(["consortia-hub", "rotate", "--folder", group.folder / "hub", "--out", card])
        group.consortia(ADMIN, "admin", "charter", "rotate-hub", card)
    hospitals.completed(study)
    (closed,) = (record for record, body in hospitals.researcher.log.statements(StudyClosed) if body.study == study)
    assert closed.signed is not None
    hospitals.admin.log.refresh()
    after = hospitals.admin.log.charter
    assert (after.hub_key == before.hub_key, after.log_key == before.log_key) == (False, False)
    verify(closed.signed, after.hub_key)
    assert hospitals.log_verifies()
    for name in ("hub.key", "log.key"):
        (group.folder / "hub" / "keys" / name).unlink()
    hospitals.stop("hub")
    hospitals.start("hub")
    hospitals.completed(hospitals.study())
