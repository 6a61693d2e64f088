"""The SQLite ledger against crashes, crowds, full disks and hands that edit its file.

Every child here is a real process; those that are killed are killed with SIGKILL.
"""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from protocol.accounting import cost_of
from protocol.spend import Gaussian
from silo_node.errors import ConfigRefused, LedgerDamaged
from silo_node.ledger.budget import Admitted, Balance, PrivacyDomain, Refused, Rule, Settled
from silo_node.ledger.caps import Cap, Use
from silo_node.ledger.entry import EMPTY, Draft, write
from silo_node.ledger.errors import LedgerUnavailable
from silo_node.ledger.sqlite import SqliteLedger

ROOT = Path(__file__).parents[4]
HEART = PrivacyDomain.at_best_order("heart", "subject", 5.0, 1e-3)
ONE = Gaussian(noise_multiplier=10.0, count=1, unit="subject")
USE = Use("heart", "study", ("grace",))
PRELUDE = """
import sys, resource
from datetime import UTC, datetime
from pathlib import Path
from protocol.spend import Gaussian
from silo_node.ledger.budget import Admitted, Refused
from silo_node.ledger.caps import Use
from silo_node.ledger.sqlite import SqliteLedger
from silo_node.ledger.errors import LedgerUnavailable
one = Gaussian(noise_multiplier=10.0, count=1, unit="subject")
use = Use("heart", "study", ("grace",))
def opened(): return SqliteLedger(Path(sys.argv[1]), lambda: datetime.now(UTC))
def say(word): print(word, flush=True)
"""


def noon() -> datetime:
    return datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger" / "ledger.sqlite"


@pytest.fixture
def opened(path: Path) -> Iterator[Callable[[], SqliteLedger]]:
    made: list[SqliteLedger] = []

    def open_one() -> SqliteLedger:
        made.append(SqliteLedger(path, noon))
        return made[-1]

    open_one().register(HEART)
    yield open_one
    for ledger in made:
        ledger.close()


def child(script: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + script, *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
    )


def spent(ledger: SqliteLedger) -> int:
    balance = ledger.balance("heart")
    assert isinstance(balance, Balance)
    return balance.spent_picos


def reserved(ledger: SqliteLedger) -> list[str]:
    return [entry.charge_id for entry in ledger.history("heart") if entry.kind == "reserve"]


def edit(path: Path, *statements: str) -> None:
    """As someone with the file in hand would, triggers or not."""
    with sqlite3.connect(path) as connection:
        for trigger in ("entry_is_never_changed", "entry_is_never_deleted"):
            connection.execute(f"DROP TRIGGER {trigger}")
        for statement in statements:
            connection.execute(statement)
    connection.close()


def test_a_silo_killed_between_reserve_and_settle_keeps_its_charge_and_charges_once(
    path: Path, opened: Callable[[], SqliteLedger]
) -> None:
    script = "say(opened().reserve('heart', 'study:1', [one], use).cost_picos); sys.stdin.read()"
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", PRELUDE + script, str(path)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert int(process.stdout.readline()) == cost_of([ONE], HEART.order)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        process.communicate()
        assert spent(opened()) == cost_of([ONE], HEART.order)
    assert isinstance(opened().settle("study:1", []), Settled)
    assert spent(opened()) == 0


def test_whatever_was_answered_before_a_kill_is_there_after_it(path: Path, opened: Callable[[], SqliteLedger]) -> None:
    script = """
ledger = opened()
for number in range(10**6):
    if isinstance(ledger.reserve('heart', f'{sys.argv[2]}:{number}', [one], use), Admitted):
        say(f'{sys.argv[2]}:{number}')
    ledger.settle(f'{sys.argv[2]}:{number}', [])
"""
    for life, answers in enumerate((1, 7, 23, 60)):
        process = child(script, path, f"life-{life}")
        assert process.stdout is not None
        said = [process.stdout.readline().strip() for _ in range(answers)]
        process.send_signal(signal.SIGKILL)
        said += process.communicate()[0].split()
        kept = [name for name in reserved(opened()) if name.startswith(f"life-{life}:")]
        # One more may be kept than was said: it was killed after the disk and before the answer.
        assert kept[: len(said)] == said
        assert len(kept) - len(said) in (0, 1)


def test_four_processes_at_once_never_go_over_and_leave_less_than_one_charge(
    path: Path, opened: Callable[[], SqliteLedger]
) -> None:
    script = """
ledger, admitted, number = opened(), 0, 0
while isinstance(ledger.reserve('heart', f'{sys.argv[2]}:{number}', [one], use), Admitted):
    number += 1
say(number)
"""
    processes = [child(script, path, name) for name in "abcd"]
    numbers = [int(process.communicate()[0]) for process in processes]
    fit = HEART.cap_picos // cost_of([ONE], HEART.order)
    assert sum(numbers) == fit
    assert spent(opened()) == fit * cost_of([ONE], HEART.order) <= HEART.cap_picos


def test_four_processes_that_make_files_at_once_make_one_ledger_of_each(tmp_path: Path) -> None:
    script = """
import time
from silo_node.ledger.budget import PrivacyDomain
heart = PrivacyDomain.at_best_order('heart', 'subject', 5.0, 1e-3)
for number in range(30):
    place = Path(sys.argv[1]) / str(number)
    (place / sys.argv[2]).mkdir(parents=True)
    patience = time.monotonic() + 30  # should another child have died
    while len(list(place.glob('ready-*'))) < 4 and time.monotonic() < patience: time.sleep(0)
    assert len(list(place.glob('ready-*'))) == 4
    ledger = SqliteLedger(place / 'ledger' / 'ledger.sqlite', lambda: datetime(2026, 11, 22, tzinfo=UTC))
    say(ledger.register(heart).head.digest)
"""
    processes = [child(script, tmp_path, f"ready-{name}") for name in "abcd"]
    outputs = [process.communicate() for process in processes]
    assert [err for _, err in outputs] == [""] * 4
    assert len({out for out, _ in outputs}) == 1
    assert outputs[0][0].count("\n") == 30


def test_many_threads_share_one_ledger(opened: Callable[[], SqliteLedger]) -> None:
    ledger = opened()
    outcomes: list[Admitted | Refused] = []

    def work(name: str) -> None:
        outcomes.extend(ledger.reserve("heart", f"{name}:{n}", [ONE], USE) for n in range(60))

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    fit = HEART.cap_picos // cost_of([ONE], HEART.order)
    assert sum(isinstance(outcome, Admitted) for outcome in outcomes) == fit
    assert sum(isinstance(outcome, Refused) for outcome in outcomes) == 240 - fit


@pytest.mark.parametrize("room", [30_000, 66_000, 100_000, 250_000])
def test_a_full_disk_leaves_nothing_half_done(path: Path, opened: Callable[[], SqliteLedger], room: int) -> None:
    """RLIMIT_FSIZE makes the kernel refuse to let a file grow, as a full disk does."""
    script = """
ledger, done = opened(), 0
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
def ask():
    name = f'study:{done // 2}'
    return ledger.settle(name, []) if done % 2 else ledger.reserve('heart', name, [one], use)
try:
    while True:
        ask()
        done += 1
except LedgerUnavailable as problem:
    say(problem)
say(done)
say(ledger.head().length)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
say(ask().head.length)
"""
    out, err = child(script, path, room).communicate()
    assert not err
    problem, *numbers = out.splitlines()
    done, length_before, length_after = map(int, numbers)
    assert "can't be read or written" in problem
    # One entry registers the domain; then each answer has exactly one, and the ask that failed none.
    assert (length_before, length_after) == (done + 1, done + 2)
    assert opened().head().length == done + 2
    assert spent(opened()) == (0 if done % 2 else cost_of([ONE], HEART.order))


def test_a_failure_while_an_entry_is_written_charges_nothing_and_a_retry_works(
    opened: Callable[[], SqliteLedger],
) -> None:
    ledger, before = opened(), opened().head()
    ledger._connection.execute("PRAGMA query_only = ON")
    with pytest.raises(LedgerUnavailable, match="readonly"):
        ledger.reserve("heart", "study:1", [ONE], USE)
    assert ledger.head() == opened().head() == before
    ledger._connection.execute("PRAGMA query_only = OFF")
    assert isinstance(ledger.reserve("heart", "study:1", [ONE], USE), Admitted)


def test_a_clock_that_fails_leaves_nothing_half_done(path: Path, opened: Callable[[], SqliteLedger]) -> None:
    def broken() -> datetime:
        raise RuntimeError("no time")

    ledger = SqliteLedger(path, broken)
    with pytest.raises(RuntimeError, match="no time"):
        ledger.reserve("heart", "study:1", [ONE], USE)
    assert spent(ledger) == 0
    assert isinstance(opened().reserve("heart", "study:1", [ONE], USE), Admitted)
    assert spent(ledger) == cost_of([ONE], HEART.order)
    ledger.close()


def test_a_read_only_file_is_refused_on_opening(path: Path, opened: Callable[[], SqliteLedger]) -> None:
    """In a child that gives up root, for whom modes mean nothing, where the tests run as root."""
    script = """
import os
from silo_node.ledger import sqlite
path = Path(sys.argv[1])
if os.getuid() == 0:
    for one in (path.parent, *path.parent.iterdir()): os.chown(one, 65534, 65534)
os.chmod(path, 0o400)
os.chdir(path.parent)
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
try: SqliteLedger(Path('ledger.sqlite'), lambda: datetime.now(UTC))
except LedgerUnavailable as problem: say(problem)
"""
    out, err = child(script, path).communicate()
    assert "can't be read or written (Permission denied)" in out, err


def test_the_files_are_for_their_owner_alone(path: Path, opened: Callable[[], SqliteLedger]) -> None:
    opened().reserve("heart", "study:1", [ONE], USE)
    assert path.parent.stat().st_mode & 0o777 == 0o700
    modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert modes == {"ledger.sqlite": 0o600, "ledger.sqlite-wal": 0o600, "ledger.sqlite-shm": 0o600}


def test_a_file_or_folder_open_to_others_is_refused(path: Path, opened: Callable[[], SqliteLedger]) -> None:
    path.chmod(0o640)
    with pytest.raises(LedgerUnavailable, match="0600"):
        opened()
    path.chmod(0o600)
    path.parent.chmod(0o750)
    with pytest.raises(ConfigRefused, match="0700"):
        opened()


def test_a_link_in_place_of_the_file_is_not_followed(path: Path, opened: Callable[[], SqliteLedger]) -> None:
    link = path.with_name("link.sqlite")
    link.symlink_to(path)
    with pytest.raises(LedgerUnavailable):
        SqliteLedger(link, noon)


def test_every_commit_waits_for_the_disk(opened: Callable[[], SqliteLedger]) -> None:
    connection = opened()._connection
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_the_table_refuses_changes_and_deletions(opened: Callable[[], SqliteLedger]) -> None:
    connection = opened()._connection
    for statement in ("UPDATE entry SET body = x'00'", "DELETE FROM entry", "REPLACE INTO entry VALUES (1, '', x'')"):
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute(statement)


TAMPERINGS = {
    "more noise in a charge": "UPDATE entry SET body = CAST(replace(CAST(body AS TEXT), ':10', ':90') AS BLOB) "
    "WHERE sequence = 3",
    "a larger cap": "UPDATE entry SET body = CAST(replace(CAST(body AS TEXT), 'epsilon\":5', 'epsilon\":9') AS BLOB)",
    "a charge taken out": "DELETE FROM entry WHERE sequence = 3",
    "a charge taken out and the rest moved up": "UPDATE entry SET sequence = 3, digest = digest WHERE sequence = 4",
    "two charges swapped": "UPDATE entry SET body = (SELECT body FROM entry AS other WHERE other.sequence = "
    "7 - entry.sequence) WHERE sequence IN (3, 4)",
    "another digest": "UPDATE entry SET digest = replace(digest, substr(digest, 1, 1), 'x') WHERE sequence = 5",
    "a body of text": "UPDATE entry SET body = CAST(body AS TEXT) WHERE sequence = 3",
    "a body that is a huge number": "UPDATE entry SET body = 1000000000000 WHERE sequence = 3",
    "an entry without content": "UPDATE entry SET body = x'' WHERE sequence = 5",
    "a forged settlement": "INSERT INTO entry SELECT 6, digest, body FROM entry WHERE sequence = 5",
}


@pytest.mark.parametrize("how", TAMPERINGS)
def test_tampering_is_found_on_opening(path: Path, opened: Callable[[], SqliteLedger], how: str) -> None:
    ledger = opened()
    for number in range(3):
        ledger.reserve("heart", f"study:{number}", [ONE], USE)
    ledger.settle("study:0", [ONE])
    moved = "moved up" in how
    edit(path, *(["DELETE FROM entry WHERE sequence = 3"] if moved else []), TAMPERINGS[how])
    with pytest.raises(LedgerDamaged):
        opened()
    with pytest.raises(LedgerDamaged):
        ledger.history("heart")


def test_tampering_with_the_last_entry_is_found_without_opening_anew(
    path: Path, opened: Callable[[], SqliteLedger]
) -> None:
    ledger = opened()
    ledger.reserve("heart", "study:1", [ONE], USE)
    edit(path, "DELETE FROM entry WHERE sequence = 2")
    for ask in (lambda: ledger.balance("heart"), lambda: ledger.reserve("heart", "study:2", [ONE], USE), ledger.head):
        with pytest.raises(LedgerDamaged, match="gone or changed"):
            ask()


def test_a_file_replaced_while_in_use_is_found(path: Path, opened: Callable[[], SqliteLedger]) -> None:
    ledger = opened()
    backup = path.read_bytes()
    ledger.reserve("heart", "study:1", [ONE], USE)
    restored = path.with_name("restored")
    restored.write_bytes(backup)
    restored.replace(path)
    with pytest.raises(LedgerDamaged, match="replaced"):
        ledger.reserve("heart", "study:2", [ONE], USE)


def test_a_restored_backup_opens_but_does_not_extend_the_head_that_was_countersigned(
    path: Path, opened: Callable[[], SqliteLedger]
) -> None:
    ledger = opened()
    before = ledger.head()
    ledger.reserve("heart", "study:1", [ONE], USE)
    countersigned = ledger.head()
    edit(path, "DELETE FROM entry WHERE sequence = 2")
    restored = opened()
    assert restored.extends(before.digest)
    assert not restored.extends(countersigned.digest)
    restored.reserve("heart", "study:other", [ONE], USE)
    assert restored.head().length == countersigned.length
    assert not restored.extends(countersigned.digest)
    assert not restored.extends("")


@pytest.mark.parametrize("content", [b"not a database at all " * 500, b"SQLite format 3\x00" + b"\xff" * 8000])
def test_a_file_that_is_no_ledger_is_refused(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=0o700)
    path.touch(mode=0o600)
    path.write_bytes(content)
    with pytest.raises((LedgerDamaged, LedgerUnavailable)):
        SqliteLedger(path, noon)
    assert path.read_bytes() == content


def test_a_ledger_of_another_format_is_refused(path: Path, opened: Callable[[], SqliteLedger]) -> None:
    opened()._connection.execute("PRAGMA user_version = 9")
    with pytest.raises(LedgerUnavailable, match="format 9"):
        opened()


def test_a_closed_ledger_answers_nothing(opened: Callable[[], SqliteLedger]) -> None:
    ledger = opened()
    ledger.close()
    with pytest.raises(LedgerUnavailable):
        ledger.reserve("heart", "study:1", [ONE], USE)


def test_no_message_tells_where_the_file_lies(path: Path, opened: Callable[[], SqliteLedger]) -> None:
    ledger = opened()
    for file in path.parent.iterdir():
        os.unlink(file)
    with pytest.raises(LedgerUnavailable) as problem:
        ledger.balance("heart")
    assert str(path.parent) not in str(problem.value)


def test_a_ledger_of_format_1_opens_as_it_is_and_its_charges_count_against_every_cap(path: Path) -> None:
    """As the version before caps wrote it: its charges name no dataset and no recipient."""
    drafts = (
        Draft("domain", HEART),
        Draft("reserve", HEART, "study:1", (ONE,)),
        Draft("settle", HEART, "study:1", (ONE,)),
    )
    SqliteLedger(path, noon).close()
    head, bodies = EMPTY, []
    with closing(sqlite3.connect(path)) as connection, connection:
        for draft in drafts:
            entry = write(head, draft, "2026-01-01T00:00:00Z")
            connection.execute("INSERT INTO entry VALUES (?, ?, ?)", (entry.head.length, entry.head.digest, entry.body))
            bodies.append(entry.body)
            head = entry.head
        connection.execute("PRAGMA user_version = 1")
    assert not any(b'"use"' in body for body in bodies)
    cost = cost_of([ONE], HEART.order)
    ledger = SqliteLedger(path, noon)
    assert (ledger.head(), spent(ledger)) == (head, cost)
    ledger.cap(Cap("heart", "recipient", "grace", cost))
    ledger.cap(Cap("heart", "dataset", "mri", cost))
    for use in (Use("ecg", "new", ("grace",)), Use("mri", "new", ("ruth",))):
        refused = ledger.reserve("heart", "new:1", [ONE], use)
        assert isinstance(refused, Refused) and refused.rule is Rule.WITHIN_CAP
    assert isinstance(ledger.reserve("heart", "new:1", [ONE], Use("ecg", "new", ("ruth",))), Admitted)
    ledger.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)
        kept = [body for (body,) in connection.execute("SELECT body FROM entry ORDER BY sequence LIMIT 3")]
    assert kept == bodies
