"""A verified log as lines for a SIEM: what a collector reads back is what was recorded, whatever others wrote in it."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.audit.cef import cef_line, escape_header, escape_value
from client.audit.events import Event, convert
from client.audit.ocsf import ocsf_event, ocsf_line
from client.errors import AuditFailed
from protocol import study_statements
from protocol.canonical import digest
from protocol.study import study_id
from protocol.translog import LogEntry
from tests.unit.client.conftest import ORIGIN, World, make_contract, run_study


def events(world: World, tmp_path: Path) -> list[Event]:
    found: list[Event] = []
    log = tmp_path / "log.jsonl"
    log.write_text("".join(world.export()), encoding="utf-8")

    def keep(event: Event) -> str:
        found.append(event)
        return "line"

    convert(log, world.founding, tmp_path / "events", keep)
    return found


def read_cef(line: str) -> tuple[list[str], dict[str, str]]:
    """A reader of its own, by the format's rules: fields between unescaped pipes, then keys before unescaped equals."""
    parts, rest = [], line
    for _ in range(7):
        field = re.match(r"(?:[^\\|]|\\[\\|])*", rest)
        assert field is not None and rest[field.end()] == "|"
        parts.append(re.sub(r"\\([\\|])", r"\1", field.group()))
        rest = rest[field.end() + 1 :]
    keys = list(re.finditer(r"(?:^| )([A-Za-z0-9]+)=", rest))
    ends = [key.start() for key in keys[1:]] + [len(rest)]
    unescape = {"\\\\": "\\", "\\=": "=", "\\n": "\n"}
    values = (rest[key.end() : end] for key, end in zip(keys, ends, strict=True))
    read = [re.sub(r"\\[\\=n]", lambda found: unescape[found.group()], value) for value in values]
    return parts, dict(zip((key[1] for key in keys), read, strict=True))


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
HOSTILE = st.text(st.sampled_from("\\|= \n\r\u2028ab="), max_size=30)


@given(TEXTS | HOSTILE)
def test_a_value_comes_back_from_cef_as_it_was_but_for_kinds_of_line_breaks(text: str) -> None:
    event = an_event(text)
    line = cef_line(event)
    assert len(line.splitlines()) == 1
    header, extension = read_cef(line)
    assert header[:3] == ["CEF:0", "Consortia", "Consortia"] and header[4] == "study-withdrawn"
    assert extension["msg"] == re.sub(r"\r\n|[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]", "\n", event.message)
    assert set(extension) == {
        *("rt", "dvchost", "externalId", "act", "suser", "outcome", "msg"),
        *("cs1Label", "cs1", "cs2Label", "cs2"),
    }


@given(TEXTS | HOSTILE)
def test_a_header_field_holds_no_bare_pipe_and_no_line_break(text: str) -> None:
    escaped = escape_header(text)
    assert len(f"x{escaped}x".splitlines()) == 1
    assert not re.search(r"(?<!\\)(?:\\\\)*\|", re.sub(r"\\[\\|]", "", escaped))


@given(TEXTS | HOSTILE)
def test_no_value_can_bring_in_a_key_of_its_own(text: str) -> None:
    assert "=" not in re.sub(r"\\[\\=n]", "", escape_value(text))


@given(TEXTS | HOSTILE)
def test_an_ocsf_event_is_one_line_of_json_whatever_it_says(text: str) -> None:
    event = an_event(text)
    line = ocsf_line(event)
    assert "\n" not in line and "\r" not in line
    assert json.loads(line)["message"] == event.message


def an_event(words: str) -> Event:
    at = "2026-11-22T12:00:00Z"
    names = {"kind": "study-withdrawn", "digest": "a" * 64, "issuer": "silo:cleveland"}
    return Event(ORIGIN, 7, LogEntry(**names, study=None, round=None, recorded_at=at), "b" * 64, at, None, words)


def test_every_leaf_is_one_event_with_the_fields_that_the_class_requires(world: World, tmp_path: Path) -> None:
    run_study(world, make_contract(world))
    made = [ocsf_event(event) for event in events(world, tmp_path)]
    assert [event["unmapped"]["leaf"] for event in made] == list(range(len(world.leaves)))
    for event, (entry, _) in zip(made, world.leaves, strict=True):
        required = {"activity_id", "actor", "api", "category_uid", "class_uid", "metadata", "severity_id"}
        assert required | {"src_endpoint", "time", "type_uid"} <= set(event)
        assert (event["class_uid"], event["category_uid"], event["type_uid"]) == (6003, 6, 600301)
        assert {"product", "version"} <= set(event["metadata"]) and event["metadata"]["product"]["vendor_name"]
        assert event["api"]["operation"] == entry.kind and event["actor"]["user"]["uid"] == entry.issuer
        assert event["unmapped"]["digest"] == entry.digest
    assert len({event["metadata"]["uid"] for event in made}) == len(made)


def test_a_withdrawal_says_why_and_weighs_more_than_a_round(world: World, tmp_path: Path) -> None:
    contract = make_contract(world)
    run_study(world, contract)
    reason = "consent=revoked | by the board\\owner"
    world.say(study_statements.StudyWithdrawn, "silo:cleveland", study=study_id(contract), reason=reason)
    *_, closed, last = events(world, tmp_path)
    assert last.message == f"study-withdrawn by silo:cleveland: {reason}"
    assert (closed.severity.value, last.severity.value) == (1, 2)
    assert read_cef(cef_line(last))[1]["msg"] == last.message
    assert ocsf_event(last)["resources"] == [{"type": "study", "uid": study_id(contract)}]


def test_what_the_hub_refused_is_a_failure(world: World, tmp_path: Path) -> None:
    names = {"kind": "refusal", "digest": digest(b"no"), "issuer": "silo:cleveland"}
    entry = LogEntry(**names, study=None, round=None, recorded_at="2026-11-22T12:00:00Z")
    world.leaves.append((entry, b"no"))
    last = events(world, tmp_path)[-1]
    assert (ocsf_event(last)["status_id"], read_cef(cef_line(last))[1]["outcome"]) == (2, "failure")


def test_of_a_log_that_does_not_verify_no_event_is_written(world: World, tmp_path: Path) -> None:
    log, to = tmp_path / "log.jsonl", tmp_path / "events.cef"
    log.write_text("".join(world.export()[:-1]), encoding="utf-8")
    with pytest.raises(AuditFailed):
        convert(log, world.founding, to, cef_line)
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]
