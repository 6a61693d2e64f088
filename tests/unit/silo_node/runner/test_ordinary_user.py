"""A silo that runs as an ordinary user, as it should: its boxes, and what it says where namespaces are forbidden."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import ordinary_user

ROOT = Path(ordinary_user.__file__).parents[1]
PROGRAM = """
import io, json, os, sys
from pathlib import Path
from compose import heart
from silo_node.dataset.catalogue import Catalogue
from silo_node.dataset.registration import register
from silo_node.dataset.schema import parse_schema
from silo_node.errors import SiloError
from silo_node.runner.box.box import Box, Limits
from silo_node.runner.box.running import Outputs, run
from silo_node.runner.level import accepted_level
from silo_node.runner.process import Runner
from silo_node.runner.tasks import ExtractTask

folder, attempts = Path(sys.argv[1]), json.loads(sys.argv[2])
told = {"user": os.getuid()}
try:
    told["level"] = accepted_level()
    with Runner(folder / "silo" / "datasets", limit_s=120, warm=False) as runner:
        catalogue, rows = Catalogue(folder / "silo" / "datasets"), io.BytesIO()
        schema = parse_schema(heart.SCHEMA, "heart")
        asked = register("heart", folder / "heart.csv", schema, "patients", 50.0, 1e-3, 4, 300)
        catalogue.add(asked, runner.check, "2026-11-22T03:29:00Z")
        runner.extract(ExtractTask("heart", ("age",)), rows)
        told["read"] = len(rows.getvalue()) // 8
    box = Box(Limits(memory_mib=2048), readable=(folder / "heart.csv",))
    head = "import os, socket, sys, threading, time\\n"
    told["escaped"] = [
        attempt
        for attempt in attempts
        if run(box, told["level"], ["-c", head + attempt, str(folder), str(os.getpid())], 60, Outputs(0, 0)).told
        != b"tried\\n"
    ]
except SiloError as refusal:
    told["refused"] = str(refusal)
print(json.dumps(told))
"""
# Each ends with status 0 outside, having said that it tried; in the box it says no more.
TRY = "print('tried', flush=True)\ntry:\n    {}\nexcept (OSError, RuntimeError):\n    sys.exit()\nprint('escaped')"
FORKS = "[os.fork() or os._exit(0) for _ in range(3)]"
THREADS = (
    "threading.stack_size(65536); "
    "[threading.Thread(target=time.sleep, args=(3,), daemon=True).start() for _ in range(400)]"
)
ATTEMPTS = {
    "another file of the same user": "open(sys.argv[1] + '/other.csv').read()",
    "the silo's keys": "open(sys.argv[1] + '/silo/identity.key').read()",
    "to change what it may read": "open(sys.argv[1] + '/heart.csv', 'a')",
    "the network": "socket.socket(socket.AF_UNIX)",
    "the agent's environment": "open(f'/proc/{sys.argv[2]}/environ').read()",
    "the agent": "os.kill(int(sys.argv[2]), 0)",
    "a fork bomb": FORKS,
    "a bomb of threads": THREADS,
}


@pytest.fixture
def folder(source: Path) -> Iterator[Path]:
    """Of that user alone. Not pytest's own, which only root may enter."""
    folder = Path(tempfile.mkdtemp(prefix="ordinary-"))
    (folder / "silo").mkdir(mode=0o700)
    for name in ("other.csv", "silo/identity.key"):
        (folder / name).write_text("hunter2")
        (folder / name).chmod(0o600)
    (folder / "heart.csv").write_bytes(source.read_bytes())
    for path in (folder, *folder.rglob("*")):
        if os.geteuid() == 0:
            os.chown(path, ordinary_user.UID, ordinary_user.UID)
    yield folder
    shutil.rmtree(folder)


def told(walls: str, program: str, *arguments: object) -> str:
    words = ordinary_user.command(walls, [sys.executable, "-P", "-c", program, *map(str, arguments)])
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(words, env=environment, cwd="/", capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("walls", "level"), [("open", "bubblewrap"), ("docker", "landlock")])
def test_an_ordinary_users_box_holds_at_the_level_that_is_told(walls: str, level: str, folder: Path) -> None:
    """In ``docker``, what Docker denies to a container by default is denied: no namespace is made there."""
    attempts = {name: TRY.format(attempt) for name, attempt in ATTEMPTS.items()}
    if walls == "open":
        head = "import os, socket, sys, threading, time\n"
        for name in set(attempts) - {"the agent", "the agent's environment"}:  # Ours here belongs to another user.
            assert "escaped" in told(walls, head + attempts[name], folder), name
    found = json.loads(told(walls, PROGRAM, folder, json.dumps(list(attempts.values()))))
    assert found["user"] != 0
    assert (found["level"], found["escaped"]) == (level, [])
    assert found["read"] == len((folder / "heart.csv").read_text().splitlines()) - 1


def test_where_neither_works_an_ordinary_user_reads_nothing(folder: Path) -> None:
    found = json.loads(told("bare", PROGRAM, folder, "[]"))
    assert "no sandbox works on this machine" in found["refused"] and "level" not in found
    assert not (folder / "silo" / "datasets").exists()
