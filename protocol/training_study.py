"""The kind of study that trains a model: normalisation, private training, evaluation.

Everything a silo computes in it is a function of the contract, its own rows and its own noise.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from protocol import accounting
from protocol.clauses import Clauses, Column, DataRead, SiloTerms, check_cost
from protocol.errors import Malformed
from protocol.evaluation import Evaluation, ScoredEvaluation
from protocol.graph_plan import Plan
from protocol.ids import ColumnName, Strict
from protocol.model import Model, plan_model, require_weights
from protocol.model_families import graph_of
from protocol.precision import Sealing
from protocol.spend import Event, Gaussian, SampledGaussian

MAX_ROUNDS = 10_000


class DataRequirement(DataRead):
    """Which dataset, by the name all silos registered it under, and which of its columns."""

    features: Annotated[tuple[Column, ...], Field(min_length=1, max_length=10_000)]
    target: Column

    @property
    def columns(self) -> tuple[Column, ...]:
        return (*self.features, self.target)

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [column.name for column in self.columns]
        if len(set(names)) != len(names):
            raise ValueError("data: column names must be distinct, and the target none of the features")
        if self.target.kind != "binary":
            raise ValueError(f"data: target {self.target.name} must be binary")
        return self


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


class TrainingTerms(SiloTerms):
    """The constants of one silo in training."""

    sampling_rate: Annotated[float, Field(gt=0, le=1)]
    weight: Annotated[float, Field(gt=0, le=0.5)]
    normaliser: Annotated[float, Field(ge=1, le=10**10)]
    """What the noised sum of clipped gradients is divided by: the expected batch from published counts."""


class TrainingContract(Clauses):
    """A study that ends in a model and in noised counts of its answers."""

    kind: Literal["training"]
    data: DataRequirement
    normalisation: Normalisation
    model: Model
    training: Training
    evaluation: Evaluation
    silos: Annotated[tuple[TrainingTerms, ...], Field(min_length=3, max_length=256)]
    sealing: Sealing

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _check_terms(self)
        _check_columns(self)
        require_weights(self.model, self.plan)
        check_cost(self)
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

    def cost(self, silo: str, order: int) -> int:
        """What the whole study costs ``silo`` at ``order``, in 1e-12 of Renyi divergence."""
        once = accounting.cost_of((*normalisation_events(self), *evaluation_events(self)), order)
        return once + self.training.rounds * accounting.cost_of(training_events(self, silo), order)

    def terms_of(self, silo: str) -> TrainingTerms:
        for terms in self.silos:
            if terms.silo == silo:
                return terms
        raise Malformed(f"silo {silo} is not named in the contract")


def tensor_lengths(contract: TrainingContract) -> tuple[int, ...]:
    """Values of each trained tensor, in the order of a parameter vector: node by node, weights, then biases."""
    return tuple(parameter.length for parameter in contract.plan.trained)


def parameter_count(contract: TrainingContract) -> int:
    """Trained parameters of the contract's model: values of a parameter vector."""
    return sum(tensor_lengths(contract))


def _check_terms(contract: TrainingContract) -> None:
    for terms in contract.silos:
        if terms.sampling_rate * terms.rows * (1 - contract.evaluation.test_share) < 1:
            raise ValueError(
                f"silos: sampling_rate {terms.sampling_rate:g} of {terms.silo} expects less than one of its training "
                "rows in a batch; raise it"
            )
    total = sum(terms.weight for terms in contract.silos)
    if abs(total - 1.0) > 1e-9:
        raise ValueError(f"silos: weights add up to {total}, they must add up to 1")


def _check_columns(contract: TrainingContract) -> None:
    known = {column.name for column in contract.data.features}
    unknown = [name for name in contract.normalisation.columns if name not in known]
    if unknown or len(set(contract.normalisation.columns)) != len(contract.normalisation.columns):
        raise ValueError(f"normalisation.columns: must be distinct features of data; not a feature: {unknown}")
    if isinstance(contract.evaluation, ScoredEvaluation):
        binary = {column.name for column in contract.data.features if column.kind == "binary"}
        other = [name for name in contract.evaluation.groups if name not in binary]
        if other:
            raise ValueError(f"evaluation.groups: must be binary features of data; not one: {other}")


def normalisation_events(contract: TrainingContract) -> tuple[Event, ...]:
    """What the normalisation sum costs any silo."""
    stage = contract.normalisation
    return (Gaussian(kind="gaussian", noise_multiplier=stage.noise_multiplier, count=1, unit=contract.privacy.unit),)


def training_events(contract: TrainingContract, silo: str) -> tuple[Event, ...]:
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


def evaluation_events(contract: TrainingContract) -> tuple[Event, ...]:
    """What the evaluation's counts cost any silo."""
    stage = contract.evaluation
    return (Gaussian(kind="gaussian", noise_multiplier=stage.noise_multiplier, count=1, unit=contract.privacy.unit),)
