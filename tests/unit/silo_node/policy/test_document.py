import hashlib
from pathlib import Path

import pytest

from policies import catalogue
from silo_node.errors import PolicyRefused
from silo_node.policy.document import parse_policy, policy_by_name, policy_from_file

PERMIT = '@id("all") @reason("All.") permit (principal, action, resource);\n'
WHEN = "forbid (principal, action, resource) when"
NOTES = '@reason("No.") @found("so it is") @remedy("Change it.")'


@pytest.mark.parametrize("name", catalogue.names())
def test_every_shipped_policy_loads_and_is_named_by_the_digest_of_its_text(name: str) -> None:
    document = policy_by_name(name)
    assert document.digest == hashlib.sha256(catalogue.policy_text(name).encode()).hexdigest()
    assert document.text == catalogue.policy_text(name)


def test_the_baseline_is_shipped() -> None:
    assert "baseline" in catalogue.names()


def test_rules_stand_in_the_order_of_the_text() -> None:
    document = policy_by_name("baseline")
    assert len(document.rules) > 10
    places = [document.text.index(f'@id("{rule.name}")') for rule in document.rules]
    assert places == sorted(places)


@pytest.mark.parametrize("name", ["none", "../baseline", "baseline/", "", "__pycache__"])
def test_an_unknown_name_is_refused_with_those_that_exist(name: str) -> None:
    with pytest.raises(PolicyRefused, match="there are: bank, baseline"):
        policy_by_name(name)


def test_a_file_of_the_owners_loads_like_a_shipped_one(tmp_path: Path) -> None:
    path = tmp_path / "mine.cedar"
    path.write_text(catalogue.policy_text("baseline"))
    assert policy_from_file(path).rules == policy_by_name("baseline").rules


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no permit"),
        ("permit (", "unexpected end of input"),
        ("permit (principal, action, resource);", '@id\\(""\\)'),
        ('@id("Not A Name") @reason("x") permit (principal, action, resource);', "@id"),
        ('@id("all") permit (principal, action, resource);', "rule all: @reason has 0 characters"),
        (PERMIT + PERMIT, "@id given twice: all"),
        (PERMIT + '@id("no") @reason("No.") forbid (principal, action, resource);', "rule no: @found"),
        (PERMIT + f'@id("no") {NOTES} {WHEN} {{ context.age > 3 }};', "age"),
        (PERMIT + f'@id("no") {NOTES} {WHEN} {{ context.now > "x" }};', "String|Long"),
        (PERMIT + f'@id("no") {NOTES} forbid (principal, action == Action::"sell", resource);', "sell"),
        (PERMIT + f'@id("no") @hold {NOTES} forbid (principal, action, resource);', "rule no: @hold"),
        ('@id("all") @hold @reason("All.") permit (principal, action, resource);', "rule all: @hold"),
        ('@id("all") @reason("All.") permit (principal == ?principal, action, resource);', "template"),
        ('@id("all") @reason("At most {limit}.") permit (principal, action, resource);', r"\['limit'\] in braces"),
        (f'@id("all") @reason("{"x" * 401}") permit (principal, action, resource);', "401 characters"),
        (PERMIT + f'@id("no") {NOTES} {WHEN} {{ context.private_rows < 9 }};', "private_rows"),
    ],
)
def test_a_policy_that_cannot_be_used_is_refused_by_file_and_fault(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.cedar"
    path.write_text(text)
    with pytest.raises(PolicyRefused, match=says) as refused:
        policy_from_file(path)
    assert str(path) in str(refused.value)


def test_a_policy_file_that_anyone_may_change_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.cedar"
    path.write_text(PERMIT)
    path.chmod(0o666)
    with pytest.raises(PolicyRefused, match="chmod o-w"):
        policy_from_file(path)
    path.chmod(0o600)
    assert policy_from_file(path).rules[0].name == "all"


def test_files_that_cannot_be_read_as_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyRefused, match="No such file"):
        policy_from_file(tmp_path / "none.cedar")
    with pytest.raises(PolicyRefused, match="is no file"):
        policy_from_file(tmp_path)
    path = tmp_path / "mine.cedar"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(PolicyRefused, match="UTF-8"):
        policy_from_file(path)
    path.write_bytes(b" " * (1024 * 1024 + 1))
    with pytest.raises(PolicyRefused, match="1048577 bytes"):
        policy_from_file(path)


def test_a_changed_comma_changes_the_digest() -> None:
    assert parse_policy(PERMIT, "a").digest != parse_policy(PERMIT + " ", "a").digest
