"""Reviewed code in its box, for real: what it may use, and what it can't get at."""

from pathlib import Path

import numpy as np
import pytest

from protocol.errors import Malformed
from protocol.job_outputs import MAX_BYTES, read_outputs
from silo_node.errors import RunnerFailed
from silo_node.runner.analysis_box import MAX_DOCUMENT_BYTES, Analysis, AnalysisBox


@pytest.fixture
def run(tmp_path: Path):
    def run(code: str, seconds: int = 30):
        bundle = tmp_path / "bundle"
        bundle.mkdir(exist_ok=True)
        (bundle / "analysis.py").write_text(code)
        np.array([[30.0, 1.0], [70.0, 0.0]]).astype("<f8").tofile(tmp_path / "rows")
        return AnalysisBox().run(Analysis(bundle, tmp_path / "rows", ("age", "sex"), seconds, 4096))

    return run


def test_an_analysis_sees_its_rows_and_returns_what_it_wrote(run):
    ended = run("def main(rows, out):\n    print('hello')\n    (out / 'n.txt').write_text(str(rows['age'].mean()))\n")
    assert ended.outcome == "finished"
    assert read_outputs(ended.document).contents == {"n.txt": b"50.0", "printed.txt": b"hello\n"}
    assert "50.0" not in repr(ended)


def test_a_silo_s_folder_may_be_named_from_where_the_command_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("bundle").mkdir()
    Path("bundle/analysis.py").write_text("def main(rows, out):\n    print(rows['age'][0])\n")
    np.array([[30.0]]).astype("<f8").tofile("rows")
    ended = AnalysisBox().run(Analysis(Path("bundle"), Path("rows"), ("age",), 30, 4096))
    assert (ended.outcome, read_outputs(ended.document).contents) == ("finished", {"printed.txt": b"30.0\n"})


ESCAPES = """
import os, pathlib, socket
def main(rows, out):
    found = []
    def attempt(name, act):
        try:
            found.append(f"{name}: {act()}")
        except Exception as error:
            pass
    attempt("network", lambda: socket.create_connection(("127.0.0.1", PORT), 2))
    attempt("outside", lambda: pathlib.Path("SECRET").read_text())
    attempt("shadow", lambda: pathlib.Path("/etc/shadow").read_text())
    attempt("code", lambda: pathlib.Path(__file__).write_text("x"))
    attempt("rows", lambda: open("ROWS", "ab").write(b"x"))
    attempt("home", lambda: os.listdir("/root") + os.listdir("/home"))
    attempt("processes", lambda: [p for p in os.listdir("/proc") if p.isdigit() and int(p) > 20][0])
    attempt("environment", lambda: os.environ["CONSORTIA_CANARY"])
    attempt("parent", lambda: os.kill(PARENT, 9))
    attempt("fork", os.fork)
    (out / "found").write_text("\\n".join(found))
"""


def test_code_in_the_box_reaches_no_network_no_file_no_process_and_no_secret(run, tmp_path, monkeypatch):
    import os
    import socket

    secret = tmp_path / "signing.key"
    secret.write_text("the key")
    monkeypatch.setenv("CONSORTIA_CANARY", "a passphrase")
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = ESCAPES.replace("PORT", str(server.getsockname()[1])).replace("SECRET", str(secret))
        ended = run(code.replace("ROWS", str(tmp_path / "rows")).replace("PARENT", str(os.getpid())))
    assert read_outputs(ended.document).contents == {"found": b""}


def test_what_is_late_is_ended(run):
    ended = run("import time\ndef main(rows, out):\n    time.sleep(600)\n", seconds=2)
    assert (ended.outcome, ended.document) == ("timed-out", b"")


def test_a_failure_is_told_to_the_owner_in_the_outputs_only(run):
    ended = run("def main(rows, out):\n    raise ValueError(rows['age'][1])\n")
    assert ended.outcome == "failed"
    assert b"ValueError: 70.0" in read_outputs(ended.document).contents["printed.txt"]


@pytest.mark.parametrize(
    "body",
    [
        "(out / 'x').symlink_to('/job/rows')",
        "__import__('os').mkfifo(out / 'x')",
        f"(out / 'x').write_bytes(bytes({MAX_BYTES + 1}))",
        "[(out / f'{n}').touch() for n in range(40)]",
        "(out / 'a\\u202eb').touch()",
    ],
    ids=["link", "pipe", "too large", "too many", "hidden name"],
)
def test_outputs_that_are_no_small_plain_files_are_refused_in_the_box(run, body):
    ended = run(f"def main(rows, out):\n    {body}\n")
    assert ended.outcome == "failed"
    assert list(read_outputs(ended.document).contents) == ["printed.txt"]


def test_a_box_that_floods_its_pipe_is_cut_off_and_its_bytes_are_no_outputs(run):
    flood = "import os\ndef main(rows, out):\n    while True:\n        for fd in range(3, 20):\n            try: os.write(fd, b'x' * 65536)\n            except OSError: pass\n"  # noqa: E501
    ended = run(flood)
    assert (ended.outcome, len(ended.document)) == ("failed", MAX_DOCUMENT_BYTES + 1)
    with pytest.raises(Malformed):
        read_outputs(ended.document)


def test_a_full_scratch_and_too_much_memory_end_the_analysis_and_nothing_else(run):
    for body in ("(out / 'x').write_bytes(bytes(2**27))", "bytearray(2**33)"):
        assert run(f"def main(rows, out):\n    {body}\n").outcome == "failed"


@pytest.mark.parametrize("level", ["landlock", "none"])
def test_without_namespaces_nothing_runs(level):
    with pytest.raises(RunnerFailed, match="only under bubblewrap"):
        AnalysisBox(lambda: level)
