"""A data owner decides in a real browser, on a silo's real folder, beside the node that acts on the answer."""

import re

import pytest
from playwright.sync_api import expect

from protocol import canonical
from protocol.study import contract_value
from silo_node.agent.answers import studies_of
from tests.console.owner_rig import Terminal, make_owner, propose, study
from tests.sample_study import consortium
from tests.unit.silo_node.agent.conftest import BASELINE, LIMITS
from tests.unit.silo_node.agent.story import begin_study, run_study
from tests.unit.silo_node.agent.test_void_rounds import two_void_rounds

ASKS_AT_ROUNDS = """
@hold
@id("each-round")
@found("it is {now}")
@reason("Somebody is to be here when rows are read.")
@remedy("Say yes.")
forbid (principal, action == Action::"round", resource)
unless { context.owner_approved };
"""


@pytest.fixture(scope="module")
def group():
    return consortium()


@pytest.fixture
def node(group, tmp_path):
    made = make_owner(tmp_path / "silo", group)
    yield made
    made.close()


@pytest.fixture
def terminal(node):
    started = Terminal(node.folder)
    yield started
    started.close()


def signed_in(tab, terminal, *path):
    tab.goto(terminal.link)
    tab.wait_for_url(re.compile(r"/[\w-]{43}/$"))
    if path:
        tab.goto(tab.url + "/".join(path))


def record_of(node, peers):
    return next(record for record in studies_of(node.silo) if record.study == peers.study)


def decisions(node):
    return [note.what for note in node.notes if note.what.startswith("owner: ")]


def test_from_the_link_to_an_approval_that_the_node_signs(node, terminal, tab):
    peers = propose(node, title="Sepsis on intensive care")
    signed_in(tab, terminal)
    expect(tab.get_by_role("heading", name="Waiting for you")).to_be_visible()
    tab.get_by_role("link", name="Sepsis on intensive care").click()
    exact = tab.locator(".exact").inner_text()
    assert exact.encode() == canonical.encode(contract_value(peers.contract))
    assert canonical.digest(exact.encode()) == peers.study
    shown = tab.locator("main").inner_text()
    assert (
        "owner-decides" in shown and "ada approves: signature verified" in shown and "of the 1 that are needed" in shown
    )
    assert node.silo.rules.gate.document.digest in shown and node.silo.catalogue.get("heart").commitment in shown
    expect(tab.get_by_role("img", name=re.compile("Budget of patients: 0 % spent, 10 % more"))).to_be_visible()
    tab.get_by_role("button", name="Approve exactly this").click()
    expect(tab.get_by_role("status")).to_contain_text("You said yes")
    assert tab.get_by_role("button", name="Approve").count() == 0
    assert decisions(node) == ["owner: accept"]
    node.go()
    record = record_of(node, peers)
    assert record.accepted == ["alpha"]
    tab.reload()
    expect(tab.get_by_text("accepted, waiting for the others", exact=False)).to_be_visible()


def test_all_of_it_works_without_script_and_a_refusal_says_the_reason_as_typed(node, terminal, browser):
    peers = propose(node)
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    signed_in(tab, terminal, "requests", peers.study)
    tab.get_by_label("Reason to refuse").fill("too \u202esmall")
    tab.get_by_role("button", name="Refuse").click()
    expect(tab.get_by_role("alert")).to_contain_text("A reason is needed")
    expect(tab.get_by_label("Reason to refuse")).to_have_value("too \u202esmall")
    assert decisions(node) == []
    tab.get_by_label("Reason to refuse").fill("The cohort is\ntoo small: <b>46</b>.")
    tab.get_by_role("button", name="Refuse").click()
    expect(tab.get_by_role("status")).to_contain_text("You said no: The cohort is too small: <b>46</b>.")
    node.go()
    assert record_of(node, peers).refused == {"alpha": "owner"}
    context.close()


def test_the_keyboard_alone_approves(node, terminal, tab):
    peers = propose(node)
    signed_in(tab, terminal, "requests", peers.study)
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.textContent") == "Skip to the content"
    for _ in range(30):
        tab.keyboard.press("Tab")
        if tab.evaluate("document.activeElement.textContent") == "Approve exactly this":
            break
    tab.keyboard.press("Enter")
    expect(tab.get_by_role("status")).to_contain_text("You said yes")
    assert decisions(node) == ["owner: accept"]


def test_an_owner_withdraws_from_a_study_that_was_accepted(node, terminal, tab):
    peers = propose(node)
    node.silo.tasks.answer(peers.study, "accept", "")
    node.go()
    signed_in(tab, terminal, "requests", peers.study)
    tab.get_by_label("Reason to withdraw").fill("A patient objected.")
    tab.get_by_role("button", name="Withdraw").click()
    expect(tab.get_by_role("status")).to_contain_text("You said no: A patient objected.")
    node.go()
    assert record_of(node, peers).withdrawn == {"alpha"}


def test_an_owner_releases_a_finished_model_and_not_before_it_is_asked_for(node, terminal, tab):
    peers = study(node)
    node.silo.tasks.answer(peers.study, "accept", "")
    run_study(node, peers)
    signed_in(tab, terminal, "requests", peers.study)
    expect(tab.get_by_role("button", name="Sign out")).to_be_visible()
    assert tab.get_by_role("button", name="Release the result").count() == 0
    peers.request()
    node.go()
    tab.reload()
    tab.get_by_role("button", name="Release the result").click()
    expect(tab.get_by_role("status")).to_contain_text("You said yes to the release")
    node.go()
    assert list(record_of(node, peers).confirmations) == ["alpha"]


def test_a_model_is_held_back_with_a_reason_and_let_go_later(node, terminal, tab):
    peers = study(node)
    node.silo.tasks.answer(peers.study, "accept", "")
    run_study(node, peers)
    peers.request()
    node.go()
    signed_in(tab, terminal, "requests", peers.study)
    tab.get_by_label("Reason to hold it back").fill("The board meets first.")
    tab.get_by_role("button", name="Don't release").click()
    expect(tab.get_by_role("status")).to_contain_text("You said no: The board meets first.")
    node.go()
    assert record_of(node, peers).confirmations == {}
    tab.get_by_role("button", name="Release the result").click()
    expect(tab.get_by_role("status")).to_contain_text("You said yes to the release")
    node.go()
    assert list(record_of(node, peers).confirmations) == ["alpha"]


def test_a_paused_study_goes_on_when_its_owner_says_so(node, terminal, tab):
    peers = study(node, rounds=5)
    node.silo.tasks.answer(peers.study, "accept", "")
    two_void_rounds(node, peers)
    signed_in(tab, terminal)
    expect(tab.get_by_text("Paused: may it go on?")).to_be_visible()
    tab.get_by_role("link", name="Heart disease").click()
    tab.get_by_role("button", name="Let it go on").click()
    expect(tab.get_by_role("button", name="Let it go on")).to_have_count(0)
    node.go()
    assert record_of(node, peers).paused == set()


def test_a_round_that_the_policy_holds_is_computed_when_its_owner_says_so(node, terminal, tab):
    peers = study(node)
    node.write(limits=LIMITS)
    begin_study(node, peers)
    above, last, _ = BASELINE.read_text().rpartition("// End of the rules.")
    node.write(policy=above + ASKS_AT_ROUNDS + last, limits=LIMITS)
    peers.open(0)
    node.go()
    signed_in(tab, terminal)
    expect(tab.get_by_text("May the next round be computed here?")).to_be_visible()
    tab.get_by_role("link", name="Heart disease").click()
    expect(tab.get_by_text("round 0 waits for you: each-round: ")).to_be_visible()
    assert node.runner.runs == 0
    tab.get_by_role("button", name="Let the rounds be computed").click()
    expect(tab.get_by_role("status")).to_contain_text("You said yes")
    expect(tab.get_by_role("button", name="Let the rounds be computed")).to_have_count(0)
    node.go()
    assert (node.runner.runs, decisions(node)) == (1, ["owner: accept"])


def test_a_link_works_once_and_enter_in_the_terminal_says_another(node, terminal, tab, browser):
    signed_in(tab, terminal)
    stranger = browser.new_context()
    other = stranger.new_page()
    other.goto(terminal.link)
    expect(other.get_by_role("alert")).to_contain_text("This link was used")
    other.goto(tab.url)  # the address alone, from a history or a screen
    expect(other.get_by_role("alert")).to_contain_text("You are not signed in here")
    other.goto(terminal.another_link())
    expect(other.get_by_role("heading", name="Requests")).to_be_visible()
    second = tab.context.new_page()
    second.goto(tab.url + "ledger")
    expect(second.get_by_role("heading", name="Ledger", exact=True)).to_be_visible()
    second.get_by_role("button", name="Sign out").click()
    expect(second.get_by_role("alert")).to_contain_text("signed out")
    tab.reload()
    expect(tab.get_by_role("alert")).to_contain_text("not signed in")
    other.reload()
    expect(other.get_by_role("heading", name="Requests")).to_be_visible()
    stranger.close()
