"""The owner's own numbers: one small TOML file, which allows nothing that it doesn't name."""

import json
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from policies import catalogue
from protocol.clauses import Purpose
from protocol.ids import ColumnName, DatasetName, PersonId, SiloId
from protocol.study import explain
from silo_node.errors import PolicyRefused
from silo_node.policy.owner_file import read_owner_file

CLOSING: Final = "# End of the limits."
"""The last line of every limits file: a file that was cut off while it was saved grants less than its owner meant, and
would make the silo leave studies that keep within the limits."""

Mode = Literal["ask", "within-limits"]
"""Whether a person decides each time, or whatever keeps within the limits is granted."""


class OwnerLimits(BaseModel):
    """What the data owner allows. A file with no line but its last grants nothing to anyone."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    purposes: tuple[Purpose, ...] = ()
    recipients: Literal["charter"] | tuple[PersonId, ...] = ()
    """``charter``: whoever stands in the consortium's charter; or some of them, by name."""
    columns: dict[DatasetName, Literal["registered"] | tuple[ColumnName, ...]] = {}
    """The columns granted, by dataset; ``registered``: all that the owner registered."""
    max_epsilon: Annotated[float, Field(ge=0, le=100)] = 0.0
    ask_epsilon: Annotated[float, Field(ge=0, le=100)] | None = None
    """Above this a person decides, whatever ``accept`` says; None: ``accept`` alone says who decides."""
    max_delta: Annotated[float, Field(ge=0, lt=0.1)] = 0.0
    min_rows: Annotated[int, Field(ge=1, le=10**10)] = 100
    min_silos: Annotated[int, Field(ge=3, le=256)] = 3
    min_quorum: Annotated[int, Field(ge=3, le=256)] = 3
    min_approvals: Annotated[int, Field(ge=1, le=256)] = 2
    max_days: Annotated[int, Field(ge=0, le=3650)] = 365
    peers: Literal["charter"] | tuple[SiloId, ...] = "charter"
    """The silos that the owner knows as independent institutions; ``charter``: all members, as the admin vouches."""
    accept: Mode = "ask"
    release: Mode = "ask"


def independent(limits: OwnerLimits, silo: str, silos: Iterable[str]) -> list[str]:
    """Those of ``silos`` other than ``silo`` that its owner knows as independent."""
    return [name for name in silos if name != silo and (limits.peers == "charter" or name in limits.peers)]


def parse_limits(text: str, origin: str) -> OwnerLimits:
    """The limits in a TOML text. Raises ``PolicyRefused``, which names ``origin`` and every wrong field."""
    if text.rstrip().splitlines()[-1:] != [CLOSING]:
        raise PolicyRefused(
            f"{origin}: doesn't end with the line {json.dumps(CLOSING)}. The file was cut off or is half-written: save "
            "it whole, with that line at its end"
        )
    try:
        # By way of JSON: strict validation then still takes a TOML array for a tuple, and nothing else for it.
        return OwnerLimits.model_validate_json(json.dumps(tomllib.loads(text), allow_nan=False))
    except tomllib.TOMLDecodeError as problem:
        raise PolicyRefused(f"{origin}: is no TOML: {problem}") from None
    except ValidationError as problem:
        raise PolicyRefused(f"{origin}: {explain(problem)}") from None
    except (TypeError, ValueError):
        raise PolicyRefused(f"{origin}: holds a date or a number that isn't finite; no limit is either") from None


def load_limits(path: Path) -> OwnerLimits:
    """The limits in the owner's file. Raises ``PolicyRefused`` for a file that can't be used."""
    return parse_limits(read_owner_file(path), str(path))


def limits_by_name(name: str) -> OwnerLimits:
    """The limits that ship with a policy set. Raises ``PolicyRefused`` for an unknown name."""
    try:
        return parse_limits(catalogue.limits_text(name), f"limits of {name}")
    except LookupError as problem:
        raise PolicyRefused(str(problem.args[0])) from None
