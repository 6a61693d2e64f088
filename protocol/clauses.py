"""The clauses of every study contract, whatever is computed: what for, by whom, of whom, at which price, until when.

A kind of study (``protocol.training_study``) adds what it computes to them. Hub and record rest on these alone.
Nothing here may depend on private data: row counts are the published ones, clamps come from the schema.
"""

from abc import ABC, abstractmethod
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from protocol import accounting
from protocol.errors import Malformed
from protocol.ids import ColumnName, DatasetName, PersonId, Printable, Sentence, SiloId, Strict, Timestamp
from protocol.precision import Packing, check_precision

Unit = Literal["record", "subject"]
Purpose = Literal["medical-research", "quality-improvement", "fraud-detection", "risk-modelling", "method-research"]


class Column(Strict):
    """A column the study reads. Values are clamped to [minimum, maximum] before anything is computed."""

    name: ColumnName
    kind: Literal["number", "binary"]
    minimum: float
    maximum: float
    unit: Annotated[Printable, Field(max_length=40)] = ""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.minimum < self.maximum:
            raise ValueError(f"column {self.name}: minimum {self.minimum} must be below maximum {self.maximum}")
        if self.kind == "binary" and (self.minimum, self.maximum) != (0.0, 1.0):
            raise ValueError(f"column {self.name}: a binary column runs from 0 to 1")
        return self


class DataRead(Strict, ABC):
    """Which dataset, by the name all silos registered it under; a kind of study says which of its columns."""

    dataset: DatasetName

    @property
    @abstractmethod
    def columns(self) -> tuple[Column, ...]:
        """Every column that the study reads."""


class Privacy(Strict):
    """What the whole study may cost a person at each silo: (epsilon, delta) for one unit.

    ``order`` is the Renyi order at which the noise multipliers below were calibrated; a silo charges at
    its own domain's order whatever stands here.
    """

    unit: Unit
    epsilon: Annotated[float, Field(gt=0, le=100)]
    delta: Annotated[float, Field(gt=0, lt=0.1)]
    order: Annotated[int, Field(ge=2, le=256)]


class SiloTerms(Strict):
    """A silo that is asked. ``rows`` is the number its owner published, never the private one."""

    silo: SiloId
    rows: Annotated[int, Field(ge=1, le=10**10)]


class Schedule(Strict):
    """How many silos a sum needs, and how long a silo has for each step of a round, in seconds."""

    quorum: Annotated[int, Field(ge=3, le=256)]
    step_timeout_s: Annotated[int, Field(ge=1, le=7 * 86_400)]


class ReleaseRule(Strict):
    """How many silos must approve, and each confirm the same bytes, before a recipient gets the result."""

    approvals: Annotated[int, Field(ge=1, le=256)]


class Clauses(Strict, ABC):
    """Changing a comma makes a new study."""

    format: Literal["consortia-study/1"]
    title: Sentence
    purpose: Purpose
    description: Sentence
    legal_basis: Sentence
    kind: str
    lead: PersonId
    recipients: Annotated[tuple[PersonId, ...], Field(min_length=1, max_length=32)]
    expires_at: Timestamp
    data: DataRead
    privacy: Privacy
    silos: Annotated[tuple[SiloTerms, ...], Field(min_length=3, max_length=256)]
    sealing: Packing
    schedule: Schedule
    release: ReleaseRule

    @model_validator(mode="after")
    def _agreeing(self) -> Self:
        _check_silos(self)
        check_precision(self.sealing, len(self.silos))
        return self

    @abstractmethod
    def cost(self, silo: str, order: int) -> int:
        """What the whole study costs ``silo`` at ``order``, in 1e-12 of Renyi divergence."""

    @property
    def silo_names(self) -> tuple[str, ...]:
        return tuple(terms.silo for terms in self.silos)

    def terms_of(self, silo: str) -> SiloTerms:
        for terms in self.silos:
            if terms.silo == silo:
                return terms
        raise Malformed(f"silo {silo} is not named in the contract")


def _check_silos(clauses: Clauses) -> None:
    names = clauses.silo_names
    if len(set(names)) != len(names):
        raise ValueError("silos: each silo may stand in the table once")
    n, q = len(names), clauses.schedule.quorum
    # sealed-sum.md: below these an honest term could be had by subtraction from totals of two quorums.
    if q > n or 2 * q < n + 2:
        least = max(3, (n + 3) // 2)
        raise ValueError(f"schedule.quorum: {q} of {n} silos; it must be at most {n} and at least {least}")
    if clauses.release.approvals > n:
        raise ValueError(f"release.approvals: {clauses.release.approvals} of {n} silos")
    if len(set(clauses.recipients)) != len(clauses.recipients):
        raise ValueError("recipients: each may be named once")


def check_cost(clauses: Clauses) -> None:
    """Raises ``ValueError`` unless the whole study fits the epsilon it states, at every silo."""
    privacy = clauses.privacy
    allowed = accounting.budget(privacy.epsilon, privacy.delta, privacy.order)
    for terms in clauses.silos:
        cost = clauses.cost(terms.silo, privacy.order)
        if cost > allowed:
            raise ValueError(
                f"privacy: at silo {terms.silo} the study's rounds cost {cost} of {allowed} allowed by epsilon "
                f"{privacy.epsilon}, delta {privacy.delta} at order {privacy.order} (units of 1e-12); "
                "raise the noise multipliers or run fewer steps"
            )
