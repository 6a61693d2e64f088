"""One suite over both databases: the same promises, the same answers."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError

from hub.audit.checkpoint import CheckpointSigner
from hub.audit.events import AuditEvent
from hub.audit.merkle import MerkleTree
from hub.domain.round import Round
from hub.domain.silo import Invitation
from hub.domain.study import Study
from hub.errors import Conflict, NotFound
from hub.services.log import LogReader
from hub.services.news import News
from hub.services.pinned_charter import PinnedCharter
from hub.services.recorder import Recorder
from hub.store import bundles, rounds, silos, spends, studies, tables, tokens
from hub.store import log as log_store
from hub.store.bulk import COPY_FROM_ROWS
from hub.store.database import Database
from hub.store.log import NodeTable, Reader
from hub.store.schema import migrate
from protocol.ids import timestamp
from protocol.signing import Signed, sign
from protocol.study import study_id
from protocol.study_statements import StudyApproved, StudyClosed
from protocol.translog import LogEntry, tree_root
from tests.unit.hub.rig.consortium import Consortium
from tests.unit.hub.rig.contract import contract
from tests.unit.hub.rig.process import HubProcess

NOW = datetime(2026, 11, 22, 3, 29, tzinfo=UTC)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SIGNER = CheckpointSigner("test/log", KEY)


@pytest.fixture
def recorder(database: Database) -> Recorder:
    return Recorder(database, lambda _: SIGNER, News(), lambda: NOW)


def approved(study: str, number: int) -> Signed:
    nonce, at = f"{number:032x}", timestamp(NOW)
    body = StudyApproved(
        type="study-approved",
        issuer="person:ines",
        issued_at=at,
        nonce=nonce,
        journal_head=None,
        study=study,
        assertion=None,
    )
    return sign(body, KEY)


def a_study() -> Study:
    agreed = contract(("ada", "bern", "cork", "dale"))
    return Study(study_id(agreed), agreed, 1000)


def a_round(study: Study) -> Round:
    return Round(study.id, 0, 1, "open", study.contract.silo_names, 1000, 1100, "0" * 64)


def test_the_migrations_make_exactly_the_tables_that_the_code_uses(database: Database, tmp_path: Path) -> None:
    migrate(database, tmp_path)  # a second start changes nothing
    with database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []


def test_many_processes_may_migrate_at_once(url: str, tmp_path: Path) -> None:
    def run(_: int) -> None:
        database = Database(url.replace("postgresql://", "postgresql+psycopg://", 1))
        migrate(database, tmp_path)
        database.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, range(4)))


def test_a_failed_transaction_leaves_no_statement_no_leaf_and_no_checkpoint(recorder: Recorder) -> None:
    with recorder.transaction() as recording:
        recording.record(approved("a" * 64, 1))
    with pytest.raises(Conflict), recorder.transaction() as recording:
        recording.record(approved("a" * 64, 2))
        raise Conflict("no")
    with recorder.database.reading() as connection:
        assert log_store.read_head(connection).size == 1
        assert log_store.statement_index(connection, approved("a" * 64, 2).digest) is None
    with recorder.transaction() as recording:
        assert recording.record(approved("a" * 64, 3)) == 1


def test_writers_at_once_get_distinct_indices_and_one_tree(recorder: Recorder) -> None:
    def write(number: int) -> list[int]:
        with recorder.transaction() as recording:
            return [recording.record(approved("a" * 64, 10 * number + place)) for place in range(3)]

    with ThreadPoolExecutor(8) as pool:
        indices = [index for batch in pool.map(write, range(20)) for index in batch]
    assert sorted(indices) == list(range(60))
    with recorder.database.reading() as connection:
        head = log_store.read_head(connection)
        rows = log_store.all_entries(connection, Reader("person:omar", True, False), 0, 60)
        tree = MerkleTree(NodeTable(connection, {}), 60)
        from protocol.translog import LogEntry

        leaves = [LogEntry.model_validate_json(row.leaf).leaf_hash() for row in rows]
        assert tree.head().root == tree_root(leaves)
        assert SIGNER.read(head.checkpoint).head == tree.head()


@pytest.mark.parametrize("count", [1, 3 * COPY_FROM_ROWS])
def test_a_node_is_never_overwritten(database: Database, count: int) -> None:
    nodes = {(0, place): bytes(32) for place in range(count)}
    with database.writing() as connection:
        NodeTable(connection, {}).put_nodes(nodes)
    with pytest.raises(IntegrityError), database.writing() as connection:
        NodeTable(connection, {}).put_nodes({(1, 0): bytes(32), **nodes})
    with database.reading() as connection:
        assert NodeTable(connection, {}).get_nodes([*nodes, (1, 0)]) == nodes


def test_a_large_batch_is_recorded_as_a_small_one_is(recorder: Recorder) -> None:
    for size in (1, 2 * COPY_FROM_ROWS):
        with recorder.transaction() as recording:
            for number in range(size):
                recording.put(AuditEvent("refusal", f"{size} {number}".encode(), "person:ines", "a" * 64))
    reader = LogReader(recorder.database, PinnedCharter(recorder.database), recorder.news)
    total = 1 + 2 * COPY_FROM_ROWS
    with recorder.database.reading() as connection:
        entries = log_store.all_entries(connection, Reader("person:ines", True, False), 0, total)
        tree = MerkleTree(NodeTable(connection, {}), total)
        leaves = [LogEntry.model_validate_json(entry.leaf).leaf_hash() for entry in entries]
        assert tree.head().root == tree_root(leaves)
    assert (entries[-1].study, entries[-1].subject, reader.size()) == ("a" * 64, None, total)


def test_the_nodes_of_a_proof_are_looked_up_and_never_scanned_for(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'plan.sqlite'}")
    migrate(database, tmp_path)
    with database.reading() as connection:
        statements: list[str] = []
        event.listen(database.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
        NodeTable(connection, {}).get_nodes([(level, 1) for level in range(40)])
        query = statements[-1]
        plan = connection.exec_driver_sql("EXPLAIN QUERY PLAN " + query, (0,) * 80)
        steps = [row[-1] for row in plan if "log_nodes" in row[-1]]
    assert steps and not [step for step in steps if "SCAN" in step]
    database.close()


def test_nodes_of_a_rolled_back_transaction_are_not_remembered(database: Database) -> None:
    cache: dict[tuple[int, int], bytes] = {}
    with pytest.raises(Conflict), database.writing() as connection:
        nodes = NodeTable(connection, cache)
        nodes.put_nodes({(0, 0): b"\x01" * 32})
        assert nodes.get_nodes([(0, 0)]) == {(0, 0): b"\x01" * 32}
        raise Conflict("no")
    with database.reading() as connection:
        assert NodeTable(connection, cache).get_nodes([(0, 0)]) == {}


def test_a_nonce_of_one_issuer_is_stored_once(recorder: Recorder) -> None:
    with recorder.transaction() as recording:
        recording.record(approved("a" * 64, 1))
    with pytest.raises(IntegrityError), recorder.transaction() as recording:
        recording.record(approved("b" * 64, 1))


def test_a_party_reads_its_own_studies_and_nothing_else(recorder: Recorder) -> None:
    study = a_study()
    with recorder.transaction() as recording:
        studies.create(recording.connection, study)
        recording.record(approved(study.id, 1))
        recording.record(approved("b" * 64, 2))
    with recorder.database.reading() as connection:

        def seen(party: str, everything: bool = False) -> list[int]:
            found = log_store.entries_for(connection, Reader(party, everything, False), 0, 2, 10)
            return [entry.index for entry in found]

        assert seen("silo:ada") == [0]
        assert seen("silo:zeta") == []
        assert seen("person:ines") == [0, 1]  # it issued both
        assert seen("person:omar", everything=True) == [0, 1]


def test_a_study_comes_back_as_it_was_stored(database: Database) -> None:
    study = a_study()
    with database.writing() as connection:
        studies.create(connection, study)
    changed = replace(
        study, stage="running", keying=("ada", "bern"), refused={"dale": "rule"}, commitments={"ada": "x"}
    )
    with database.writing() as connection:
        found, version = studies.load(connection, study.id)
        assert found == study
        studies.save(connection, changed, version)
    with database.reading() as connection:
        assert studies.load(connection, study.id) == (changed, version + 1)
        assert [one.id for one in studies.of_party(connection, "silo:ada")] == [study.id]
        assert studies.of_party(connection, "silo:zeta") == []
        with pytest.raises(NotFound):
            studies.load(connection, "f" * 64)


def test_a_transition_from_an_old_version_is_refused(database: Database) -> None:
    study = a_study()
    with database.writing() as connection:
        studies.create(connection, study)
        rounds.save(connection, a_round(study), None)
    with database.writing() as connection:
        studies.save(connection, study, 1)
        rounds.save(connection, a_round(study), 1)
    for save in (lambda c: studies.save(c, study, 1), lambda c: rounds.save(c, a_round(study), 1)):
        with pytest.raises(Conflict), database.writing() as connection:
            save(connection)


def test_a_round_comes_back_as_it_was_stored(database: Database) -> None:
    done = {"dealt": {"ada": "e"}, "ready": {"ada": "d"}, "signed": ("ada", "bern"), "revealed": ("ada",)}
    round = replace(a_round(a_study()), state="served", frozen=("ada",), answers={"ada": None}, **done)
    with database.writing() as connection:
        rounds.save(connection, round, None)
    with database.reading() as connection:
        assert rounds.latest(connection, round.study) == (round, 1)
        assert rounds.states(connection) == {"served": 1}


def test_a_due_round_is_leased_to_one_replica_until_the_lease_ends(database: Database) -> None:
    study = replace(a_study(), stage="running")
    with database.writing() as connection:
        studies.create(connection, study)
        rounds.save(connection, a_round(study), None)
    barrier = threading.Barrier(6)

    def claim(_: int) -> list[str]:
        barrier.wait()
        with database.writing() as connection:
            return rounds.claim_due(connection, 1100, 1130)

    with ThreadPoolExecutor(6) as pool:
        claimed = [study for found in pool.map(claim, range(6)) for study in found]
    assert claimed == [study.id]
    with database.writing() as connection:
        assert rounds.claim_due(connection, 1129, 1160) == []
        assert rounds.claim_due(connection, 1130, 1160) == [study.id]
        rounds.release_lease(connection, study.id)
        assert rounds.due_exists(connection, 1131)
        assert not rounds.due_exists(connection, 1099)


def test_chunks_and_sums_are_counted_by_attempt(database: Database) -> None:
    first = replace(a_round(a_study()), state="frozen", frozen=("ada", "bern"))
    second = replace(first, attempt=2)
    with database.writing() as connection:
        rounds.add_chunk(connection, first, "bern", 0, "b" * 64, 10, 1)
        rounds.add_chunk(connection, first, "ada", 0, "a" * 64, 10, 2)
        rounds.add_chunk(connection, second, "ada", 0, "a" * 64, 10, 3)
        rounds.add_sum(connection, first, "s" * 64, 0, "c" * 64, 7)
    with database.reading() as connection:
        assert rounds.arrivals(connection, first) == {0: ["bern", "ada"]}
        assert rounds.chunks_of(connection, second, "ada") == ["a" * 64]
        assert rounds.sum_digests(connection, second, "s" * 64) == {}
        assert rounds.volume(connection, first, "s" * 64) == (30, 7)
    with pytest.raises(IntegrityError), database.writing() as connection:
        rounds.add_chunk(connection, first, "ada", 0, "f" * 64, 10, 4)


def test_an_invitation_is_used_by_one_of_many_at_once(database: Database) -> None:
    with database.writing() as connection:
        silos.add_invitation(connection, Invitation("i" * 64, "ada", "c" * 64, 5000, None))

    def use(number: int) -> bool:
        with database.writing() as connection:
            return silos.use_invitation(connection, "i" * 64, f"{number:064d}")

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(use, range(6))) == 1


def test_an_assertion_is_used_by_one_of_many_at_once_and_forgotten_when_it_has_run_out(database: Database) -> None:
    def use(_: int) -> bool:
        with database.writing() as connection:
            return tokens.use_assertion(connection, "silo:ada", "jti", 2000)

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(use, range(6))) == 1
    with database.writing() as connection:
        assert tokens.use_assertion(connection, "silo:bern", "jti", 2000)
        tokens.forget(connection, 2000, 0)
        assert not tokens.use_assertion(connection, "silo:ada", "jti", 9000)
        tokens.forget(connection, 2001, 0)
        assert tokens.use_assertion(connection, "silo:ada", "jti", 9000)


def test_a_proof_is_used_by_one_of_many_at_once_at_any_replica(database: Database) -> None:
    other = Database(database.url)

    def use(number: int) -> bool:
        with (database, other)[number % 2].noting() as connection:
            return tokens.use_proof(connection, 7, b"p" * 32)

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(use, range(12))) == 1
    with other.noting() as connection:
        assert tokens.use_proof(connection, 8, b"p" * 32)
        tokens.forget(connection, 0, 8)
        assert tokens.use_proof(connection, 7, b"p" * 32)
        assert not tokens.use_proof(connection, 8, b"p" * 32)
    other.close()


def test_a_round_is_charged_once_and_settled_for_less(database: Database) -> None:
    domain = spends.Domain("ada", "patients", "subject", 0.1, 1e-5, 8)
    with database.writing() as connection:
        spends.add_domain(connection, domain)
        spends.reserve(connection, "ada", "s" * 64, 0, "patients", 10**15)
        spends.reserve(connection, "ada", "s" * 64, 1, "patients", 50)
        spends.settle(connection, "ada", "s" * 64, 0, 7)
    with database.reading() as connection:
        assert spends.domain(connection, "ada", "patients") == domain
        assert spends.totals(connection, "ada", "patients") == spends.Totals(50, 7)
        assert spends.spend(connection, "ada", "s" * 64, 0) == spends.Spend("patients", 10**15, 7)
    with pytest.raises(IntegrityError), database.writing() as connection:
        spends.reserve(connection, "ada", "s" * 64, 0, "patients", 1)


def test_a_bundle_is_found_under_its_digest(database: Database) -> None:
    bundle = bundles.Bundle("s" * 64, "d" * 64, 2**31 + 5, "ada", 1000)
    with database.writing() as connection:
        bundles.add(connection, bundle)
    with database.reading() as connection:
        assert bundles.find(connection, "s" * 64, "d" * 64) == bundle
        assert bundles.find(connection, "s" * 64, "e" * 64) is None


@pytest.mark.slow
def test_a_whole_study_runs_with_two_replicas_of_the_hub(url: str, tmp_path: Path) -> None:
    first = HubProcess(tmp_path / "hub", database_url=url)
    second = HubProcess(tmp_path / "hub", card=first.card, database_url=url)
    try:
        first.start()
        second.start()
        consortium = Consortium(first.url, first.card)
        consortium.gather()
        for silo in consortium.silos[2:]:
            silo.http.base_url = second.url
        study = consortium.start(rounds=2)
        with consortium.running(study):
            status = consortium.finish(study)
        assert (status["state"], status["rounds_closed"], status["suspended"]) == ("completed", 4, [])
        assert "Traceback" not in first.logged()
    finally:
        first.stop()
        second.stop()


def test_an_hourly_checkpoint_is_signed_without_new_leaves(recorder: Recorder) -> None:
    with recorder.transaction() as recording:
        recording.record(approved("a" * 64, 1))
    assert not recorder.refresh(3600)
    later = replace(recorder, clock=lambda: NOW.replace(hour=5))
    assert later.refresh(3600)
    with recorder.database.reading() as connection:
        checkpoint = SIGNER.read(log_store.read_head(connection).checkpoint)
    assert (checkpoint.size, checkpoint.signed_at) == (1, NOW.replace(hour=5))


def test_a_hub_statement_and_a_partys_stand_in_one_batch(recorder: Recorder) -> None:
    at = timestamp(NOW)
    closed = StudyClosed(
        type="study-closed",
        issuer="hub",
        issued_at=at,
        nonce="f" * 32,
        journal_head=None,
        study="a" * 64,
        outcome="aborted",
        reason="A test.",
    )
    with recorder.transaction() as recording:
        assert [recording.record(approved("a" * 64, 1)), recording.record(sign(closed, KEY))] == [0, 1]
    with recorder.database.reading() as connection:
        assert log_store.wire_of(connection, sign(closed, KEY).digest) == sign(closed, KEY).wire
