"""From the graph that ``torch.export`` traced to the JSON graph of a contract, operator by operator.

The first dimension of every traced value is the records; shapes here are those of one record. An operator that moves
records, or reads a parameter that another one reads, is refused.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from pydantic import ValidationError
from torch.export import ExportedProgram
from torch.fx import Node as Traced

from protocol.graph_shapes import Shape, output_shape, shown
from protocol.model_graph import FEATURES, Graph
from protocol.study import explain
from silo_node.graph_export import operators
from silo_node.graph_export.errors import ExportRefused
from silo_node.graph_export.node_names import NodeNames

Attributes = dict[str, Any]


@dataclass(slots=True)
class Conversion:
    """One exported program on its way to a graph. ``records``: how many the traced input had.

    parameters: by the graph's name of each, torch's; filled as nodes are made.
    """

    program: ExportedProgram
    records: int
    columns: int
    parameters: dict[str, str] = field(default_factory=dict)
    _nodes: list[Attributes] = field(default_factory=list)
    _shapes: dict[str, Shape] = field(default_factory=dict)
    _values: dict[str, str] = field(default_factory=dict)
    _rounded: dict[str, str] = field(default_factory=dict)
    _whole: dict[str, str] = field(default_factory=dict)
    _names: NodeNames = field(default_factory=NodeNames)

    def graph(self) -> Graph:
        """The whole graph. Raises ``ExportRefused`` with the operator that has no place in one."""
        for traced in self.program.graph.nodes:
            match traced.op:
                case "placeholder" if traced.name in self.program.graph_signature.user_inputs:
                    self._values[traced.name], self._shapes[FEATURES] = FEATURES, (self.columns,)
                case "call_function":
                    self._convert(traced)
                case "output":
                    return self._ended(traced)
        raise ExportRefused("the exported program has no output")

    def _convert(self, traced: Traced) -> None:
        target, given = str(traced.target), operators.arguments_of(traced)
        if target in operators.VALUELESS:
            return
        if target in operators.SAME:
            self._same(traced, given)
        elif target in operators.SHAPES:
            self._add(traced, [self._read(next(iter(given.values())))], {"operator": "reshape"})
        elif target in operators.TRANSLATIONS:
            self._translate(traced, given)
        elif target in operators.AFFINE:
            self._compute(traced, target, given)
        elif target in operators.CHOICES:
            self._select(traced, target, given)
        elif target == "aten.cat.default":
            axis = given["dim"] % (1 + len(self._shapes[self._read(given["tensors"][0])])) - 1
            self._add(traced, [self._read(one) for one in given["tensors"]], {"operator": "concat", "axis": axis})
        elif target in ("aten.round.default", "aten.to.dtype", "aten.embedding.default"):
            self._look_up(traced, target, given)
        else:
            raise operators.refused(target)

    def _same(self, traced: Traced, given: Attributes) -> None:
        if given.get("train") is True:
            raise ExportRefused(f"operator {traced.target}: drops values at random; export the model as model.eval()")
        self._values[traced.name] = self._read(next(iter(given.values())))

    def _translate(self, traced: Traced, given: Attributes) -> None:
        attributes = operators.TRANSLATIONS[str(traced.target)](given)
        read = self._read(next(iter(given.values())))
        if "weight" in given:
            attributes |= self._with_parameters(traced, given, attributes["operator"])
        self._add(traced, [read], attributes)

    def _with_parameters(self, traced: Traced, given: Attributes, operator: str) -> Attributes:
        """The node's name from the module that holds its parameters, and what their shapes say."""
        weight = self._parameter(traced, given["weight"])
        bias = None if given.get("bias") is None else self._parameter(traced, given["bias"])
        name = self._names.of_parameter(weight)
        for part, one in (("weight", weight), ("bias", bias)):
            if one is not None:
                self.parameters[f"{name}.{part}"] = one
        held = self.program.state_dict[weight]
        wants = [one for one in (weight, bias) if one is not None and self.program.state_dict[one].requires_grad]
        found: Attributes = {"name": name, "trained": bool(wants)}
        if operator in ("linear", "conv2d"):
            found["bias"] = bias is not None
        elif operator != "embedding" and bias is None:
            raise ExportRefused(f"layer {name}: a {operator} without a bias has no node; give it one")
        if operator == "linear":
            found["outputs"] = held.shape[0]
        if operator == "conv2d":
            found |= {"channels": held.shape[0], "kernel": list(held.shape[2:])}
        return found

    def _parameter(self, traced: Traced, one: Any) -> str:
        found = self.program.graph_signature.inputs_to_parameters.get(getattr(one, "name", ""))
        if found is None:
            raise ExportRefused(f"operator {traced.target}: its weight is no parameter of the model as it is")
        if found in self.parameters.values():
            raise ExportRefused(f"parameter {found} is used twice; each may be used once")
        return str(found)

    def _compute(self, traced: Traced, target: str, given: Attributes) -> None:
        """Sums of two values, and a value times and plus numbers."""
        one, other = next(iter(given.values())), given.get("other")
        if isinstance(other, Traced) and target == "aten.add.Tensor" and given["alpha"] == 1:
            self._add(traced, [self._read(one), self._read(other)], {"operator": "add"})
            return
        if isinstance(other, Traced) or not isinstance(one, Traced) or given.get("alpha", 1) != 1:
            raise ExportRefused(
                f"operator {target}: takes one value and a number; values can only be added as they are"
            )
        factor, offset = operators.affine(target, 0.0 if other is None else float(other))
        self._add(traced, [self._read(one)], {"operator": "scale", "factor": factor, "offset": offset})

    def _select(self, traced: Traced, target: str, given: Attributes) -> None:
        """Columns of a value, or all of it."""
        read = self._read(next(iter(given.values())))
        before = self._shapes[read]
        if target == "aten.slice.Tensor" and tuple(traced.meta["val"].shape[1:]) == before:
            self._require_all_records(traced)
            self._values[traced.name] = read
            return
        chosen = operators.chosen_columns(target, given, before, lambda index: self._numbers(traced, index))
        if not chosen:
            raise ExportRefused(f"operator {target}: may choose columns of a value (records, columns), nothing else")
        self._add(traced, [read], {"operator": "select", "columns": chosen})

    def _numbers(self, traced: Traced, given: Any) -> list[int]:
        """The values of a constant index."""
        while isinstance(given, Traced) and str(given.target) in operators.VALUELESS:
            given = given.args[0]
        signature, name = self.program.graph_signature, getattr(given, "name", "")
        kept = signature.inputs_to_lifted_tensor_constants.get(name) or signature.inputs_to_buffers.get(name)
        held = self.program.constants.get(kept or "", self.program.state_dict.get(kept or ""))
        if not isinstance(held, torch.Tensor) or held.dtype != torch.int64:
            raise ExportRefused(f"operator {traced.target}: its index must be a constant list of whole numbers")
        return [int(one) for one in held.tolist()]

    def _look_up(self, traced: Traced, target: str, given: Attributes) -> None:
        """An embedding of round((x + 1) * (rows - 1) / 2), by which a column in [-1, 1] is its whole number again."""
        read = next(iter(given.values()))
        if target == "aten.round.default":
            self._rounded[traced.name] = self._read(read)
        elif target == "aten.to.dtype" and not given["dtype"].is_floating_point:
            if read.name not in self._rounded:
                raise ExportRefused("whole numbers must be rounded before they are cast: x.round().long()")
            self._whole[traced.name] = self._rounded[read.name]
        elif target == "aten.to.dtype":
            self._values[traced.name] = self._read(read)
        else:
            self._embed(traced, given)

    def _embed(self, traced: Traced, given: Attributes) -> None:
        index = given["indices"]
        attributes = self._with_parameters(traced, {"weight": given["weight"]}, "embedding")
        rows, width = self.program.state_dict[self.parameters[f"{attributes['name']}.weight"]].shape
        source, factor, offset = self._affine(self._whole.get(index.name))
        half = (rows - 1) / 2
        if source is None or not math.isclose(factor, half) or not math.isclose(offset, half):
            raise ExportRefused(
                f"layer {attributes['name']}: columns reach a model in [-1, 1], so its rows must be read as "
                f"((x[:, i] + 1) * {half:g}).round().long()"
            )
        self._add(traced, [source], attributes | {"operator": "embedding", "rows": rows, "width": width})

    def _affine(self, name: str | None) -> tuple[str | None, float, float]:
        """The value that numbers were last computed from by factors and offsets, and these together."""
        factor, offset = 1.0, 0.0
        made = {node["name"]: node for node in self._nodes}
        while name is not None and name in made and made[name]["operator"] == "scale":
            node = made[name]
            factor, offset = factor * node["factor"], factor * node["offset"] + offset
            name = node["inputs"][0]
        return name, factor, offset

    def _require_all_records(self, traced: Traced) -> None:
        if traced.meta["val"].shape[0] != self.records:
            raise ExportRefused(f"operator {traced.target}: joins, drops or splits records")

    def _read(self, given: Any) -> str:
        name = getattr(given, "name", "")
        if name in self._rounded or name in self._whole:
            raise ExportRefused("rounded values may only be looked up in an embedding")
        if name not in self._values:
            raise ExportRefused(f"a parameter or constant ({name or given}) is used by itself; put it into a layer")
        return self._values[name]

    def _add(self, traced: Traced, reads: Sequence[str], attributes: Attributes) -> None:
        """One node, and where the traced value has the same values in another shape one that reshapes."""
        self._require_all_records(traced)
        wanted = tuple(int(one) for one in traced.meta["val"].shape[1:]) or (1,)
        if attributes["operator"] == "reshape":
            self._values[traced.name] = self._reshaped(reads[0], wanted)
            return
        name = attributes.pop("name", None) or self._names.of_operator(attributes["operator"])
        made = self._made({"name": name, "inputs": list(reads), **attributes}, reads)
        self._values[traced.name] = self._reshaped(made, wanted)

    def _reshaped(self, name: str, wanted: Shape) -> str:
        if self._shapes[name] == wanted:
            return name
        if math.prod(self._shapes[name]) != math.prod(wanted):
            raise ExportRefused(f"a value of shape {shown(self._shapes[name])} can't have the shape {shown(wanted)}")
        operator = "flatten" if len(wanted) == 1 else "reshape"
        node = {"name": self._names.of_operator(operator), "operator": operator, "inputs": [name]}
        return self._made(node | ({} if operator == "flatten" else {"shape": list(wanted)}), [name])

    def _made(self, node: Attributes, reads: Sequence[str]) -> str:
        """Adds a node that ``protocol.model_graph`` takes; its name."""
        try:
            parsed = Graph.model_validate_json(json.dumps({"format": "consortia-graph/1", "nodes": [node]})).nodes[0]
            self._shapes[node["name"]] = output_shape(parsed, tuple(self._shapes[one] for one in reads))
        except ValidationError as error:
            raise ExportRefused(f"node {node['name']}: {explain(error)}") from None
        except ValueError as error:
            raise ExportRefused(f"node {node['name']} ({node['operator']}): {error}") from None
        self._nodes.append(node)
        return str(node["name"])

    def _ended(self, traced: Traced) -> Graph:
        """The nodes that the output needs."""
        outputs = traced.args[0]
        if not isinstance(outputs, tuple | list) or len(outputs) != 1:
            raise ExportRefused("the model must give one tensor")
        last = self._read(outputs[0])
        needed = {last}
        for node in reversed(self._nodes):
            needed |= set(node["inputs"]) if node["name"] in needed else set()
        kept = [node for node in self._nodes if node["name"] in needed]
        return Graph.model_validate_json(json.dumps({"format": "consortia-graph/1", "nodes": kept}))
