"""The process that reads rows: what it is given, what comes back, and what happens when either end dies."""

import errno
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from protocol.rounds import round_events
from protocol.study import StudyContract, study_id
from silo_node.dataset.catalogue import Catalogue
from silo_node.dataset.registration import Registration
from silo_node.errors import DatasetRefused, RunnerFailed
from silo_node.runner import process, spawning
from silo_node.runner.messages import MAGIC, Payload
from silo_node.runner.process import Runner
from silo_node.runner.tasks import Outcome, RoundTask, task_of_round, values_of
from tests.whole_states import initial_state, state_bytes

ROOT = Path(process.__file__).resolve().parents[2]


def task(contract: StudyContract, index: int = 1) -> RoundTask:
    state = state_bytes(initial_state(contract, study_id(contract)))
    return task_of_round(contract, "cleveland", index, Payload.of(state))


def run(runner: Runner, task: RoundTask) -> tuple[Outcome, np.ndarray]:
    file = io.BytesIO()
    outcome = runner.run(task, file)
    return outcome, np.frombuffer(file.getvalue(), "<f8")


def gone(pid: int, within_s: float = 60) -> bool:
    """Whether a process that isn't ours to wait for ends; a zombie counts as ended."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("index", range(4))
def test_each_round_of_a_study_comes_back_as_a_vector_and_what_to_settle(
    index: int, runner: Runner, contract: StudyContract
) -> None:
    asked = task(contract, index)
    outcome, vector = run(runner, asked)
    assert vector.shape == (values_of(asked),)
    assert np.isfinite(vector).all() and vector.any()
    assert outcome.events_run == round_events(contract, "cleveland", index)


def test_two_runs_have_different_noise(runner: Runner, contract: StudyContract) -> None:
    assert not np.array_equal(run(runner, task(contract))[1], run(runner, task(contract))[1])


def test_a_check_by_the_process_is_the_check_itself(
    runner: Runner, catalogue: Catalogue, registration: Registration
) -> None:
    assert runner.check(registration) == catalogue.check(registration)


def test_a_refusal_comes_through_with_its_text(runner: Runner, elsewhere: StudyContract) -> None:
    with pytest.raises(DatasetRefused, match="no dataset lungs is registered"):
        run(runner, task(elsewhere))


def test_a_refused_source_is_told_without_its_values(
    runner: Runner, registration: Registration, tmp_path: Path
) -> None:
    text = Path(registration.source).read_text().splitlines()
    text[3] = text[3].replace(",", ",hunter2", 1)
    (tmp_path / "bad.csv").write_text("\n".join(text))
    with pytest.raises(DatasetRefused, match="column age has a text where a number belongs in row 3") as refusal:
        runner.check(registration.model_copy(update={"source": str(tmp_path / "bad.csv")}))
    assert "hunter2" not in str(refusal.value)


def test_a_state_that_is_none_fails_and_the_process_goes_on(runner: Runner, contract: StudyContract) -> None:
    run(runner, task(contract))
    before = runner.process_id
    with pytest.raises(RunnerFailed, match="study state"):
        run(runner, task_of_round(contract, "cleveland", 1, Payload.of(b"hunter2")))
    run(runner, task(contract))
    assert runner.process_id == before


def test_the_process_is_kept_between_tasks_and_started_by_the_first(fresh: Runner, registration: Registration) -> None:
    assert fresh.process_id is None
    fresh.check(registration)
    first = fresh.process_id
    fresh.check(registration)
    assert first is not None
    assert fresh.process_id == first
    fresh.close()
    assert fresh.process_id is None
    assert gone(first)
    fresh.check(registration)


def test_a_killed_process_fails_its_task_and_the_next_task_starts_another(
    fresh: Runner, contract: StudyContract, long_contract: StudyContract
) -> None:
    run(fresh, task(contract))
    first = fresh.process_id
    assert first is not None
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run, fresh, task(long_contract))
        time.sleep(1.0)
        os.kill(first, signal.SIGKILL)
        with pytest.raises(RunnerFailed, match="was killed by signal 9"):
            running.result(60)
    assert run(fresh, task(contract))[0].steps_run == 5
    assert fresh.process_id != first


def test_a_process_that_died_between_tasks_is_not_missed(fresh: Runner, contract: StudyContract) -> None:
    run(fresh, task(contract))
    first = fresh.process_id
    assert first is not None
    os.kill(first, signal.SIGKILL)
    assert gone(first)
    while fresh.process_id is not None:
        time.sleep(0.01)
    assert run(fresh, task(contract))[0].steps_run == 5


def test_a_task_over_its_limit_is_ended(catalogue: Catalogue, long_contract: StudyContract) -> None:
    with Runner(catalogue.folder, limit_s=0.5) as runner:
        runner.start()
        first = runner.process_id
        with pytest.raises(RunnerFailed, match=r"took longer than 0\.5 s"):
            run(runner, task(long_contract))
        assert runner.process_id is None
        assert first is not None
        assert gone(first)


def test_closing_ends_a_task_that_runs_in_another_thread(fresh: Runner, long_contract: StudyContract) -> None:
    fresh.start()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run, fresh, task(long_contract))
        time.sleep(0.5)
        fresh.close()
        with pytest.raises(RunnerFailed):
            running.result(60)


def test_a_process_outlives_the_thread_that_asked_for_it(fresh: Runner, registration: Registration) -> None:
    """The parent-death signal is sent when a thread ends: it must not be a worker's."""
    asking = threading.Thread(target=fresh.check, args=(registration,))
    asking.start()
    asking.join()
    first = fresh.process_id
    time.sleep(0.2)
    fresh.check(registration)
    assert fresh.process_id == first is not None


AGENT = """
import sys, time
from pathlib import Path
from silo_node.runner.process import Runner
from silo_node.runner.tasks import task_from
from silo_node.runner.messages import Frame, Payload
runner = Runner(Path(sys.argv[1]), limit_s=600)
runner.start()
print(runner.process_id, flush=True)
if sys.argv[2] == "idle":
    time.sleep(600)
task = task_from(Frame(eval(sys.stdin.readline()), Payload.of(bytes.fromhex(sys.stdin.readline()))))
print("asked", flush=True)
runner.run(task, open("/dev/null", "wb"))
"""


@pytest.mark.parametrize(("moment", "wait_s"), [("idle", 0.0), ("idle", 5.0), ("task", 6.0)])
def test_when_the_agent_is_killed_its_process_goes_too(
    moment: str, wait_s: float, catalogue: Catalogue, long_contract: StudyContract
) -> None:
    """At once, between tasks, and in the middle of a task's training."""
    from silo_node.runner.tasks import task_frame

    frame = task_frame(task(long_contract))
    agent = subprocess.Popen(
        [sys.executable, "-c", AGENT, str(catalogue.folder), moment],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert agent.stdin is not None and agent.stdout is not None
    with agent:
        pid = int(agent.stdout.readline())
        if moment == "task":
            agent.stdin.write(f"{frame.header!r}\n{frame.payload.whole().hex()}\n")
            agent.stdin.flush()
            assert agent.stdout.readline() == "asked\n"
        time.sleep(wait_s)
        assert agent.poll() is None
        assert not gone(pid, within_s=0.1)
        agent.kill()
        agent.communicate()
    assert gone(pid)


def test_the_agents_side_loads_neither_torch_nor_polars(catalogue: Catalogue) -> None:
    program = (
        "import sys; import silo_node.runner.process, silo_node.runner.tasks; "
        "heavy = {'torch', 'opacus', 'polars', 'pandas', 'scipy', 'sklearn'}; print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# -- impostors: what the agent does with whatever stands at the other end

Impostor = Callable[[str], None]


@pytest.fixture
def impostor(monkeypatch: pytest.MonkeyPatch) -> Impostor:
    """Puts a Python program in the place of the process that reads rows."""

    def place(program: str) -> None:
        head = "import json, os, sys, time\nout = sys.stdout.buffer\n"
        ready = 'h = b\'{"import_s":0,"reply":"ready"}\'\n'
        ready += "READY = b'CSR1' + len(h).to_bytes(4, 'big') + bytes(8) + h\n"
        monkeypatch.setattr(spawning, "_PROGRAM", ("-I", "-c", head + ready + program + "\nout.flush()\n"))

    return place


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("out.write(b'Traceback hunter2' * 9)", "not a frame"),
        ("out.write(READY + b'Traceback hunter2' * 9); out.flush(); time.sleep(600)", "not a frame"),
        (f"out.write(READY + {MAGIC!r} + bytes(3) + b'\\x02' + b'\\xff' * 8)", "a payload of"),
        (f"out.write(READY + {MAGIC!r} + b'\\xff' * 4 + bytes(8))", "a header of"),
        ("out.write(READY + READY)", "a frame with other fields"),
        ("out.write(READY)", "ended with exit status 0"),
        ("sys.exit(3)", "ended with exit status 3"),
        ("os.kill(os.getpid(), 11)", "was killed by signal 11"),
    ],
)
def test_what_is_no_answer_fails_and_ends_the_process(
    program: str, said: str, impostor: Impostor, fresh: Runner, registration: Registration
) -> None:
    impostor(program)
    with pytest.raises(RunnerFailed) as failure:
        fresh.check(registration)
    assert said in str(failure.value)
    assert "hunter2" not in str(failure.value)
    assert fresh.process_id is None


OUTCOME = 'h = b\'{"engine":"engine=hooks","left_out":0,"reply":"outcome","steps_run":5}\'\n'


@pytest.mark.parametrize(
    ("sent", "size", "said"),
    [
        ("bytes(8)", "8 * VALUES - 8", "a vector of"),
        ("bytes(8)", "8 * VALUES + 8", "a payload of"),
        ("bytes(8 * VALUES - 8) + b'\\xff' * 8", "8 * VALUES", "an outcome that is not finite"),
        ("bytes(8 * VALUES - 1)", "8 * VALUES", "ended with exit status 0"),
    ],
)
def test_of_an_outcome_that_is_none_the_agent_is_told_and_the_process_is_ended(
    sent: str, size: str, said: str, impostor: Impostor, fresh: Runner, contract: StudyContract
) -> None:
    asked = task(contract)
    program = f"VALUES = {values_of(asked)}\nout.write(READY)\n{OUTCOME}"
    program += f"out.write(b'CSR1' + len(h).to_bytes(4, 'big') + ({size}).to_bytes(8, 'big') + h + {sent})\n"
    impostor(program + "out.flush()\nsys.stdin.buffer.read(100)")
    with pytest.raises(RunnerFailed) as failure:
        run(fresh, asked)
    assert said in str(failure.value)
    assert fresh.process_id is None


def test_a_refusal_that_carries_a_payload_is_no_answer(
    impostor: Impostor, fresh: Runner, contract: StudyContract
) -> None:
    """What it carried would be taken for the next answer."""
    header = b'{"reason":"no","reply":"refused"}'
    impostor(
        f"out.write(READY + {MAGIC!r} + bytes([0, 0, 0, {len(header)}]) + bytes(7) + b'\\x08' + {header!r} + READY)"
    )
    with pytest.raises(RunnerFailed, match="a refusal with a payload"):
        run(fresh, task(contract))
    assert fresh.process_id is None


def test_a_full_disk_in_the_middle_of_a_vector_ends_the_process_and_nothing_is_taken_for_an_answer(
    fresh: Runner, contract: StudyContract
) -> None:
    class Full(io.BytesIO):
        def write(self, _: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        fresh.run(task(contract), Full())
    assert fresh.process_id is None
    assert run(fresh, task(contract))[0].steps_run == 5


def test_a_program_that_cannot_be_started_is_told(
    fresh: Runner, registration: Registration, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(spawning, "command", lambda *_: [str(tmp_path / "none")])
    with pytest.raises(RunnerFailed, match="cannot be started: No such file"):
        fresh.check(registration)


def test_no_secret_of_the_agents_reaches_the_process(
    impostor: Impostor, fresh: Runner, registration: Registration, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Neither its environment nor a file it has open, even one marked as inheritable."""
    monkeypatch.setenv("CONSORTIA_PASSPHRASE", "hunter2")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    secret = os.open(tmp_path / "identity.key", os.O_CREAT | os.O_RDWR, 0o600)
    os.set_inheritable(secret, True)
    # The listing's own descriptor is closed again by the time that its name is looked up.
    names = "[fd for fd in os.listdir('/proc/self/fd') if os.path.lexists('/proc/self/fd/' + fd)]"
    files = f"{{fd: os.readlink('/proc/self/fd/' + fd) for fd in {names}}}"
    # It can write nowhere: what it saw comes back as a refusal.
    program = f"seen = json.dumps([dict(os.environ), {files}, os.getcwd()])\n"
    program += "h = json.dumps({'reason': seen, 'reply': 'refused'}, separators=(',', ':')).encode()\n"
    program += f"out.write(READY + {MAGIC!r} + len(h).to_bytes(4, 'big') + bytes(8) + h); out.flush(); time.sleep(600)"
    impostor(program)
    with pytest.raises(DatasetRefused) as refusal:
        fresh.check(registration)
    os.close(secret)
    environment, descriptors, folder = json.loads(str(refusal.value))
    assert "hunter2" not in str(environment)
    assert set(environment) <= {
        "PATH",
        "HOME",
        "PWD",
        "LANG",
        "PYTHONPATH",
        "PYTHONDONTWRITEBYTECODE",
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "POLARS_MAX_THREADS",
        "CONSORTIA_SCRATCH",
    }
    assert "identity.key" not in str(descriptors)
    assert descriptors["0"].startswith("pipe:") and descriptors["1"].startswith("pipe:")
    assert descriptors["2"] == "/dev/null"
    assert folder == "/"
