"""A data owner reads, approves, looks and releases in a real browser, beside the node that acts on it."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from protocol.job_statements import JobAccepted, JobReleased
from silo_node.agent.jobs import find, jobs_of
from tests.console.code_rig import TRAP, code_for, run
from tests.console.owner_rig import Terminal, make_owner
from tests.sample_study import consortium


@pytest.fixture
def node(tmp_path):
    made = make_owner(tmp_path / "silo", consortium())
    yield made
    made.close()


def test_from_the_code_to_the_release_in_a_browser(node, tab):
    submit = code_for(node)
    first = submit()
    node.silo.tasks.jobs.answer(first, "approve", find(jobs_of(node.silo), first).asked.bundle)
    job = submit(TRAP, name="ages")
    terminal = Terminal(node.folder)
    tab.goto(terminal.link)
    tab.wait_for_url(re.compile(r"/[\w-]{43}/$"))
    expect(tab.get_by_role("link", name="Code 1 waiting")).to_be_visible()
    tab.goto(tab.url + "code")
    for theme in ("light", "dark"):
        tab.emulate_media(color_scheme=theme)
        assert Axe().run(tab).violations_count == 0
    tab.get_by_role("link", name="ages").first.click()
    expect(tab.get_by_text("Look twice: 1 line has characters")).to_contain_text("analysis.py:3")
    expect(tab.locator("mark")).to_have_text("# \\u{202e} } \\u{2066}if")
    expect(tab.locator("ins").last).to_have_text("+# \\u{202e} } \\u{2066}if")
    expect(tab.locator("dl.rules dt").first).to_have_text("code-read holds")
    asked = find(jobs_of(node.silo), job).asked
    expect(tab.locator("#decide ~ form").first).to_contain_text(asked.bundle)
    for theme in ("light", "dark"):
        tab.emulate_media(color_scheme=theme)
        assert Axe().run(tab).violations_count == 0
    tab.get_by_role("button", name="Approve this code").click()
    expect(tab.get_by_role("status")).to_contain_text("You said yes to the code")
    node.go()
    assert [one.bundle for one in node.hub.logged(JobAccepted)][-1] == asked.bundle
    tab.reload()
    expect(tab.get_by_text(f"consortia-silo job run {job[:12]}")).to_be_visible()
    held = run(node, job, {"mean": b"54.4 <b>", "seen.csv": "pid\u202e\n".encode()})
    tab.reload()
    expect(tab.get_by_text("These outputs are EXACT")).to_be_visible()
    expect(tab.locator("#outputs ~ pre")).to_have_text(["54.4 <b>", "pid\\u{202e}\n"])
    tab.set_viewport_size({"width": 320, "height": 800})
    assert tab.evaluate("document.documentElement.scrollWidth") <= 320
    assert Axe().run(tab).violations_count == 0
    tab.get_by_role("button", name="Release these outputs").click()
    expect(tab.get_by_role("status")).to_contain_text(f"You said yes to the release of {held.digest[:12]}")
    node.go()
    assert [one.job for one in node.hub.logged(JobReleased)] == [job]
    terminal.close()
