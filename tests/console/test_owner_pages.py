"""Every page of the console for every reader: in both themes, on a telephone, on paper, when there is nothing yet."""

import json
import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from protocol.mock import as_text, mock_rows
from silo_node.agent.pulse import Pulse
from silo_node.agent.silo import published_columns
from silo_node.ledger.caps import EACH, Cap
from tests.console.owner_rig import Terminal, make_owner, propose
from tests.sample_study import consortium
from tests.unit.silo_node.agent.story import run_round

PAGES = ("", "code", "datasets", "datasets/heart", "ledger", "journal", "journal?since=yesterday", "node")


@pytest.fixture(scope="module")
def group():
    return consortium()


@pytest.fixture(scope="module")
def node(group, tmp_path_factory):
    made = make_owner(tmp_path_factory.mktemp("console") / "silo", group)
    yield made
    made.close()


@pytest.fixture(scope="module")
def studies(node):
    """One that runs, one that waits, one that the policy refused, one that no admin approved."""
    running = propose(node, title="Early signs of heart failure")
    node.silo.tasks.answer(running.study, "accept", "")
    node.go()
    running.accept()
    running.key()
    node.go()
    running.share()
    node.go()
    run_round(node, running, 0)
    waiting = propose(node, title="Sepsis on intensive care")
    refused = propose(node, title="Claims", purpose="fraud-detection")
    early = propose(node, approved=False, title="A name without a space " + "x" * 90)
    Pulse(node.folder, node.silo.clock).beat(False)
    return [one.study for one in (running, waiting, refused, early)]


@pytest.fixture(scope="module")
def terminal(node, studies):
    started = Terminal(node.folder)
    yield started
    started.close()


@pytest.fixture
def home(terminal, tab):
    tab.goto(terminal.another_link())
    tab.wait_for_url(re.compile(r"/[\w-]{43}/$"))
    return tab.url


def pages(home, studies):
    return [home + path for path in (*PAGES, *(f"requests/{study}" for study in studies))]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_wrong_with_any_page_and_no_page_breaks_its_policy(tab, home, studies, theme):
    said, asked = [], []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("request", lambda request: asked.append(request.url))
    tab.emulate_media(color_scheme=theme)
    every = [*pages(home, studies), home.rsplit("/", 2)[0] + "/", home + "nowhere/at/all"]
    for page in every if theme == "light" else every[:1] + every[4:9]:
        tab.goto(page)
        report = Axe().run(tab)
        assert report.violations_count == 0, page + report.generate_report()
    assert all(url.startswith(home.rsplit("/", 2)[0]) for url in asked)
    assert [text for text in said if "status of 4" not in text] == []


def test_nothing_is_wider_than_a_telephone(tab, home, studies):
    tab.set_viewport_size({"width": 320, "height": 800})  # WCAG 2.2, 1.4.10
    for page in pages(home, studies):
        tab.goto(page)
        assert tab.evaluate("document.documentElement.scrollWidth") <= 320, page


def test_the_pages_show_what_the_commands_show(tab, home, studies, node):
    refused = studies[2]
    tab.goto(home)
    assert [one.inner_text().split("\n")[0] for one in tab.locator("h2").all()] == [
        "Waiting for you 1",
        "Under way 1",
        "With the others 1",
        "Over 1",
    ]
    tab.goto(home + "ledger")
    share = node.silo.ledger.balance("patients").spent_picos / node.silo.ledger.balance("patients").domain.cap_picos
    expect(tab.get_by_role("img", name=f"Budget of patients: {100 * share:.1f} % spent")).to_be_visible()
    expect(tab.get_by_role("row", name=re.compile("Early signs of heart failure 1 "))).to_be_visible()
    expect(tab.get_by_text(re.compile("At this rate dataset heart serves [0-9]+ more such stud"))).to_be_visible()
    node.silo.ledger.cap(Cap("patients", "recipient", EACH, node.silo.ledger.balance("patients").domain.cap_picos // 4))
    tab.reload()
    expect(tab.get_by_role("row", name=re.compile("each recipient 25.0 % "))).to_be_visible()
    expect(tab.get_by_role("row", name=re.compile("the cap on each recipient missing in the log"))).to_be_visible()
    tab.goto(f"{home}requests/{studies[0]}")
    expect(tab.get_by_text(re.compile("After it there is room for [0-9]+ more stud"))).to_be_visible()
    tab.goto(home + "journal")
    entries = [*node.journal.entries()]
    assert tab.locator("tbody tr").count() == len(entries)
    tab.goto(f"{home}journal?study={refused[:10]}")
    assert tab.locator("tbody tr").count() == 2
    tab.goto(f"{home}journal?since=2001-01-01&until=2001-12-31")
    expect(tab.get_by_text("No entry fits.")).to_be_visible()
    tab.goto(home + "node")
    expect(tab.get_by_text("Consistent, 3 of 4 witnesses")).to_be_visible()
    tab.goto(home + "datasets/heart")
    expect(tab.get_by_role("row", name=re.compile("chol number 0 100"))).to_be_visible()
    numbers = tab.get_by_role("table", name="Numbers as they are computed with")
    kept = {one["name"]: one for one in json.loads(node.silo.catalogue.profile_before("heart"))["columns"]}
    assert numbers.locator("tbody tr").count() == len(kept)
    assert numbers.get_by_role("row", name=re.compile("^chol ")).inner_text().split()[-1] == f"{kept['chol']['mean']:g}"
    expect(tab.get_by_text("consortia-silo dataset profile heart")).to_be_visible()
    dataset = node.silo.catalogue.get("heart")
    (mock,) = mock_rows("alpha", "heart", published_columns(dataset), 1).values
    shown = tab.get_by_role("row", name=re.compile("^mock-1 ")).inner_text().split()
    assert shown == ["mock-1", *map(as_text, mock)]


def test_every_rule_says_what_it_found_and_what_would_change_it_and_those_that_pass_are_folded_away(
    tab, home, studies, node
):
    rules = {rule.name: rule for rule in node.silo.rules.gate.document.rules}
    tab.goto(f"{home}requests/{studies[2]}")
    first = tab.locator("#policy ~ dl.rules").locator("dt").first
    expect(first).to_have_text("purpose-allowed refuses")
    said = tab.locator("#policy ~ dl.rules").locator("dd").first
    expect(said).to_contain_text("fraud-detection")
    expect(said).to_contain_text(rules["purpose-allowed"].reason)
    expect(said).to_contain_text("What would change it: ")
    folded = tab.locator("#policy ~ details")
    expect(folded.locator("dl")).to_be_hidden()
    folded.locator("summary").click()
    expect(folded.get_by_text("not-expired passes")).to_be_visible()
    shown = tab.locator(".rules dt code").all_inner_texts()
    assert sorted(shown) == sorted(rules)


def test_a_page_prints_without_its_buttons_and_with_the_whole_exact_text(tab, home, studies):
    tab.goto(f"{home}requests/{studies[1]}")
    tab.emulate_media(media="print")
    expect(tab.get_by_role("button", name="Approve exactly this")).to_be_hidden()
    expect(tab.get_by_role("navigation")).to_be_hidden()
    assert tab.evaluate("(one => one.scrollHeight <= one.clientHeight + 1)(document.querySelector('.exact'))")


def test_an_empty_silo_says_what_to_do_next(group, tmp_path, tab):
    node = make_owner(tmp_path / "silo", group, registered=False)
    terminal = Terminal(node.folder)
    tab.goto(terminal.link)
    expect(tab.get_by_text("No study has named this silo yet.")).to_be_visible()
    home = tab.url
    for path, text in (("datasets", "consortia-silo dataset add"), ("ledger", "consortia-silo dataset add")):
        tab.goto(home + path)
        expect(tab.locator(".empty code")).to_contain_text(text)
    tab.goto(home + "code")
    expect(tab.get_by_text("No code was submitted to this silo yet.")).to_be_visible()
    tab.goto(home + "node")
    expect(tab.get_by_text("Start the node on this machine: consortia-silo run")).to_be_visible()
    expect(tab.get_by_text("Privacy self-test: look at this. Never run on this machine.")).to_be_visible()
    terminal.close()
    node.close()
