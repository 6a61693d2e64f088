"""The documents say what is: every path, test, link, command and sample in them is held against the product.

Each check is a function from a text to the faults in it, so that the tests below can also show that it finds some.
"""

import ast
import importlib
import json
import re
import shlex
import tomllib
from functools import cache
from pathlib import Path

import pytest
import yaml
from typer import Exit
from typer.exceptions import TyperException
from typer.main import get_command

from client.__main__ import app as consortia
from client.errors import ClientError
from hub.__main__ import cli as consortia_hub
from hub.config.settings import SETTINGS_FILE
from hub.config.settings import load as load_hub_settings
from hub.errors import SetupRefused
from protocol import translog, words
from protocol.authority import SPEAKERS
from protocol.draft import parse_draft
from protocol.errors import ProtocolError
from protocol.ids import UNPRINTABLE
from protocol.sealing import envelope, parameters, secret, wire
from protocol.statement import Statement
from protocol.statistics_study import StatisticsContract
from protocol.training_study import TrainingContract
from protocol.yaml_draft import load_yaml
from silo_node.__main__ import app as consortia_silo
from silo_node.config import FILE as SILO_FILE
from silo_node.config import load as load_silo_config
from silo_node.dataset.schema import parse_schema
from silo_node.dataset.sources.description import parse_description
from silo_node.errors import SiloError
from silo_node.policy.limits import parse_limits

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
PACKAGES = ("protocol", "hub", "silo_node", "policies", "client", "pages", "compose", "benchmarks")
PATH = re.compile(rf"({'|'.join((*PACKAGES, 'tests', 'docs'))})/[A-Za-z0-9_./-]*(::[A-Za-z0-9_]+)?")
COMMANDS = {
    "consortia": get_command(consortia),
    "consortia-hub": get_command(consortia_hub),
    "consortia-silo": get_command(consortia_silo),
}
SHELL = ("", "sh", "bash", "console", "text")


def name_of(path):
    return str(path.relative_to(ROOT))


@pytest.fixture(autouse=True)
def _spoken_options(monkeypatch):
    """The documents set these once and then leave them out."""
    monkeypatch.setenv("CONSORTIA_HUB", "https://hub.example")
    monkeypatch.setenv("CONSORTIA_KEY", "me.key")
    monkeypatch.setenv("CONSORTIA_CHARTER", "0" * 64)


# ---- reading Markdown


def fences(text):
    """(info word, content) of each fenced block."""
    found = re.findall(r"^([ ]*)```([a-z]*)[^\n]*\n(.*?)^\1```\s*$", text, re.M | re.S)
    return [(info, content) for _, info, content in found]


def prose(text):
    return re.sub(r"^([ ]*)```.*?^\1```\s*$", "", text, flags=re.M | re.S)


def spans(text):
    """Inline code outside fenced blocks."""
    return re.findall(r"(?<!`)`([^`\n]+)`(?!`)", prose(text))


def slug(heading):
    plain = re.sub(r"[`*]", "", heading.strip().lower())
    return re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", plain))


def tables(text, first):
    """The rows, as lists of cells, of every table whose first heading is ``first``."""
    rows, inside = [], False
    for line in prose(text).splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
        if not line.lstrip().startswith("|"):
            inside = False
        elif cells[0] == first:
            inside = True
        elif inside and not set(line) <= set("|-: "):
            rows.append(cells)
    return rows


# ---- what is cited


@cache
def functions_of(path):
    tree = ast.parse(path.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}


def wrong_citations(text):
    faults = []
    for span in spans(text):
        if not PATH.fullmatch(span):
            continue
        path, _, test = span.partition("::")
        if not (ROOT / path).exists():
            faults.append(f"{span}: no such file")
        elif test and test not in functions_of(ROOT / path):
            faults.append(f"{span}: no such function")
    return faults


def wrong_links(text, place):
    faults = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(text)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (place.parent / path).resolve() if path else place
        if not file.exists():
            faults.append(f"{target}: no such file")
        elif anchor and anchor not in {slug(h) for h in re.findall(r"^#+ (.+)$", prose(file.read_text()), re.M)}:
            faults.append(f"{target}: no such heading")
    return faults


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_path_and_test_that_a_document_cites_exists(document):
    assert wrong_citations(document.read_text()) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_link_within_the_repository_leads_somewhere(document):
    assert wrong_links(document.read_text(), document) == []


def test_a_wrong_citation_or_link_is_found():
    here = "`tests/docs/test_documents.py"
    assert wrong_citations(f"`protocol/nothing.py` {here}::test_nothing` {here}`") == [
        "protocol/nothing.py: no such file",
        "tests/docs/test_documents.py::test_nothing: no such function",
    ]
    place = ROOT / "docs" / "index.md"
    assert wrong_links("# One\n[a](nothing.md) [b](index.md#nothing) [c](https://x)", place) == [
        "nothing.md: no such file",
        "index.md#nothing: no such heading",
    ]


# ---- commands


def lines_of_shell(text):
    """Command lines of the fenced shell blocks, continued lines joined, prompts taken off."""
    for info, content in fences(text):
        if info in SHELL:
            for line in content.replace("\\\n", " ").splitlines():
                yield line.strip().removeprefix("$ ")


def wrong_command(line):
    """What is wrong with a whole command line of ours, or None."""
    words_of_line = shlex.split(line, comments=True)
    arguments = words_of_line[1 : words_of_line.index(">") if ">" in words_of_line else None]
    command = COMMANDS[words_of_line[0]]
    while hasattr(command, "commands") and arguments != ["--help"]:
        if getattr(command, "invoke_without_command", False) and (not arguments or arguments[0].startswith("-")):
            break
        if not arguments or arguments[0] not in command.commands:
            return f"{line}: no such command"
        command = command.commands[arguments.pop(0)]
    try:
        command.make_context(command.name, arguments)
    except Exit:
        return None  # --help
    except (TyperException, ValueError) as problem:
        return f"{line}: {getattr(problem, 'message', None) or type(problem).__name__}"
    return None


def wrong_commands(text):
    faults = []
    for line in lines_of_shell(text):
        first = line.split(" ")[0]
        if first in COMMANDS:
            faults.append(wrong_command(line))
        elif first == "make":
            targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M)
            faults += [
                f"{line}: no target {word}" for word in shlex.split(line, comments=True)[1:] if word not in targets
            ]
        elif line.startswith("python -m "):
            module = line.split()[2]
            if module.split(".")[0] in PACKAGES:
                exists = any((ROOT / f"{module.replace('.', '/')}{end}").exists() for end in (".py", "/__main__.py"))
                faults.append(None if exists else f"{line}: no such module")
    return [fault for fault in faults if fault]


def wrong_mentions(text):
    """Commands named in a sentence: they may be cut short, but each word and option must be there."""
    faults = []
    for span in spans(text):
        first, *rest = span.split()
        if first not in COMMANDS or not rest or not re.fullmatch(r"[a-z-]+", rest[0]):
            continue
        command = COMMANDS[first]
        while rest and hasattr(command, "commands"):
            word = rest.pop(0)
            if word not in command.commands:
                faults.append(f"{span}: no such command")
                break
            command = command.commands[word]
        known = {option for parameter in command.params for option in parameter.opts}
        faults += [f"{span}: no option {word}" for word in rest if word.startswith("--") and word not in known]
    return faults


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_command_line_shown_is_one_that_the_product_takes(document):
    assert wrong_commands(document.read_text()) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_command_named_in_a_sentence_exists(document):
    assert wrong_mentions(document.read_text()) == []


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("consortia study begin draft.yaml", "no such command"),
        ("consortia study propose draft.yaml --charge 3", "No such option"),
        ("consortia study propose", "Missing"),
        ("consortia admin add-person a.card.json --role king", "king"),
        ("consortia-silo dataset add heart --rows many", "integer"),
        ("make nothing", "no target nothing"),
        ("python -m benchmarks.nothing", "no such module"),
    ],
)
def test_a_wrong_command_line_is_found(line, fault):
    (found,) = wrong_commands(f"```sh\n{line}\n```\n")
    assert re.search(fault, found), found


def test_a_right_command_line_is_let_pass_and_a_wrong_mention_found():
    assert wrong_commands("```sh\n$ consortia study propose \\\n    draft.yaml --json  # a remark\n```\n") == []
    assert wrong_mentions("`consortia study begin` and `consortia study list --all`") == [
        "consortia study begin: no such command",
        "consortia study list --all: no option --all",
    ]


# ---- samples


def wrong_sample(info, content, folder):
    """What the product's own parser says against a YAML, TOML, JSON or Python block, or None."""
    try:
        if info == "yaml":
            _read_yaml(content)
        elif info == "toml":
            _read_toml(content, folder)
        elif info == "json":
            json.loads(content)
        elif info == "python":
            _read_python(content)
    except (
        ClientError,
        ProtocolError,
        SiloError,
        SetupRefused,
        ValueError,
        SyntaxError,
        ImportError,
        AttributeError,
    ) as problem:
        return f"{type(problem).__name__}: {problem}"
    return None


SAMPLE = ROOT / "docs" / "samples" / "heart.yaml"


def _read_yaml(content):
    value = yaml.safe_load(content)
    if "format" not in value:  # clauses of a draft, to be put in the place of the sample's
        parse_draft(json.dumps(load_yaml(SAMPLE.read_bytes()) | value).encode())
        return
    kind = value["format"]
    if kind == "consortia-source/1":
        parse_description(content, "sample")
    elif kind == "consortia-schema/1":
        parse_schema(content, "the sample")
    elif kind == "consortia-draft/1":
        parse_draft(content.encode())
    else:
        raise ValueError(f"nothing reads the format {kind}")


def _read_toml(content, folder):
    fields = tomllib.loads(content)
    if "log_origin" in fields:
        (folder / SETTINGS_FILE).write_text(content)
        load_hub_settings(folder)
    elif "hub_url" in fields:
        (folder / SILO_FILE).write_text(content)
        load_silo_config(folder)
    else:
        parse_limits(content, "the sample")


def _read_python(content):
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module)
            for alias in node.names:
                getattr(module, alias.name)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_sample_shown_is_read_by_the_product_itself(document, tmp_path):
    found = [wrong_sample(info, content, tmp_path) for info, content in fences(document.read_text())]
    assert [fault for fault in found if fault] == []


@pytest.mark.parametrize("sample", sorted((ROOT / "docs" / "samples").glob("*.yaml")), ids=name_of)
def test_every_sample_file_is_read_by_the_product_itself(sample, tmp_path):
    assert wrong_sample("yaml", sample.read_text(), tmp_path) is None


@pytest.mark.parametrize(
    ("info", "content"),
    [
        ("yaml", "format: consortia-schema/1\ntitle: No columns\n"),
        ("yaml", "format: consortia-draft/1\nepsilon: 1\n"),
        ("yaml", "format: another/1\n"),
        ("toml", 'purposes = ["world-domination"]\n'),
        ("toml", 'log_origin = "a/b"\nconsortium = "c"\nhost = "0.0.0.0"\n'),
        ("toml", 'silo = "mercy"\nhub_url = "https://hub.example"\ncharter = "short"\n'),
        ("json", "{"),
        ("python", "from client import Confederation\n"),
    ],
)
def test_a_sample_that_the_product_refuses_is_found(info, content, tmp_path):
    assert wrong_sample(info, content, tmp_path) is not None


# ---- tables that repeat what stands in the code


@cache
def texts_in_the_code():
    """Every text constant of the product, with "..." where a value is filled in."""
    texts = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    texts.add(node.value)
                elif isinstance(node, ast.JoinedStr):
                    texts.add("".join(p.value if isinstance(p, ast.Constant) else "..." for p in node.values))
    return texts


def unknown_messages(text):
    """Messages of troubleshooting tables that nothing in the product says."""
    rows = tables(text, "Message")
    shown = [message for row in rows for message in re.findall(r"`([^`]+)`", row[0])]
    return [message for message in shown if not any(message in known for known in texts_in_the_code())]


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_message_in_a_troubleshooting_table_is_one_that_the_product_says(document):
    assert unknown_messages(document.read_text()) == []


def test_a_message_that_nobody_says_is_found():
    rows = ("| Message | Do |", "|---|---|", "| `the moon is full` | wait |", "| `join a consortium first` | join |")
    text = "\n".join(rows)
    assert unknown_messages(text) == ["the moon is full"]


def test_the_statements_in_the_protocol_document_are_those_of_the_code():
    rows = tables((ROOT / "docs" / "protocol.md").read_text(), "Statement")
    told = {row[0].strip("`"): (row[1], re.findall(r"`([a-z0-9_]+)`", row[2])) for row in rows}
    fixed = {"type", *Statement.model_fields}
    made = {}
    for kind in _subclasses(Statement):
        (name,) = kind.model_fields["type"].annotation.__args__
        made[name] = (SPEAKERS[name], [field for field in kind.model_fields if field not in fixed])
    assert told == made


def _subclasses(kind):
    return [kind for kind in kind.__subclasses__() if "type" in kind.model_fields]


def test_the_constants_in_the_protocol_document_are_those_of_the_code():
    rows = tables((ROOT / "docs" / "protocol.md").read_text(), "Constant")
    told = {row[0].strip("`"): row[1].replace(",", "").strip("`") for row in rows}
    made = {
        "Q": parameters.CIPHER_MODULUS,
        "t": parameters.PLAIN_MODULUS,
        "degree": parameters.RING_DEGREE,
        "coefficient bits": parameters.COEFFICIENT_BITS,
        "data slots": parameters.DATA_SLOTS,
        "count slot": parameters.COUNT_SLOT,
        "most terms": parameters.MAX_TERMS,
        "ciphertexts a chunk": parameters.CIPHERTEXTS_PER_CHUNK,
        "polynomial bytes": parameters.POLYNOMIAL_BYTES,
        "seed bytes": parameters.SEED_BYTES,
        "tag bytes": parameters.TAG_BYTES,
        "upload record bytes": wire.chunk_type(1).itemsize,
        "sum record bytes, 4 survivors": wire.chunk_type(4).itemsize,
        "study secret bytes": secret.SECRET_BYTES,
        "envelope overhead bytes": envelope.OVERHEAD_BYTES,
        "public receiving key bytes": envelope.PUBLIC_KEY_BYTES,
        "private receiving key bytes": envelope.PRIVATE_KEY_BYTES,
        "word consonants": words.CONSONANTS,
        "word vowels": words.VOWELS,
    }
    assert told == {name: str(value) for name, value in made.items()}


def test_the_characters_that_no_text_may_hold_are_those_of_the_code():
    (told,) = re.findall(r"^Texts that people read .*?\n\n", (ROOT / "docs" / "protocol.md").read_text(), re.M | re.S)
    refused = set()
    for first, last in re.findall(r"U\+([0-9A-F]{4,6})(?:\s+to\s+U\+([0-9A-F]{4,6}))?", told):
        refused |= set(range(int(first, 16), int(last or first, 16) + 1))
    assert refused == {code for code in range(0x110000) if re.match(f"[{UNPRINTABLE}]", chr(code))}


def test_the_fields_of_a_leaf_and_of_a_contract_are_all_named_in_the_protocol_document():
    named = set(spans((ROOT / "docs" / "protocol.md").read_text()))
    assert set(translog.LogEntry.model_fields) - named == set()
    for kind in (TrainingContract, StatisticsContract):
        assert set(kind.model_fields) - named == set()


# ---- the set of documents


def test_decisions_are_numbered_without_a_gap_and_say_context_decision_and_cost():
    records = sorted((ROOT / "docs" / "adr").glob("*.md"))
    assert [int(path.name[:4]) for path in records] == list(range(1, len(records) + 1))
    assert len(records) >= 10
    for path in records:
        headings = re.findall(r"^## (.+)$", path.read_text(), re.M)
        assert headings == ["Context", "Decision", "Cost"], path.name


def test_every_document_can_be_reached_from_the_index_or_the_readme():
    starts = [ROOT / "README.md", ROOT / "docs" / "index.md"]
    linked = {
        (start.parent / link).resolve() for start in starts for link in re.findall(r"\]\(([^)#\s]+)", start.read_text())
    }
    assert set(DOCUMENTS) - linked - set(starts) == set()


def test_each_row_of_the_threat_model_names_a_test_or_says_what_is_missing():
    rows = tables((ROOT / "docs" / "threat-model.md").read_text(), "Attempt")
    assert len(rows) > 20
    assert [row[0] for row in rows if "::test_" not in row[2] and not row[3]] == []
