import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies import catalogue
from silo_node.errors import PolicyRefused
from silo_node.policy.document import parse_policy, policy_by_name
from silo_node.policy.source_text import comments, statements

TRICKY = """// a comment; with a semicolon "and a quote
@id("a;b") // after; the annotation

permit (principal, action, resource)
when { "x;\\"y//no" == "z" };
forbid (principal, action, resource); // the end;"""


def test_semicolons_and_slashes_in_strings_and_comments_end_nothing() -> None:
    first, second = statements(TRICKY)
    assert (first.line, second.line) == (2, 6)
    assert first.text.startswith("@id") and first.text.endswith('"z" };')
    assert second.text == "forbid (principal, action, resource);"
    assert comments(TRICKY) == [
        '// a comment; with a semicolon "and a quote',
        "// after; the annotation",
        "// the end;",
    ]


def test_a_statement_without_its_end_is_still_a_statement() -> None:
    assert [one.text for one in statements("permit (a);\n\n forbid (b\n")] == ["permit (a);", "forbid (b\n"]
    assert statements(" // nothing but words\n") == ()


@settings(deadline=None, max_examples=200)
@given(text=st.text(alphabet='";/\\\n a', max_size=40))
def test_statements_stand_in_the_text_on_the_line_that_they_name(text: str) -> None:
    lines = text.split("\n")
    for one in statements(text):
        assert one.text.split("\n")[0] in lines[one.line - 1]
        assert one.text in "\n".join(lines[one.line - 1 :])


@pytest.mark.parametrize("name", catalogue.names())
def test_every_rule_of_a_shipped_set_knows_its_line_and_its_text(name: str) -> None:
    lines = catalogue.policy_text(name).splitlines()
    for rule in policy_by_name(name).rules:
        begun = "\n".join(lines[rule.line - 1 :])
        assert begun.startswith(rule.text)
        assert f'@id("{rule.name}")' in rule.text


PERMIT = '@id("all")\n@reason("All.")\npermit (principal, action, resource);\n\n'
NOTES = '@reason("No.") @found("so it is") @remedy("Change it.")'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f'{PERMIT}@id("no") {NOTES}\nforbid (principal\naction, resource);', "line 5, rule no: Policy parse error"),
        (f'{PERMIT}@id("no") {NOTES}\nforbid (principal, action, resource)', "line 5, rule no: Policy parse error"),
        (f"{PERMIT}forbid (principal, action, resource;", "line 5: Policy parse error"),
        (
            f'{PERMIT}\n@id("no") {NOTES}\nforbid (principal is Study, action, resource) when {{ context.age > 3 }};',
            "line 6, rule no: attribute `age` in context not found",
        ),
        (
            f'{PERMIT}@id("no") {NOTES}\nforbid (principal, action, resource) when {{ context.study.epsilon > 3 }};',
            "line 5, rule no: attribute `study.epsilon` in context not found; code to be run has no such fact: begin "
            "the rule with (principal is Study, action, resource)",
        ),
        (f"{PERMIT}\n\n{NOTES}\nforbid (principal, action, resource);", "line 7: a forbid rule has @id"),
        (f'{PERMIT}@id("no")\n@reason("No.")\nforbid (principal, action, resource);', "line 5, rule no: @found has 0"),
    ],
)
def test_a_fault_is_told_with_its_line_and_rule_and_once(text: str, says: str) -> None:
    with pytest.raises(PolicyRefused) as refused:
        parse_policy(text, "mine.cedar")
    assert str(refused.value).startswith(f"mine.cedar: {says}")
    assert str(refused.value).count("not found") <= 1


CLOSED = PERMIT.replace('@id("all")', '@id("all") @closing("// End.")') + "// forbids\n"


def test_a_set_that_names_its_closing_line_is_refused_without_it() -> None:
    whole = f'{CLOSED}@id("no") {NOTES}\nforbid (principal, action, resource);\n// End.\n'
    assert len(parse_policy(whole, "x").rules) == 2
    with pytest.raises(PolicyRefused, match="rules of your own belong above that line"):
        parse_policy(whole + f'@id("more") {NOTES} forbid (principal, action, resource);', "x")
    for cut in range(whole.index("// End.") + len("// End")):
        with pytest.raises(PolicyRefused):
            parse_policy(whole[:cut], "x")
    with pytest.raises(PolicyRefused, match="cut off or is half-written"):
        parse_policy(CLOSED, "x")


def test_a_closing_line_in_a_string_doesnt_count() -> None:
    with pytest.raises(PolicyRefused, match="half-written"):
        parse_policy(CLOSED + f'@id("no") {NOTES.replace("No.", "// End.")} forbid (principal, action, resource);', "x")
