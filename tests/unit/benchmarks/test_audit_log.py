"""The long log of the benchmark is an honest one: it verifies, and holds what a real one holds."""

from pathlib import Path

import pytest

from benchmarks import audit_log
from client.audit.verify import verify_file


def test_the_benchmarks_log_verifies_and_has_as_many_leaves_as_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_log, "ROUNDS", 5)
    monkeypatch.setattr(audit_log, "LEAVES_OF_A_STUDY", 13 + 32 * 7)
    log = tmp_path / "log.jsonl"
    founding, leaves = audit_log.write_log(log, 400, processes=1)
    audited = verify_file(log, founding)
    assert audited.size == leaves >= 400
    assert [study.closed is not None for study in audited.studies.values()] == [True, True]
    assert all(len(study.approved_by) == study.charter.threshold == 2 for study in audited.studies.values())
    assert {"spend-reserved", "upload-complete", "sum-verified", "charter"} <= set(audited.kinds)
