"""The bundle that silos release: safetensors bytes, read by bounds that hold before anything is allocated.

Tensors, all little-endian float64: ``mean`` and ``std`` (k,), for the contract's normalised columns in their
order, in units of the range (a column's [minimum, maximum] is [-1, 1]); then each trained tensor of the contract's
model, such as ``layer0.weight``. The metadata's one key, ``consortia``, is canonical JSON (RFC 8785).
"""

from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from client.errors import BundleRefused
from protocol import canonical
from protocol.errors import Malformed
from protocol.evaluation import ScoredEvaluation
from protocol.ids import Strict, StudyId
from protocol.model import weights_of
from protocol.study import explain, parse_training, study_id
from protocol.tensor_file import read_tensors
from protocol.training_study import TrainingContract

Floats = NDArray[np.float64]

MAX_COUNTS: Final = 1 << 16


class Measured(Strict):
    """Noised counts of the held-out rows of ``test_silos`` silos: they may be below 0, or more than there are.

    ``accuracy`` and ``standard_error`` are None where the noise drowned the counts, or their encoding cut them off.
    ``counts``: of a histogram of scores, by group, label and bin, flat; empty where the study counted right and wrong
    alone.
    """

    right: float
    wrong: float
    accuracy: Annotated[float, Field(ge=0, le=1)] | None
    standard_error: Annotated[float, Field(ge=0)] | None
    test_silos: Annotated[int, Field(ge=0)]
    counts: Annotated[tuple[float, ...], Field(max_length=MAX_COUNTS)] = ()

    def in_words(self) -> str:
        """The accuracy with its uncertainty, in one phrase."""
        if self.accuracy is None or self.standard_error is None:
            return "not known: the noise that protects the records drowned the counts, or their encoding cut them off"
        return f"{self.accuracy:.3f} with standard error {self.standard_error:.3f}"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A released model, its shapes checked against the contract it names."""

    study: StudyId
    contract: TrainingContract
    evaluation: Measured
    rounds: int
    mean: Floats
    std: Floats
    tensors: dict[str, Floats]
    """Of the whole model, by their names in the contract's plan; frozen ones are the contract's own."""


class _Metadata(Strict):
    format: Literal["consortia-release/1"]
    study: StudyId
    contract: dict[str, Any]
    evaluation: Measured
    rounds: Annotated[int, Field(ge=0)]


def read_bundle(data: bytes, study: str) -> Bundle:
    """The bundle of ``study`` in ``data``. Raises ``BundleRefused`` for anything else."""
    metadata, tensors = read_safetensors(data)
    if set(metadata) != {"consortia"}:
        raise BundleRefused("the bundle's metadata is not a consortia release")
    try:
        value = _Metadata.model_validate_json(canonical.encode(canonical.decode(metadata["consortia"].encode())))
        contract = parse_training(value.contract)
    except ValidationError as error:
        raise BundleRefused(f"the bundle's metadata is refused: {explain(error)}") from None
    except Malformed as error:
        raise BundleRefused(f"the bundle's metadata is refused: {error}") from None
    if value.study != study or study_id(contract) != study:
        raise BundleRefused(f"the bundle is of study {value.study[:12]}, not of {study[:12]}")
    wanted = contract.evaluation.values if isinstance(contract.evaluation, ScoredEvaluation) else 0
    if len(value.evaluation.counts) != wanted:
        raise BundleRefused(f"the bundle's evaluation has {len(value.evaluation.counts)} counts, the contract {wanted}")
    mean, std, trained = _shaped(contract, tensors)
    return Bundle(study, contract, value.evaluation, value.rounds, mean, std, trained)


def read_safetensors(data: bytes) -> tuple[dict[str, str], dict[str, Floats]]:
    """Metadata and float64 tensors of a safetensors file. Raises ``BundleRefused``."""
    try:
        return read_tensors(data, "the bundle")
    except Malformed as error:
        raise BundleRefused(str(error)) from None


def _shaped(contract: TrainingContract, tensors: dict[str, Floats]) -> tuple[Floats, Floats, dict[str, Floats]]:
    """Mean, deviation, and the model's tensors, each of the shape that the contract's model gives it."""
    columns = (len(contract.normalisation.columns),)
    shapes: dict[str, tuple[int, ...]] = {"mean": columns, "std": columns}
    shapes |= {one.name: one.shape for one in contract.plan.trained}
    found = {name: tensor.shape for name, tensor in tensors.items()}
    if found != shapes:
        wrong = sorted(name for name in {*found, *shapes} if found.get(name) != shapes.get(name))
        raise BundleRefused(f"tensor {wrong[0][:40]!r} is not of the contract's model")
    if not (tensors["std"] > 0).all():
        raise BundleRefused("tensor 'std' holds a value that is not above 0")
    weights = weights_of(contract.model)
    values = {one.name: tensors[one.name] for one in contract.plan.trained}
    values |= {one.name: weights.tensors[one.name] for one in contract.plan.frozen if weights is not None}
    return tensors["mean"], tensors["std"], values
