"""``consortia keys add-fido`` as its user meets it: a process, a link, a touch, and a public card for the admin."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from client.keys import new_identity, read_card, write_identity
from tests.console.rig import Token

ADD = (sys.executable, "-m", "client", "keys", "add-fido")


@pytest.fixture
def key(tmp_path):
    path = tmp_path / "ada.key"
    write_identity(new_identity("ada"), path)
    return path


def started(key, *options):
    process = subprocess.Popen(
        [*ADD, str(key), "--no-browser", "--json", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    for line in process.stderr:
        if line.startswith("http://"):
            return process, line.strip()
    raise AssertionError(process.stdout.read())


def test_a_touch_puts_the_security_key_into_the_public_card_and_changes_its_words(key, tab):
    card = key.with_suffix(".card.json")
    before, private = read_card(card), key.read_bytes()
    token = Token(tab)
    process, link = started(key)
    tab.goto(link)
    tab.get_by_role("button", name="Register the key").click()
    out, _ = process.communicate(timeout=60)
    after = read_card(card)
    assert process.returncode == 0 and json.loads(out)["words"] == after.words != before.words
    assert after.decision_key.credential == token.credentials()[0]["credentialId"]
    assert after.model_copy(update={"format": before.format, "decision_key": None}) == before
    assert key.read_bytes() == private
    assert sorted(one.name for one in key.parent.iterdir()) == ["ada.card.json", "ada.key"]
    refused = subprocess.run([*ADD, str(key)], capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 2 and "--replace" in refused.stderr


def test_closing_the_page_leaves_the_card_as_it_was(key, tab):
    card = key.with_suffix(".card.json")
    before = card.read_bytes()
    process, link = started(key)
    tab.goto(link)
    tab.get_by_role("button", name="Close").click()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and out == "" and "nothing was registered" in err
    assert card.read_bytes() == before


def test_the_command_says_its_secret_once_and_logs_nothing(key, tab):
    process, link = started(key)
    tab.goto(link)
    session = tab.url
    tab.get_by_role("button", name="Close").click()
    _, rest = process.communicate(timeout=60)
    assert link not in rest and session not in rest and "GET" not in rest


def test_the_browser_is_given_a_file_that_leads_to_the_link_and_its_output_stays_out_of_ours(key, tab, tmp_path):
    opened, script = tmp_path / "opened", tmp_path / "browser"
    script.write_text(
        f'#!/bin/sh\necho "from the browser"\nprintf %s "$1" > {opened}.new && mv {opened}.new {opened}\n'
    )
    script.chmod(0o700)
    process = subprocess.Popen(
        [*ADD, str(key), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "BROWSER": f"{script} %s"},
    )
    link = next(line.strip() for line in process.stderr if line.startswith("http://"))
    while not opened.exists():
        time.sleep(0.05)
    address = opened.read_text()
    assert address.startswith("file:///") and link.rsplit("/", 1)[1] not in address
    Token(tab)
    tab.goto(address)
    tab.get_by_role("button", name="Register the key").click()
    out, _ = process.communicate(timeout=60)
    assert json.loads(out)["person"] == "ada"
    assert not Path(urlsplit(address).path).parent.exists()


def test_a_command_that_is_stopped_leaves_the_card_as_it_was(key):
    before = key.with_suffix(".card.json").read_bytes()
    process, _ = started(key)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130 and key.with_suffix(".card.json").read_bytes() == before
