"""``consortia-silo ledger`` at a terminal, over alpha's real files."""

import json
from contextlib import contextmanager

import pytest
from typer.testing import CliRunner

from silo_node.__main__ import app
from silo_node.commands import ledger, ledger_tables
from silo_node.errors import ConfigRefused, LedgerDamaged
from tests.unit.silo_node.agent.story import begin_study

WHY = ("--reason", "the board decided so")


@pytest.fixture
def command(node, monkeypatch):
    """Runs a command on alpha's folder as it is now; the result has its output and exit code."""

    @contextmanager
    def opened(*_, **__):
        yield node.silo, None

    monkeypatch.setattr(ledger, "open_silo", opened)
    monkeypatch.setattr(node.hub, "budgets", lambda: (), raising=False)
    monkeypatch.setattr(ledger_tables.out, "width", 200)
    monkeypatch.setenv("CONSORTIA_SILO_FOLDER", str(node.folder))
    return lambda *words: CliRunner().invoke(app, ["ledger", *words])


def test_caps_are_set_lowered_lifted_and_shown_with_what_is_left(node, command):
    assert "25.0% of its budget" in command("cap", "--recipient", "each", "--share", "25", *WHY).output
    assert command("cap", "--recipient", "rosa", "--epsilon", "3", *WHY).exit_code == 0
    assert "epsilon 2.5" in command("cap", "--recipient", "rosa", "--epsilon", "2.5", *WHY).output
    assert command("cap", "--dataset", "heart", "--share", "50", *WHY).exit_code == 0
    shown = command().output
    assert "each recipient" in shown and "recipient rosa" in shown and "dataset heart" in shown
    (told,) = json.loads(command("--json").output)
    assert {(one["scope"], one["name"]) for one in told["caps"]} == {
        ("dataset", "heart"),
        ("recipient", "*"),
        ("recipient", "rosa"),
    }
    assert "lifted" in command("cap", "--dataset", "heart", "--lift", *WHY).output
    assert "dataset heart" not in command().output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--recipient", "rosa"), "one of --epsilon, --share and --lift"),
        (("--share", "10"), "one of --dataset, --study and --recipient"),
        (("--recipient", "rosa", "--share", "101"), "0 to 100 percent"),
        (("--recipient", "rosa", "--epsilon", "50"), "cap-bounds"),
        (("--recipient", "rosa", "--epsilon", "0.01"), "must be above 0"),
        (("--study", "0123456789", "--share", "10"), "0 studies here begin so"),
        (("--dataset", "lungs", "--share", "10"), "no dataset lungs is registered"),
        (("--recipient", "ro sa", "--share", "10"), "without spaces"),
        (("--recipient", "rosa", "--share", "10", "--domain", "others"), "privacy domains are: patients"),
    ],
)
def test_a_cap_that_cannot_be_is_refused_with_the_way_out_and_nothing_is_written(node, command, words, said):
    before = node.silo.ledger.head()
    result = command("cap", *words, *WHY)
    assert result.exit_code != 0
    assert said in str(result.exception)
    assert node.silo.ledger.head() == before


def test_the_forecast_stands_below_the_balances(node, peers, command):
    begin_study(node, peers)
    assert (
        "At this rate dataset heart serves 9 more such studies (like Heart disease, 9.7% of the budget each)"
        in command().output
    )
    (told,) = json.loads(command("--json").output)
    (forecast,) = told["forecasts"]
    assert (forecast["dataset"], forecast["like"], forecast["more"]) == ("heart", peers.study, 9)


def test_reconcile_ends_with_1_where_anything_differs_and_names_it(node, peers, command):
    begin_study(node, peers)
    peers.open(0)
    node.go()
    node.agent.poll(0)
    offline = ("reconcile", "--offline")
    assert command(*offline).exit_code == 0
    mirrored = command("reconcile", "--json")
    assert mirrored.exit_code == 1
    assert json.loads(mirrored.output)["differences"][0]["what"] == "the hub's mirror of domain patients"
    command("cap", "--recipient", "rosa", "--share", "90", *WHY)
    assert command(*offline).exit_code == 1
    assert "the cap on recipient rosa" in command(*offline).output
    node.agent.poll(0)
    assert command(*offline).exit_code == 0


def test_a_ledger_that_was_put_back_is_told_when_it_is_shown_and_recovered_by_the_command(node, peers, command):
    begin_study(node, peers)
    node.backup("ledger")
    peers.open(0)
    node.go()
    before = node.silo.ledger.balance("patients")
    node.restore("ledger")
    assert isinstance(command().exception, LedgerDamaged)
    assert "charges 1, settlements 1 brought back" in command("recover").output.replace("\n", " ")
    assert command().exit_code == 0
    assert node.silo.ledger.balance("patients") == before


def test_recover_waits_for_no_node(node, command, monkeypatch):
    @contextmanager
    def taken(_):
        raise ConfigRefused("a silo node is running on this folder already")
        yield

    monkeypatch.setattr(ledger, "one_node", taken)
    assert "running on this folder" in str(command("recover").exception)
