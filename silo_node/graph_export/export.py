"""A researcher's torch model, on the researcher's own machine, made into a graph in JSON and safetensors weights.

The researcher's Python runs here and nowhere else: what comes out is data, checked against the model it was made of.
"""

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from protocol.graph_plan import Plan, plan_graph, plan_values
from protocol.model_graph import Graph
from silo_node.graph_export.conversion import Conversion
from silo_node.graph_export.errors import ExportRefused
from silo_node.training.graph_model import GraphModel

TOLERANCE: Final = 1e-5
_TRACED_RECORDS: Final = 7
_CHECKED_RECORDS: Final = (1, 5)


@dataclass(frozen=True, slots=True)
class ExportedModel:
    """A graph with the values of all its parameters, float32, by their names; how far its outputs are off, at most."""

    graph: Graph
    plan: Plan
    tensors: dict[str, NDArray[np.float32]]
    difference: float


def load_model(factory: str, folder: Path) -> nn.Module:
    """The model that ``MODULE:FACTORY`` makes, the module found from ``folder``. Runs the researcher's code."""
    module, _, name = factory.partition(":")
    if not module or not name:
        raise ExportRefused(f"{factory}: must be MODULE:FACTORY, such as nets:make for make() in nets.py")
    sys.path.insert(0, str(folder))
    try:
        made: Callable[[], Any] = getattr(importlib.import_module(module), name)
        model = made()
    except (ImportError, AttributeError) as error:
        raise ExportRefused(f"{factory}: {error}; run the command where {module}.py lies") from None
    if not isinstance(model, nn.Module):
        raise ExportRefused(f"{factory}: gives a {type(model).__name__}, must give a torch.nn.Module")
    return model


def export_model(model: nn.Module, columns: int, backbone: bool = False) -> ExportedModel:
    """The graph of ``model``, which takes inputs (n, columns) float32 and gives logits (n, 1).

    backbone: it may give values (n, ...) of any shape. Raises ``ExportRefused``, and for outputs that differ.
    """
    model = model.eval()
    try:
        program = torch.export.export(model, (torch.zeros(_TRACED_RECORDS, columns),))
    except Exception as error:  # noqa: BLE001  # Torch raises errors of many kinds for models that it can't trace.
        first = (str(error).strip().splitlines() or ["no reason given"])[0][:300]
        raise ExportRefused(f"torch.export can't trace the model: {type(error).__name__}: {first}") from None
    conversion = Conversion(program, _TRACED_RECORDS, columns)
    graph = conversion.graph()
    try:
        plan = (plan_values if backbone else plan_graph)(graph, columns)
    except ValueError as error:
        raise ExportRefused(str(error)) from None
    held = program.state_dict
    tensors = {
        one.name: held[conversion.parameters[one.name]].detach().numpy().astype(np.float32) for one in plan.parameters
    }
    return ExportedModel(graph, plan, tensors, _difference(model, plan, tensors, columns))


def _difference(model: nn.Module, plan: Plan, tensors: dict[str, NDArray[np.float32]], columns: int) -> float:
    """The largest difference of outputs on random inputs, of batches of other sizes than the traced one."""
    rebuilt = GraphModel(plan)
    with torch.no_grad():
        for parameter, one in zip(rebuilt.parameters(), plan.parameters, strict=True):
            parameter.copy_(torch.from_numpy(tensors[one.name].astype(np.float64)))
        drawn = torch.Generator().manual_seed(1)
        largest = 0.0
        for records in _CHECKED_RECORDS:
            inputs = torch.rand(records, columns, generator=drawn) * 2.0 - 1.0
            theirs, ours = model(inputs).double(), rebuilt(inputs.double())
            if theirs.shape != ours.shape:
                raise ExportRefused(f"the model gives {tuple(theirs.shape)} for {records} records, its graph another")
            largest = max(largest, float(((theirs - ours).abs() / ours.abs().clamp(min=1.0)).max()))
    if not largest <= TOLERANCE:
        raise ExportRefused(f"the graph's outputs differ from the model's by {largest:.1e}, at most {TOLERANCE} may be")
    return largest
