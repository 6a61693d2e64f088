"""The bundle that silos release: safetensors bytes, read by bounds that hold before anything is allocated.

Tensors, all little-endian float64: ``mean`` and ``std`` (k,), for the contract's normalised columns in their
order, in units of the range (a column's [minimum, maximum] is [-1, 1]); ``layerI.weight`` (outputs, inputs) and
``layerI.bias`` (outputs,) from I = 0 on. The metadata's one key, ``consortia``, is canonical JSON (RFC 8785).
"""

import json
import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from client.errors import BundleRefused
from protocol import canonical
from protocol.errors import Malformed
from protocol.evaluation import ScoredEvaluation
from protocol.ids import Strict, StudyId
from protocol.study import explain, parse_contract, study_id
from protocol.training_study import TrainingContract

Floats = NDArray[np.float64]

MAX_HEADER_BYTES: Final = 16 * 1024 * 1024
MAX_TENSORS: Final = 64
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
class Layer:
    """One linear layer: ``weight`` (outputs, inputs), ``bias`` (outputs,)."""

    weight: Floats
    bias: Floats


@dataclass(frozen=True, slots=True)
class Bundle:
    """A released model, its shapes checked against the contract it names."""

    study: StudyId
    contract: TrainingContract
    evaluation: Measured
    rounds: int
    mean: Floats
    std: Floats
    layers: tuple[Layer, ...]


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
        contract = parse_contract(value.contract)
    except ValidationError as error:
        raise BundleRefused(f"the bundle's metadata is refused: {explain(error)}") from None
    except Malformed as error:
        raise BundleRefused(f"the bundle's metadata is refused: {error}") from None
    if value.study != study or study_id(contract) != study:
        raise BundleRefused(f"the bundle is of study {value.study[:12]}, not of {study[:12]}")
    wanted = contract.evaluation.values if isinstance(contract.evaluation, ScoredEvaluation) else 0
    if len(value.evaluation.counts) != wanted:
        raise BundleRefused(f"the bundle's evaluation has {len(value.evaluation.counts)} counts, the contract {wanted}")
    mean, std, layers = _shaped(contract, tensors)
    return Bundle(study, contract, value.evaluation, value.rounds, mean, std, layers)


def read_safetensors(data: bytes) -> tuple[dict[str, str], dict[str, Floats]]:
    """Metadata and float64 tensors of a safetensors file: 8 bytes header length, JSON header, the values.

    Stricter than the format: float64 only, no gaps, no overlaps, no bytes left over, names once.
    """
    if len(data) < 8:
        raise BundleRefused("the bundle is too short to be safetensors")
    (length,) = struct.unpack("<Q", data[:8])
    if not 2 <= length <= min(MAX_HEADER_BYTES, len(data) - 8):
        raise BundleRefused(f"the bundle's header claims {length} bytes of {len(data) - 8}")
    header = _header(data[8 : 8 + length])
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(one, str) for one in metadata.values()):
        raise BundleRefused("the bundle's metadata is not text by name")
    if len(header) > MAX_TENSORS:
        raise BundleRefused(f"the bundle has {len(header)} tensors, at most {MAX_TENSORS} are read")
    body = memoryview(data)[8 + length :]
    spans = sorted((*_span(name, entry), name) for name, entry in header.items())
    end, tensors = 0, {}
    for start, stop, name in spans:
        if start != end:
            raise BundleRefused(f"tensor {name} does not begin where the one before ends")
        end = stop
        if stop > len(body):
            raise BundleRefused(f"tensor {name} ends beyond the file")
        values = np.frombuffer(body[start:stop], dtype="<f8").astype(np.float64)
        tensors[name] = values.reshape(header[name]["shape"])
        if not np.isfinite(values).all():
            raise BundleRefused(f"tensor {name} holds a value that is not finite")
    if end != len(body):
        raise BundleRefused(f"the bundle has {len(body) - end} bytes after its last tensor")
    return metadata, tensors


def _header(raw: bytes) -> dict[str, Any]:
    try:
        header = json.loads(raw.decode("utf-8"), object_pairs_hook=_once)
    except (UnicodeDecodeError, ValueError, RecursionError):
        raise BundleRefused("the bundle's header is not JSON, or names something twice") from None
    if not isinstance(header, dict):
        raise BundleRefused("the bundle's header is not a JSON object")
    return header


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a name stands twice")
    return dict(pairs)


def _span(name: str, entry: Any) -> tuple[int, int]:
    """Where a tensor's bytes lie, after its entry was checked."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"} or entry["dtype"] != "F64":
        raise BundleRefused(f"tensor {name[:40]!r} is not described as float64 with a shape and offsets")
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not _counts(shape) or len(shape) > 2 or not _counts(offsets) or len(offsets) != 2:
        raise BundleRefused(f"tensor {name[:40]!r} has a shape or offsets that are no small whole numbers")
    size = 8
    for extent in shape:
        size *= extent
    if offsets[1] - offsets[0] != size:
        raise BundleRefused(f"tensor {name[:40]!r} has {offsets[1] - offsets[0]} bytes, its shape needs {size}")
    return offsets[0], offsets[1]


def _counts(value: Any) -> bool:
    return isinstance(value, list) and all(type(one) is int and 0 <= one < 2**40 for one in value)


def _shaped(contract: TrainingContract, tensors: dict[str, Floats]) -> tuple[Floats, Floats, tuple[Layer, ...]]:
    hidden = contract.model.hidden if contract.model.family == "mlp" else ()
    widths = (len(contract.data.features), *hidden, 1)
    columns = (len(contract.normalisation.columns),)
    shapes: dict[str, tuple[int, ...]] = {"mean": columns, "std": columns}
    for index, (inputs, outputs) in enumerate(pairwise(widths)):
        shapes |= {f"layer{index}.weight": (outputs, inputs), f"layer{index}.bias": (outputs,)}
    found = {name: tensor.shape for name, tensor in tensors.items()}
    if found != shapes:
        wrong = sorted(name for name in {*found, *shapes} if found.get(name) != shapes.get(name))
        raise BundleRefused(f"tensor {wrong[0][:40]!r} is not of the contract's model")
    if not (tensors["std"] > 0).all():
        raise BundleRefused("tensor 'std' holds a value that is not above 0")
    layers = (Layer(tensors[f"layer{i}.weight"], tensors[f"layer{i}.bias"]) for i in range(len(widths) - 1))
    return tensors["mean"], tensors["std"], tuple(layers)
