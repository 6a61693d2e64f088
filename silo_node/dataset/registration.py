"""What an owner registers a dataset as, and what reading its source through found.

A registration is final: terms and published row counts are fixed with it (privacy.md). What the source holds may be
renewed under the same terms.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from protocol.clauses import Unit
from protocol.ids import DatasetName, Digest, DomainName, Strict, Timestamp
from protocol.study import explain
from silo_node.dataset.schema import Schema
from silo_node.errors import DatasetRefused

Found = Literal["trained", "held out", "absent", "unreadable"]
"""Where a person's rows are in a dataset, for a study that holds out a share of it."""


class Registration(Strict):
    """What an owner registers. ``published_rows`` is typed by the owner, and is all that others learn of the count."""

    name: DatasetName
    source: Annotated[str, Field(min_length=1, max_length=4096)]
    declared: Schema
    domain: DomainName
    unit: Unit
    epsilon: Annotated[float, Field(gt=0, le=100)]
    delta: Annotated[float, Field(gt=0, lt=0.1)]
    order: Annotated[int, Field(ge=2, le=256)]
    published_rows: Annotated[int, Field(ge=1, le=10**10)]


class Dataset(Registration):
    """A registered dataset: ``commitment`` is the keyed digest of schema and source.

    ``lists_opt_outs``: its domain has a list of opt-outs, and without that list nothing is read. ``lists_persons``: all
    subjects that it ever held stand in its domain's register of persons.
    """

    format: Literal["consortia-dataset/1"]
    commitment: Digest
    added_at: Timestamp
    renewed_at: Timestamp | None = None
    lists_opt_outs: bool = False
    lists_persons: bool = False


@dataclass(frozen=True, slots=True, repr=False)
class Checked:
    """What a full reading of a source found. All but ``commitment`` is private: for the owner's eyes only.

    ``persons`` are the tags of its subjects, see ``silo_node.dataset.persons``; empty where no column names them.
    """

    commitment: str
    rows: int
    clamped: dict[str, int]
    left_out: int = 0
    profile: dict[str, Any] = field(default_factory=dict)
    persons: bytes = b""

    def __repr__(self) -> str:
        return f"Checked(commitment={self.commitment!r}, counts redacted)"


def default_unit(schema: Schema) -> Unit:
    """``subject`` wherever a subject column exists."""
    return "record" if schema.subject is None else "subject"


def register(
    name: str,
    source: Path,
    schema: Schema,
    domain: str,
    epsilon: float,
    delta: float,
    order: int,
    published_rows: int,
    unit: Unit | None = None,
) -> Registration:
    """A registration from an owner's words. Raises ``DatasetRefused`` naming each field that is wrong."""
    try:
        return Registration(
            name=name,
            source=str(source.absolute()),
            declared=schema,
            domain=domain,
            unit=unit or default_unit(schema),
            epsilon=epsilon,
            delta=delta,
            order=order,
            published_rows=published_rows,
        )
    except ValidationError as error:
        raise DatasetRefused(f"dataset registration refused: {explain(error)}") from None
