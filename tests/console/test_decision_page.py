"""An admin decides in a real browser: by reading, by keyboard, without script, with a touch of a security key."""

import re
from urllib.parse import urlsplit

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from cryptography.hazmat.primitives import serialization
from playwright.sync_api import Page, expect

from client.decision_page.deciding import Choice
from client.decision_page.registering import register_on_page
from client.errors import NotDecided
from protocol import canonical
from protocol.decision import check_decision, decision_message, verify_assertion
from protocol.study import contract_value, study_id
from tests.console.rig import MATTER, STUDY, Served, Token, decide, decision_of
from tests.security_key import SecurityKey

KEY = SecurityKey.es256()
PRIVATE = KEY.private.private_bytes(
    serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)


def with_key(tab: Page) -> Token:
    """The person's security key is plugged in."""
    token = Token(tab)
    token.put(KEY.credential, PRIVATE)
    return token


def test_the_page_shows_the_whole_contract_and_the_digest_of_the_text_that_it_shows(tab):
    served = decide()
    tab.goto(served.link)
    assert tab.locator("h1").inner_text() == STUDY.title
    tab.get_by_text("Show the exact text").click()
    exact = tab.locator(".exact").inner_text()
    assert exact.encode() == canonical.encode(contract_value(STUDY))
    assert canonical.digest(exact.encode()) == study_id(STUDY)
    shown = tab.locator("main").inner_text()
    assert study_id(STUDY) in shown and "bob (1 of 2 needed)" in shown and "carol: The cohort is too small." in shown
    for section in MATTER.words:
        for label, text in section.lines:
            assert label in shown and text in shown
    for bar in MATTER.bars:
        assert bar.note in (tab.locator("svg.chart").get_attribute("aria-label") or "")
    tab.get_by_role("button", name="Close").click()
    assert served.result() is None


def test_an_admin_without_a_security_key_approves_without_script(browser):
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    served = decide()
    tab.goto(served.link)
    tab.get_by_role("button", name="Approve exactly this").click()
    expect(tab.get_by_text("You chose to approve this.")).to_be_visible()
    made = decision_of(served)
    assert made.choice == Choice("approve") and made.body.assertion is None and made.body.study == study_id(STUDY)
    context.close()


def test_an_objection_has_a_reason_and_the_reason_is_what_was_typed(tab):
    served = decide()
    tab.goto(served.link)
    tab.get_by_role("button", name="Object").click()
    expect(tab.locator("textarea:invalid")).to_be_focused()  # the browser itself asks for the reason
    tab.get_by_label("Reason for objecting").fill("The cohort is\ntoo small: <b>46</b> rows.")
    tab.get_by_role("button", name="Object").click()
    expect(tab.locator(".verdict")).to_have_text("You chose to object: The cohort is too small: <b>46</b> rows.")
    made = decision_of(served)
    assert made.body.reason == made.choice.reason == "The cohort is too small: <b>46</b> rows."


def test_an_objection_that_hides_letters_is_shown_again_with_its_text(tab):
    served = decide()
    tab.goto(served.link)
    tab.get_by_label("Reason for objecting").fill("too \u202esmall")
    tab.get_by_role("button", name="Object").click()
    expect(tab.get_by_role("alert")).to_contain_text("needs a reason")
    expect(tab.get_by_role("alert")).to_be_in_viewport()
    expect(tab.get_by_label("Reason for objecting")).to_have_value("too \u202esmall")
    tab.get_by_role("button", name="Close").click()
    assert served.result() is None


def test_a_touch_approves_this_study_and_the_silos_can_verify_it(tab):
    with_key(tab)
    served = decide(KEY.public)
    tab.goto(served.link)
    tab.get_by_role("button", name="Approve exactly this").click()
    expect(tab.get_by_text("You chose to approve this.")).to_be_visible()
    body = decision_of(served).body
    check_decision(body, KEY.public)
    verify_assertion(body.assertion, KEY.public, "study-approved", decision_message(body))


def test_a_touch_objects_with_the_very_reason(tab):
    with_key(tab)
    served = decide(KEY.public)
    tab.goto(served.link)
    tab.get_by_label("Reason for objecting").fill("Zu wenige Fälle.\nÅrsag: 46 rækker")
    tab.get_by_role("button", name="Object").click()
    body = decision_of(served).body
    check_decision(body, KEY.public)
    assert body.reason == "Zu wenige Fälle. Årsag: 46 rækker"


def test_a_key_that_another_person_holds_approves_nothing(tab):
    other = SecurityKey.es256(8)
    private = other.private.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    Token(tab).put(KEY.credential, private)  # under the right name, even
    served = decide(KEY.public)
    tab.goto(served.link)
    tab.get_by_role("button", name="Approve exactly this").click()
    expect(tab.get_by_role("alert")).to_contain_text("signature does not verify")
    assert served.outcome == []
    tab.get_by_role("button", name="Close").click()
    assert served.result() is None


def test_a_key_that_may_be_copied_approves_nothing(tab):
    token = Token(tab)
    token.put(KEY.credential, PRIVATE, backupEligibility=True)
    served = decide(KEY.public)
    tab.goto(served.link)
    tab.get_by_role("button", name="Approve exactly this").click()
    expect(tab.get_by_role("alert")).to_contain_text("may be copied")
    tab.get_by_role("button", name="Close").click()
    assert served.result() is None


def test_a_key_that_did_not_verify_its_user_gives_no_answer_and_the_page_stays(tab):
    token = with_key(tab)
    token.is_verified(False)
    served = decide(KEY.public)
    tab.goto(served.link)
    tab.get_by_role("button", name="Approve exactly this").click()
    expect(tab.get_by_role("status")).to_contain_text("gave no answer")
    token.is_verified(True)
    tab.get_by_role("button", name="Approve exactly this").click()
    check_decision(decision_of(served).body, KEY.public)


def test_without_script_a_security_key_can_not_be_left_out(browser):
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    served = decide(KEY.public)
    tab.goto(served.link)
    expect(tab.get_by_text("this page needs its script")).to_be_visible()
    tab.get_by_role("button", name="Approve exactly this").click()
    expect(tab.get_by_role("alert")).to_contain_text("confirm with a touch")
    tab.get_by_role("button", name="Close").click()
    assert served.result() is None
    context.close()


def test_a_new_security_key_is_registered_and_approves(tab):
    token = Token(tab)
    served = Served(lambda setting: register_on_page("ada", setting))
    tab.goto(served.link)
    expect(tab.get_by_role("heading")).to_have_text("Register a security key for ada")
    tab.get_by_role("button", name="Register the key").click()
    key = served.result()
    assert [one["credentialId"] for one in token.credentials()] == [key.credential]
    served = decide(key)
    tab.goto(served.link)
    tab.get_by_role("button", name="Approve exactly this").click()
    check_decision(decision_of(served).body, key)


def test_a_key_that_can_be_copied_is_not_registered(tab):
    token = Token(tab)
    token.session.send("WebAuthn.removeVirtualAuthenticator", {"authenticatorId": token.id})
    token.add(defaultBackupEligibility=True)
    served = Served(lambda setting: register_on_page("ada", setting))
    tab.goto(served.link)
    tab.get_by_role("button", name="Register the key").click()
    expect(tab.get_by_role("alert")).to_contain_text("may be copied")
    tab.get_by_role("button", name="Close").click()
    assert served.result() is None


def test_the_keyboard_reaches_everything_in_reading_order(tab):
    served = decide()
    tab.goto(served.link)
    names = []
    for _ in range(12):
        tab.keyboard.press("Tab")
        names.append(
            tab.evaluate("(document.activeElement.textContent || document.activeElement.id).trim().slice(0, 20)")
        )
        if "Close and decide not" in names:
            break
    order = ["Skip to the content", "Show the exact text", "Approve exactly this", "reason", "Object"]
    assert [name for name in names if name in order] == order
    tab.keyboard.press("Shift+Tab")
    tab.keyboard.press("Shift+Tab")
    tab.keyboard.type("Too small.")
    tab.keyboard.press("Tab")
    tab.keyboard.press("Enter")
    assert decision_of(served).choice == Choice("object", "Too small.")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("key", [None, KEY.public], ids=["key file", "security key"])
def test_axe_finds_nothing_wrong_with_the_pages(context, key, theme):
    tab = context.new_page()
    tab.emulate_media(color_scheme=theme)
    with_key(tab)
    served = decide(key)
    tab.goto(served.link)
    tab.get_by_text("Show the exact text").click()
    found(tab)
    tab.get_by_label("Reason for objecting").fill("\u202e")
    tab.get_by_role("button", name="Object").click()
    if key is None:
        expect(tab.get_by_role("alert")).to_be_visible()
    else:
        expect(tab.get_by_role("status")).to_contain_text("needs a reason")
    found(tab)
    tab.get_by_role("button", name="Approve exactly this").click()
    expect(tab.get_by_text("You chose to approve this.")).to_be_visible()
    found(tab)
    decision_of(served)


def test_axe_finds_nothing_wrong_with_a_registration(tab):
    Token(tab)
    served = Served(lambda setting: register_on_page("ada", setting))
    tab.goto(served.link)
    found(tab)
    tab.get_by_role("button", name="Register the key").click()
    expect(tab.get_by_text("The key answered.")).to_be_visible()
    found(tab)
    served.result()


def found(tab: Page) -> None:
    report = Axe().run(tab)
    assert report.violations_count == 0, report.generate_report()


def test_the_page_loads_nothing_from_elsewhere_and_runs_no_other_script(tab):
    asked, said = [], []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("console", lambda message: said.append(message.text))
    served = decide(KEY.public)
    tab.goto(served.link)
    origin = served.link.rsplit("/", 1)[0]
    assert asked and all(url.startswith(f"{origin}/") for url in asked)
    assert said == []
    tab.evaluate(
        "() => { const s = document.createElement('script'); s.text = 'window.ran = 1'; document.body.append(s) }"
    )
    tab.evaluate("() => { document.body.setAttribute('onclick', 'window.ran = 1'); document.body.click() }")
    assert tab.evaluate("window.ran") is None and any("Content Security Policy" in text for text in said)
    tab.get_by_role("button", name="Close").click()
    served.result()


def test_a_foreign_page_in_a_real_browser_can_not_send_the_form_nor_frame_the_page(context):
    served = decide()
    tab = context.new_page()
    tab.goto(served.link)
    address, token = tab.url, tab.locator("input[name=token]").first.input_value()
    foreign = context.new_page()
    foreign.route("http://evil.localhost/**", lambda route: route.fulfill(body="<p>evil</p>", content_type="text/html"))
    foreign.goto("http://evil.localhost/")  # even one that has stolen address and token
    foreign.evaluate(
        """([address, token]) => {
        const frame = document.createElement('iframe'); frame.src = address; document.body.append(frame);
        const form = document.createElement('form'); form.method = 'post'; form.action = address + 'answer';
        for (const [name, value] of [['token', token], ['verdict', 'approve']]) {
          const input = document.createElement('input'); input.name = name; input.value = value; form.append(input);
        }
        document.body.append(form); window.sent = form;
        }""",
        [address, token],
    )
    foreign.wait_for_function("document.querySelector('iframe').contentDocument === null")
    assert all("Your decision" not in (frame.content() or "") for frame in foreign.frames[1:])
    foreign.evaluate("window.sent.submit()")
    expect(foreign.get_by_role("alert")).to_have_text("Another page sent this. Nothing was decided.")
    again = context.new_page()
    again.goto(served.link)
    expect(again.get_by_role("alert")).to_contain_text("This link was opened before")
    assert served.outcome == []
    tab.get_by_role("button", name="Approve exactly this").click()
    assert decision_of(served).choice == Choice("approve")
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{urlsplit(address).port}/")


def test_nothing_is_wider_than_a_telephone(context):
    tab = context.new_page()
    tab.set_viewport_size({"width": 320, "height": 800})  # WCAG 2.2, 1.4.10
    served = decide(KEY.public)
    tab.goto(served.link)
    tab.get_by_text("Show the exact text").click()
    assert tab.evaluate("document.documentElement.scrollWidth") <= 320
    tab.get_by_role("button", name="Close").click()
    served.result()


def test_a_page_that_nobody_answers_ends_and_decides_nothing(tab):
    served = decide(timeout_s=0.01)
    with pytest.raises(NotDecided, match=re.escape("nothing was decided")):
        served.result()
