"""A study in a file, before anyone has signed it: a contract, or the draft that a contract is made from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from protocol.calibration import contract_of
from protocol.draft import parse_draft
from protocol.errors import DraftRefused, Malformed
from protocol.study import StudyContract, parse_contract
from protocol.yaml_draft import load_yaml
from silo_node.errors import PolicyRefused
from silo_node.policy.owner_file import MAX_FILE_BYTES

CONTRACT: Final = "consortia-study/1"
DRAFT: Final = "consortia-draft/1"
UNKNOWN_ROWS: Final = 10_000
"""For the draft of a study on a dataset that isn't registered here; the rules refuse it for that."""


def read_study(path: Path, silo: str, published: Mapping[str, int]) -> StudyContract:
    """The contract in ``path`` (JSON or YAML), or the one that the draft in it makes.

    A draft leaves open how many rows each silo published: every silo is taken to have ``published`` as many of the
    dataset as this one did. No number that a policy sees depends on the others' counts. Raises ``PolicyRefused`` for
    a file that is neither, or doesn't name ``silo``.
    """
    try:
        contract = _parsed(_read(path), published)
    except (Malformed, DraftRefused) as problem:
        raise PolicyRefused(f"{path}: {problem}") from None
    if silo not in contract.silo_names:
        raise PolicyRefused(f"{path}: names {', '.join(contract.silo_names)}, not this silo, {silo}; add it to silos")
    return contract


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as problem:
        raise PolicyRefused(f"{path}: can't be read: {problem.strerror}") from None
    if len(data) > MAX_FILE_BYTES:
        raise PolicyRefused(f"{path}: has more than {MAX_FILE_BYTES} bytes, a study's file is smaller")
    return data


def _parsed(data: bytes, published: Mapping[str, int]) -> StudyContract:
    value = load_yaml(data)
    kind = value.get("format") if isinstance(value, dict) else None
    if kind == CONTRACT:
        return parse_contract(value)
    if kind == DRAFT:
        draft = parse_draft(data)
        rows = published.get(draft.data.dataset, UNKNOWN_ROWS)
        return contract_of(draft, {one.silo: rows for one in draft.silos})
    raise Malformed(f"format: is neither {CONTRACT} nor {DRAFT}; name the contract's file or the draft's")
