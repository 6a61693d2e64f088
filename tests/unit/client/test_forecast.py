"""What accuracy to expect at which epsilon: whole studies by the real command, before anyone is asked."""

import json
import os
import xml.etree.ElementTree as ElementTree
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from client import forecast as forecasting
from client import simulating
from client.catalogue import datasets
from client.errors import TrialFailed, UsageRefused
from client.federation import Federation, Study
from client.forecast import Asked, Forecast, forecast
from client.registrations import by_members
from client.simulated_rows import rows_dealt_out
from protocol.draft import Draft, read_draft
from protocol.mock import mock_rows
from protocol.training_study import TrainingContract
from tests.unit.client.conftest import World, make_contract
from tests.unit.client.test_command import Command, command  # noqa: F401  # the fixture
from tests.unit.client.test_trial import commanded, draft  # noqa: F401  # the fixture


@pytest.fixture
def public(world: World, grace_key: Path, tmp_path: Path) -> Path:
    """400 rows in which the disease follows from three findings, most of the time."""
    columns = datasets(world.connect(grace_key))["heart"]["cleveland"].columns
    lines = "".join(mock_rows("elsewhere", "heart", columns, 400).csv()).splitlines()
    head, rows = lines[0].split(","), [line.split(",") for line in lines[1:]]
    signal = [head.index(name) for name in ("exang", "sex_male", "cp_asymptomatic")]
    target = head.index("heart_disease")
    for row in rows:
        row[target] = str(int(sum(float(row[at]) for at in signal) >= 2))
    path = tmp_path / "public.csv"
    path.write_text("\n".join([",".join(head), *map(",".join, rows)]) + "\n")
    return path


def test_a_forecast_on_public_rows_tells_accuracy_against_epsilon_and_nothing_is_said_to_the_hub(
    command: Command,  # noqa: F811
    world: World,
    grace_key: Path,
    draft: Path,  # noqa: F811
    public: Path,
    tmp_path: Path,
) -> None:
    before, plot = len(world.leaves), tmp_path / "plot.svg"
    asked = ("--data", str(public), "--epsilons", "0.5,10", "--repeats", "2", "--plot", str(plot))
    code, out, _ = command("study", "simulate", str(draft), *asked, "--json", "--key", str(grace_key))
    told = json.loads(out)
    assert (code, told["whole"], told["mock"], len(world.leaves)) == (0, True, False, before)
    assert [point["epsilon"] for point in told["points"]] == [0.5, 10.0, None]
    low, high, none = told["points"]
    assert [len(point["runs"]) for point in told["points"]] == [2, 2, 2]
    # Two studies at epsilon 0.5 may do as well as none without noise, by chance: the bound leaves room for that.
    assert low["accuracy"] < none["accuracy"] + 0.05 and told["commonest"] < none["accuracy"]
    # The whole study is charged: normalisation, training and evaluation, at the epsilon that is asked for.
    assert (low["epsilon_charged"], high["epsilon_charged"]) == (
        pytest.approx(0.5, rel=0.02),
        pytest.approx(10.0, rel=0.02),
    )
    assert none["epsilon_charged"] is None and none["standard_error"] is not None
    assert sum(told["rows"].values()) <= 400 and told["rows"]["cleveland"] == 400 * 303 // 740
    marks = ElementTree.fromstring(plot.read_text()).findall(".//{http://www.w3.org/2000/svg}circle")  # noqa: S314  # ours
    assert len(marks) == 2


def test_on_mock_rows_it_is_said_that_the_accuracy_says_nothing(
    command: Command,  # noqa: F811
    grace_key: Path,
    draft: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    faked(monkeypatch, tmp_path)
    code, out, _ = command(
        "study", "simulate", str(draft), "--epsilons", "5", "--repeats", "1", "--rows", "60", "--key", str(grace_key)
    )
    assert code == 0
    assert "FORECAST ON MOCK ROWS: nothing was sent, nobody was asked, nothing was spent" in out
    words = " ".join(out.split())
    assert "hold none of the real data's signal" in words and "give --data" in words
    assert max(map(len, out.splitlines()[2:10])) <= 80


@pytest.fixture
def contract(world: World) -> TrainingContract:
    return make_contract(world)


@pytest.fixture
def read(draft: Path) -> Draft:  # noqa: F811
    return read_draft(draft)


def run(world: World, key: Path, read: Draft, contract: TrainingContract, asked: Asked) -> Forecast:
    return forecast(read, contract, by_members(world.connect(key), "heart"), asked, lambda done, total, what: None)


FAKE = """
import json, sys
job = json.load(sys.stdin)
for repeat in range(job["repeats"]):
    for place, point in enumerate(job["points"]):
        last = point["contract"]["training"]["rounds"] + 1
        for index in range(last + 1):
            print(json.dumps({"type": "round", "index": index, "last": last, "stage": "training", "accuracy": None,
                              "epsilon": 0.0, "clipped": 0, "values": 1}))
        print(json.dumps({"type": "run", "point": place, "repeat": repeat, "exact": 0.5 + 0.1 * place + 0.02 * repeat,
                          "told": 0.5, "told_error": None if place else 0.04, "commonest": 0.6}), flush=True)
        END
"""


def faked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, end: str = "") -> None:
    (tmp_path / "fake.py").write_text(FAKE.replace("END", end or "pass"))
    found = commanded(tmp_path, f"echo $$ >{tmp_path}/pid; exec python3 {tmp_path}/fake.py")
    monkeypatch.setattr(simulating, "silo_command", lambda: found)


def test_means_and_errors_are_those_of_the_runs(
    world: World,
    grace_key: Path,
    read: Draft,
    contract: TrainingContract,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    faked(monkeypatch, tmp_path)
    found = run(world, grace_key, read, contract, Asked({}, (5.0, 1.0), repeats=3))
    one, five, none = found.points
    assert [point.epsilon for point in found.points] == [1.0, 5.0, None]
    assert one.accuracies == [0.5, 0.52, 0.54]
    assert (one.accuracy, one.spread) == (pytest.approx(0.52), pytest.approx(0.02))
    assert one.error == pytest.approx(0.02 / np.sqrt(3))
    assert (one.told_error, five.told_error) == (pytest.approx(0.04), None)
    assert (none.accuracy, none.charged, found.commonest) == (pytest.approx(0.72), None, pytest.approx(0.6))


def test_an_epsilon_that_no_noise_gives_or_no_budget_pays_for_is_told_and_the_others_are_run(
    world: World,
    grace_key: Path,
    read: Draft,
    contract: TrainingContract,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    faked(monkeypatch, tmp_path)
    found = run(world, grace_key, read, contract, Asked({}, (1e-9, 1.0, 90.0), repeats=1))
    never, one, much, _ = found.points
    assert never.contract is None and "privacy" in never.refusal and not never.runs
    assert (one.refusal, one.beyond, len(one.runs)) == ("", (), 1)
    assert much.beyond == contract.silo_names and len(much.runs) == 1


def test_ctrl_c_keeps_what_was_done_and_ends_the_process(
    command: Command,  # noqa: F811
    grace_key: Path,
    draft: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    faked(monkeypatch, tmp_path, "import time; place == 1 and time.sleep(600)")
    real = forecasting._Runs._round

    def interrupted(runs: forecasting._Runs, report: object) -> None:
        real(runs, report)  # type: ignore[arg-type]
        if sum(map(len, runs._runs.values())) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(forecasting._Runs, "_round", interrupted)
    code, out, _ = command("study", "simulate", str(draft), "--epsilons", "1,5", "--key", str(grace_key))
    assert code == 130
    assert "stopped early" in out and "0.500" in out
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_process_that_ends_before_the_last_run_is_no_forecast(
    world: World,
    grace_key: Path,
    read: Draft,
    contract: TrainingContract,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    faked(monkeypatch, tmp_path, "sys.exit(3)")
    with pytest.raises(TrialFailed, match="ended with 3"):
        run(world, grace_key, read, contract, Asked({}, (1.0, 2.0), repeats=1))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--epsilons", "one"), "give numbers with commas"),
        (("--epsilons", "0,1"), "must be above 0"),
        (("--epsilons", "nan"), "must be above 0"),
        (("--epsilons", ",".join(map(str, range(1, 30)))), "give 1 to 19"),
        (("--data", "absent.csv"), "can't be read"),
        (("--data", "cleveland=a.csv", "--data", "b.csv"), "or one FILE.csv alone"),
    ],
)
def test_what_can_not_be_simulated_is_refused_before_anything_starts(
    command: Command,  # noqa: F811
    grace_key: Path,
    draft: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    given: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.setattr(simulating, "silo_command", lambda: pytest.fail("a process was started"))
    code, _, err = command("study", "simulate", str(draft), *given, "--key", str(grace_key))
    assert code != 0 and said in " ".join(err.split())


def test_one_file_is_dealt_out_by_published_rows_and_no_row_goes_to_two_silos(
    contract: TrainingContract, tmp_path: Path
) -> None:
    path = tmp_path / "all.csv"
    path.write_text("x\n" + "1\n" * 200)
    dealt = rows_dealt_out(contract, path, 70)
    assert dealt.counts == {"cleveland": 70, "hungarian": 70, "switzerland": 12, "va-long-beach": 35}
    ranges = [(one.source.start, one.source.stop) for one in dealt.silos]  # type: ignore[union-attr]
    assert all(before[1] <= after[0] for before, after in pairwise(ranges))
    path.write_text("x\n" + "1\n" * 5)
    with pytest.raises(UsageRefused, match="too few"):
        rows_dealt_out(contract, path, 70)


def test_a_draft_is_simulated_from_python_and_a_proposed_study_has_one_epsilon(
    world: World,
    grace_key: Path,
    draft: Path,  # noqa: F811
    contract: TrainingContract,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    faked(monkeypatch, tmp_path)
    fed = Federation(world.connect(grace_key))
    found = fed.study(draft).simulate(epsilons=(2.0,), repeats=2)
    assert [len(point.runs) for point in found.points] == [2, 2]
    with pytest.raises(UsageRefused, match="simulate its draft"):
        Study(fed.connection, contract).simulate()
