"""Hostile code in a real box, at each level that this machine offers; each attempt is shown to work outside first.

An attempt is a program that prints ESCAPED if it got what it was after. ``sys.argv`` tells it where that is.
"""

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from silo_node.runner.box.box import MIB, Box, Level, Limits
from silo_node.runner.box.running import Finished, Outputs, run
from silo_node.runner.level import holds

LEVELS: tuple[Level, ...] = ("bubblewrap", "landlock")
OUTPUTS = Outputs(bytes=16 * MIB, entries=100)
LIMITS = Limits(memory_mib=512, scratch_mib=8, file_mib=8)
HEAD = """
import ctypes, mmap, os, resource, signal, socket, subprocess, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
def escaped(): print("ESCAPED", flush=True)
"""
SECRET = "CONSORTIA_TEST_SECRET"


@pytest.fixture(params=LEVELS, scope="module")
def level(request: pytest.FixtureRequest) -> Level:
    found: Level = request.param
    assert holds(found), f"this machine has no {found}"
    return found


@pytest.fixture(scope="module")
def bystander() -> Iterator[int]:
    """A process of this user beside the box, with a secret in its environment, as the agent is."""
    with subprocess.Popen(["/bin/sleep", "600"], env={SECRET: "hunter2"}) as process:
        yield process.pid
        process.kill()


def outside(program: str, *arguments: object) -> str:
    words = [sys.executable, "-c", HEAD + program, *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False).stdout


def inside(level: Level, program: str, *arguments: object, box: Box | None = None) -> Finished:
    words = ["-c", HEAD + program, *map(str, arguments)]
    return run(box or Box(LIMITS), level, words, seconds=60, outputs=OUTPUTS)


def assert_kept(level: Level, program: str, *arguments: object, box: Box | None = None) -> None:
    assert "ESCAPED" in outside(program, *arguments)
    finished = inside(level, program, *arguments, box=box)
    assert b"ESCAPED" not in finished.told
    assert finished.ended == "itself"
    # It got as far as its attempt: an error of the test's own would pass for a wall.
    assert not any(
        word in finished.told for word in (b"SyntaxError", b"NameError", b"ImportError", b"cannot be closed")
    )


READ = "open(sys.argv[1]).read(); escaped()"


@pytest.mark.parametrize("name", ["silo/datasets/other.csv", "silo/keys/signing.key", "silo/ledger/ledger.sqlite"])
def test_other_datasets_keys_and_the_ledger_are_out_of_reach(name: str, level: Level, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    path.write_text("hunter2")
    approved = path.parent / "approved.csv"
    approved.write_text("1")
    box = Box(LIMITS, readable=(approved,))
    assert_kept(level, READ, path, box=box)
    assert b"ESCAPED" in inside(level, READ, approved, box=box).told


def test_a_link_in_an_approved_folder_leads_nowhere(level: Level, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("hunter2")
    images = tmp_path / "images"
    images.mkdir()
    (images / "scan.png").symlink_to(tmp_path / "key")
    assert_kept(level, READ, images / "scan.png", box=Box(LIMITS, readable=(images,)))


@pytest.mark.parametrize(
    "way",
    ["/../key", "/proc/self/root{}", f"/proc/{os.getpid()}/root{{}}"],
    ids=["dots", "own root", "another root"],
)
def test_no_way_round_through_dots_or_proc(way: str, level: Level, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("hunter2")
    (tmp_path / "rows").mkdir()
    path = str(tmp_path / "rows") + way if "{}" not in way else way.format(tmp_path / "key")
    assert_kept(level, READ, path, box=Box(LIMITS, readable=(tmp_path / "rows",)))


def test_what_may_be_read_may_not_be_written(level: Level, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("1")
    box = Box(LIMITS, readable=(tmp_path,))
    for attempt in (
        "open(sys.argv[1], 'a'); escaped()",
        "os.truncate(sys.argv[1], 1); escaped()",
        "os.rename(sys.argv[1], sys.argv[1] + '.'); os.rename(sys.argv[1] + '.', sys.argv[1]); escaped()",
        "os.link(sys.argv[1], sys.argv[1] + '2'); os.unlink(sys.argv[1] + '2'); escaped()",
        "os.mkdir(sys.argv[1] + 'd'); os.rmdir(sys.argv[1] + 'd'); escaped()",
        "os.symlink('x', sys.argv[1] + 's'); os.unlink(sys.argv[1] + 's'); escaped()",
        "os.chmod(sys.argv[1], 0o644); escaped()",
        "os.utime(sys.argv[1]); escaped()",
        "os.setxattr(sys.argv[1], 'user.x', b'x'); escaped()",
    ):
        assert_kept(level, attempt, tmp_path / "rows.csv", box=box)


def test_the_products_own_code_cannot_be_written(level: Level) -> None:
    assert_kept(level, "import silo_node; open(silo_node.__file__, 'r+'); escaped()")


@pytest.mark.parametrize("kind", ["tcp", "udp", "unix", "abstract"])
def test_there_is_no_network(kind: str, level: Level) -> None:
    with tempfile.TemporaryDirectory() as folder:
        family = socket.AF_INET if kind in ("tcp", "udp") else socket.AF_UNIX
        with socket.socket(family, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM) as listening:
            name = f"\0consortia-test-{os.getpid()}" if kind == "abstract" else f"{folder}/socket"
            listening.bind(name if family == socket.AF_UNIX else ("127.0.0.1", 0))
            address = listening.getsockname()
            if kind != "udp":
                listening.listen()
            program = f"s = socket.socket({int(family)}, {int(listening.type)}); s.connect({address!r})\n"
            assert_kept(level, program + "s.send(b'row'); escaped()", box=Box(LIMITS, readable=(Path(folder),)))


@pytest.mark.parametrize(
    "attempt",
    [
        f"assert b'{SECRET}' in open(f'/proc/{{sys.argv[1]}}/environ', 'rb').read(); escaped()",
        "open(f'/proc/{sys.argv[1]}/mem', 'rb'); escaped()",
        "open(f'/proc/{sys.argv[1]}/cmdline').read(); escaped()",
        "os.listdir(f'/proc/{sys.argv[1]}/fd'); escaped()",
        "libc.ptrace(0x4206, int(sys.argv[1]), None, None) == 0 and escaped()",
        "os.kill(int(sys.argv[1]), 0); escaped()",
        "resource.prlimit(int(sys.argv[1]), resource.RLIMIT_NOFILE); escaped()",
        "os.sched_setaffinity(int(sys.argv[1]), os.sched_getaffinity(0)); escaped()",
        "os.setpriority(os.PRIO_PROCESS, int(sys.argv[1]), 0); escaped()",
        "os.pidfd_open(int(sys.argv[1])); escaped()",
    ],
)
def test_other_processes_are_out_of_reach(attempt: str, level: Level, bystander: int) -> None:
    assert_kept(level, attempt, bystander)


def test_the_agents_environment_and_descriptors_are_not_handed_on(
    level: Level, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(SECRET, "hunter2")
    assert_kept(level, f"'{SECRET}' in os.environ and escaped()")
    with (tmp_path / "key").open("w+") as file:
        os.set_inheritable(file.fileno(), True)
        program = f"os.fstat({file.fileno()}); escaped()"
        words = [sys.executable, "-c", HEAD + program]
        handed = subprocess.run(words, capture_output=True, pass_fds=(file.fileno(),), check=False)
        assert b"ESCAPED" in handed.stdout
        assert b"ESCAPED" not in inside(level, program).told


@pytest.mark.parametrize(
    "attempt",
    [
        "os.fork() and escaped()",
        "libc.vfork() and escaped()" if sys.platform != "linux" else "subprocess.run(['/bin/true']); escaped()",
        "os.posix_spawn('/bin/true', ['true'], {}); escaped()",
        "libc.syscall(56 if os.uname().machine == 'x86_64' else 220, 17, 0, 0, 0, 0) > 0 and escaped()",
    ],
)
def test_no_process_is_started_so_that_no_fork_bomb_is(attempt: str, level: Level) -> None:
    assert_kept(level, attempt)


def test_threads_start_as_ever(level: Level) -> None:
    assert b"ESCAPED" in inside(level, "t = threading.Thread(target=escaped); t.start(); t.join()").told


@pytest.mark.parametrize("namespace", [0x10000000, 0x00020000, 0x40000000, 0x20000000])
def test_no_namespace_is_made_inside(namespace: int, level: Level) -> None:
    assert_kept(level, f"libc.unshare({namespace}) == 0 and escaped()")


@pytest.mark.parametrize(
    "call",
    ["keyctl", "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "mount", "setns", "memfd_create", "add_key"],
)
def test_the_kernels_larger_surfaces_are_closed(call: str, level: Level) -> None:
    from silo_node.runner.box.system_calls import numbers

    number = numbers(os.uname().machine)[call]
    assert_kept(level, f"libc.syscall({number}, -1, 0, -1, -1, -1); ctypes.get_errno() == 1 or escaped()")


def test_no_capability_is_left_and_none_can_be_gained(level: Level) -> None:
    look = "lines = dict(l.split(':', 1) for l in open('/proc/self/status') if ':' in l)\n"
    assert_kept(level, look + "int(lines['NoNewPrivs']) == 1 or escaped()")
    assert_kept(level, look + "int(lines['CapBnd'], 16) == int(lines['CapEff'], 16) == 0 or escaped()")


FILL = """
def fill(folder):
    done = 0
    for number in range(8):
        with open(f'{folder}/consortia-fill-{os.getpid()}-{number}', 'wb') as file:
            names.append(file.name)
            done += file.write(bytes(4 << 20))
    return done
names = []
try:
    fill(sys.argv[1]) >= 32 << 20 and escaped()
finally:
    [os.unlink(name) for name in names]
"""


@pytest.mark.parametrize("folder", ["/tmp", "/dev/shm", "/dev", "/", "/usr", "/proc/self/cwd"])
def test_no_disk_is_filled(folder: str, level: Level, tmp_path: Path) -> None:
    assert "ESCAPED" in outside(FILL, tmp_path)
    assert b"ESCAPED" not in inside(level, FILL, folder).told


@pytest.mark.parametrize(
    "hog",
    [
        "bytearray(600 << 20); escaped()",
        "mmap.mmap(-1, 600 << 20); escaped()",
        "[threading.Thread(target=time.sleep, args=(1,)).start() for _ in range(600)]; escaped()",
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 34, 1 << 34)); escaped()",
    ],
)
def test_memory_is_bounded(hog: str, level: Level) -> None:
    assert_kept(level, hog)


@pytest.mark.parametrize(
    "hog",
    [
        "bytearray(600 << 20); escaped()",
        "mmap.mmap(-1, 600 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS); escaped()",
        "mmap.mmap(-1, 600 << 20, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS); escaped()",
        "libc.mmap.restype = ctypes.c_long; z = os.open('/dev/zero', os.O_RDWR)\n"
        "libc.mmap(None, 600 << 20, 3, 1, z, 0) != -1 and escaped()",
    ],
)
def test_room_for_mapped_files_is_no_room_for_memory(hog: str, level: Level, tmp_path: Path) -> None:
    """Such as the matrix's, which the system writes back to the disk."""
    (tmp_path / "rows").touch()
    box = Box(Limits(memory_mib=512, mapped_mib=2048, file_mib=2048), scratch=(tmp_path / "rows",))
    assert_kept(level, hog, box=box)
    mapped = "f = os.open(sys.argv[1], os.O_RDWR); os.ftruncate(f, 1 << 30); mmap.mmap(f, 1 << 30); escaped()"
    assert b"ESCAPED" in inside(level, mapped, tmp_path / "rows", box=box).told


def test_shared_memory_of_others_is_not_seen(level: Level) -> None:
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as shared:
        assert_kept(level, READ, shared.name)
