"""The study contract: one immutable document, named by its digest, with all a data owner has to weigh.

Everything a silo computes in a study is a function of this document, its own rows and its own noise.
Nothing here may depend on private data: row counts are the published ones, clamps come from the schema.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from protocol import accounting, canonical
from protocol.errors import Malformed
from protocol.graph_plan import Plan
from protocol.ids import (
    ColumnName,
    DatasetName,
    PersonId,
    Printable,
    Sentence,
    SiloId,
    Strict,
    StudyId,
    Timestamp,
)
from protocol.model import Model, plan_model, require_weights
from protocol.model_families import graph_of
from protocol.precision import Sealing, check_precision
from protocol.spend import Event, Gaussian, SampledGaussian

Unit = Literal["record", "subject"]
Purpose = Literal["medical-research", "quality-improvement", "fraud-detection", "risk-modelling", "method-research"]

MAX_ROUNDS = 10_000


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


class DataRequirement(Strict):
    """Which dataset, by the name all silos registered it under, and which of its columns."""

    dataset: DatasetName
    features: Annotated[tuple[Column, ...], Field(min_length=1, max_length=10_000)]
    target: Column

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [column.name for column in (*self.features, self.target)]
        if len(set(names)) != len(names):
            raise ValueError("data: column names must be distinct, and the target none of the features")
        if self.target.kind != "binary":
            raise ValueError(f"data: target {self.target.name} must be binary")
        return self


class Privacy(Strict):
    """What the whole study may cost a person at each silo: (epsilon, delta) for one unit.

    ``order`` is the Renyi order at which the noise multipliers below were calibrated; a silo charges at
    its own domain's order whatever stands here.
    """

    unit: Unit
    epsilon: Annotated[float, Field(gt=0, le=100)]
    delta: Annotated[float, Field(gt=0, lt=0.1)]
    order: Annotated[int, Field(ge=2, le=256)]


class Normalisation(Strict):
    """A sealed, noised sum of each column's values and squares over the training rows.

    A record's vector (values mapped to [-1, 1], then squares) is clipped to L2 norm ``clip``; Gaussian
    noise of standard deviation ``noise_multiplier * clip`` is added at each silo.
    """

    columns: Annotated[tuple[ColumnName, ...], Field(min_length=1)]
    clip: Annotated[float, Field(gt=0, le=1000)]
    noise_multiplier: Annotated[float, Field(ge=0.3, le=10_000)]


class Training(Strict):
    """FedAvg (McMahan et al., 2017) of DP-SGD steps (Abadi et al., 2016) with Poisson sampling.

    The gradient of a step is (clipped sum + noise of deviation noise_multiplier * clip) / normaliser.
    The released model is the mean of the states after each of the last ``averaged_rounds`` rounds.
    """

    rounds: Annotated[int, Field(ge=1, le=MAX_ROUNDS)]
    local_steps: Annotated[int, Field(ge=1, le=1000)]
    learning_rate: Annotated[float, Field(gt=0, le=100)]
    weight_decay: Annotated[float, Field(ge=0, le=1)]
    clip: Annotated[float, Field(gt=0, le=1000)]
    noise_multiplier: Annotated[float, Field(ge=0.3, le=10_000)]
    averaged_rounds: Annotated[int, Field(ge=1, le=MAX_ROUNDS)]

    @model_validator(mode="after")
    def _within(self) -> Self:
        if self.averaged_rounds > self.rounds:
            raise ValueError(f"averaged_rounds {self.averaged_rounds} must be at most rounds {self.rounds}")
        return self


class Evaluation(Strict):
    """Two noised counts a silo, right and wrong, over the held-out share of its rows."""

    test_share: Annotated[float, Field(gt=0, lt=0.9)]
    noise_multiplier: Annotated[float, Field(ge=0.3, le=10_000)]


class SiloTerms(Strict):
    """The constants of one silo. ``rows`` is the number its owner published, never the private one."""

    silo: SiloId
    rows: Annotated[int, Field(ge=1, le=10**10)]
    sampling_rate: Annotated[float, Field(gt=0, le=1)]
    weight: Annotated[float, Field(gt=0, le=0.5)]
    normaliser: Annotated[float, Field(ge=1, le=10**10)]
    """What the noised sum of clipped gradients is divided by: the expected batch from published counts."""


class Schedule(Strict):
    """How many silos a sum needs, and how long a silo has for each step of a round, in seconds."""

    quorum: Annotated[int, Field(ge=3, le=256)]
    step_timeout_s: Annotated[int, Field(ge=1, le=7 * 86_400)]


class ReleaseRule(Strict):
    """How many silos must approve, and each confirm the same bytes, before a recipient gets the model."""

    approvals: Annotated[int, Field(ge=1, le=256)]


class StudyContract(Strict):
    """Changing a comma makes a new study."""

    format: Literal["consortia-study/1"]
    title: Sentence
    purpose: Purpose
    description: Sentence
    legal_basis: Sentence
    kind: Literal["training"]
    lead: PersonId
    recipients: Annotated[tuple[PersonId, ...], Field(min_length=1, max_length=32)]
    expires_at: Timestamp
    data: DataRequirement
    privacy: Privacy
    normalisation: Normalisation
    model: Model
    training: Training
    evaluation: Evaluation
    silos: Annotated[tuple[SiloTerms, ...], Field(min_length=3, max_length=256)]
    sealing: Sealing
    schedule: Schedule
    release: ReleaseRule

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _check_silos(self)
        _check_columns(self)
        require_weights(self.model, self.plan)
        check_precision(self.sealing, len(self.silos))
        _check_cost(self)
        return self

    @cached_property
    def plan(self) -> Plan:
        """What the model computes over the contract's features: shapes and parameters. Found once a contract."""
        graph = graph_of(self.model, self.data.features)
        return plan_model(graph, self.data.features, self.normalisation.columns)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As pydantic's; the plan of what is changed is found anew."""
        copied = super().model_copy(update=update, deep=deep)
        vars(copied).pop("plan", None)
        return copied

    @property
    def silo_names(self) -> tuple[str, ...]:
        return tuple(terms.silo for terms in self.silos)

    def terms_of(self, silo: str) -> SiloTerms:
        for terms in self.silos:
            if terms.silo == silo:
                return terms
        raise Malformed(f"silo {silo} is not named in the contract")


def parse_contract(value: Mapping[str, Any]) -> StudyContract:
    """The contract in ``value`` (JSON types). Raises ``Malformed`` with every field that is wrong."""
    try:
        return StudyContract.model_validate_json(canonical.encode(value))
    except ValidationError as error:
        raise Malformed("study contract refused: " + explain(error)) from None


def contract_value(contract: StudyContract) -> dict[str, Any]:
    return contract.model_dump(mode="json")


def study_id(contract: StudyContract) -> StudyId:
    """The digest that names a contract: SHA-256 of its canonical JSON."""
    return canonical.digest(canonical.encode(contract_value(contract)))


def explain(error: ValidationError) -> str:
    """Every failed field of a validation as ``path: reason``, without the values that were given."""
    parts = []
    for item in error.errors(include_url=False, include_input=False, include_context=False):
        path = ".".join(str(piece) for piece in item["loc"]) or "document"
        parts.append(f"{path}: {item['msg']}")
    return "; ".join(parts[:20])


def tensor_lengths(contract: StudyContract) -> tuple[int, ...]:
    """Values of each trained tensor, in the order of a parameter vector: node by node, weights, then biases."""
    return tuple(parameter.length for parameter in contract.plan.trained)


def parameter_count(contract: StudyContract) -> int:
    """Trained parameters of the contract's model: values of a parameter vector."""
    return sum(tensor_lengths(contract))


def _check_silos(contract: StudyContract) -> None:
    names = contract.silo_names
    if len(set(names)) != len(names):
        raise ValueError("silos: each silo may stand in the table once")
    n, q = len(names), contract.schedule.quorum
    # sealed-sum.md: below these an honest term could be had by subtraction from totals of two quorums.
    if q > n or 2 * q < n + 2:
        least = max(3, (n + 3) // 2)
        raise ValueError(f"schedule.quorum: {q} of {n} silos; it must be at most {n} and at least {least}")
    if contract.release.approvals > n:
        raise ValueError(f"release.approvals: {contract.release.approvals} of {n} silos")
    for terms in contract.silos:
        if terms.sampling_rate * terms.rows * (1 - contract.evaluation.test_share) < 1:
            raise ValueError(
                f"silos: sampling_rate {terms.sampling_rate:g} of {terms.silo} expects less than one of its training "
                "rows in a batch; raise it"
            )
    total = sum(terms.weight for terms in contract.silos)
    if abs(total - 1.0) > 1e-9:
        raise ValueError(f"silos: weights add up to {total}, they must add up to 1")
    if len(set(contract.recipients)) != len(contract.recipients):
        raise ValueError("recipients: each may be named once")


def _check_columns(contract: StudyContract) -> None:
    known = {column.name for column in contract.data.features}
    unknown = [name for name in contract.normalisation.columns if name not in known]
    if unknown or len(set(contract.normalisation.columns)) != len(contract.normalisation.columns):
        raise ValueError(f"normalisation.columns: must be distinct features of data; not a feature: {unknown}")


def normalisation_events(contract: StudyContract) -> tuple[Event, ...]:
    """What the normalisation sum costs any silo."""
    stage = contract.normalisation
    return (Gaussian(kind="gaussian", noise_multiplier=stage.noise_multiplier, count=1, unit=contract.privacy.unit),)


def training_events(contract: StudyContract, silo: str) -> tuple[Event, ...]:
    """What one round of training costs ``silo``: its local steps, at its own sampling rate."""
    return (
        SampledGaussian(
            kind="sampled_gaussian",
            sampling_rate=contract.terms_of(silo).sampling_rate,
            noise_multiplier=contract.training.noise_multiplier,
            steps=contract.training.local_steps,
            unit=contract.privacy.unit,
        ),
    )


def evaluation_events(contract: StudyContract) -> tuple[Event, ...]:
    """What the two evaluation counts cost any silo."""
    stage = contract.evaluation
    return (Gaussian(kind="gaussian", noise_multiplier=stage.noise_multiplier, count=1, unit=contract.privacy.unit),)


def study_cost(contract: StudyContract, silo: str, order: int) -> int:
    """What the whole study costs ``silo`` at ``order``, in 1e-12 of Renyi divergence."""
    once = accounting.cost_of((*normalisation_events(contract), *evaluation_events(contract)), order)
    return once + contract.training.rounds * accounting.cost_of(training_events(contract, silo), order)


def _check_cost(contract: StudyContract) -> None:
    privacy = contract.privacy
    allowed = accounting.budget(privacy.epsilon, privacy.delta, privacy.order)
    for terms in contract.silos:
        cost = study_cost(contract, terms.silo, privacy.order)
        if cost > allowed:
            raise ValueError(
                f"privacy: at silo {terms.silo} the study's rounds cost {cost} of {allowed} allowed by epsilon "
                f"{privacy.epsilon}, delta {privacy.delta} at order {privacy.order} (units of 1e-12); "
                "raise the noise multipliers or run fewer steps"
            )
