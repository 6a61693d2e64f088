import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from silo_node.policy.facts import Asked, Bounds, Facts, Held

HERE = Path(__file__).parent
PARTS: dict[str, type[Any]] = {"study": Asked, "dataset": Held, "limits": Bounds}


def _part(kind: type[Any], values: Any) -> Any:
    if not isinstance(values, dict):
        return values
    return kind(**{name: frozenset(value) if isinstance(value, list) else value for name, value in values.items()})


@pytest.fixture(scope="session")
def facts_with() -> Callable[[dict[str, Any]], Facts]:
    """Makes the facts of facts.yaml with some changed, named by dotted paths."""
    base = yaml.safe_load((HERE / "facts.yaml").read_text())

    def make(changes: dict[str, Any]) -> Facts:
        raw = copy.deepcopy(base)
        for path, value in changes.items():
            *parents, name = path.split(".")
            target = raw[parents[0]] if parents else raw
            assert name in target, f"{path} is no fact"
            target[name] = value
        return Facts(**{name: _part(PARTS[name], value) if name in PARTS else value for name, value in raw.items()})

    return make
