import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from silo_node.policy.question import Asked, AskedOfCode, Bounds, CodeFacts, Facts, Held

HERE = Path(__file__).parent
PARTS: dict[str, type[Any]] = {"dataset": Held, "limits": Bounds}


def _part(kind: type[Any], values: Any) -> Any:
    if not isinstance(values, dict):
        return values
    return kind(**{name: frozenset(value) if isinstance(value, list) else value for name, value in values.items()})


def _maker(file: str, kind: type[Any], asked: type[Any]) -> Callable[[dict[str, Any]], Any]:
    """Makes the facts of ``file`` with some changed, named by dotted paths."""
    base, parts = yaml.safe_load((HERE / file).read_text()), {**PARTS, "study": asked}

    def make(changes: dict[str, Any]) -> Any:
        raw = copy.deepcopy(base)
        for path, value in changes.items():
            *parents, name = path.split(".")
            target = raw[parents[0]] if parents else raw
            assert name in target, f"{path} is no fact"
            target[name] = value
        return kind(**{name: _part(parts[name], value) if name in parts else value for name, value in raw.items()})

    return make


@pytest.fixture(scope="session")
def facts_with() -> Callable[[dict[str, Any]], Facts]:
    return _maker("facts.yaml", Facts, Asked)


@pytest.fixture(scope="session")
def code_with() -> Callable[[dict[str, Any]], CodeFacts]:
    return _maker("code.yaml", CodeFacts, AskedOfCode)
