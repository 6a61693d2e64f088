"""What a torch model becomes: a graph that computes the same, or a refusal that names the operator and a remedy."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from client import graph_arithmetic
from silo_node.graph_export import conversion
from silo_node.graph_export.errors import ExportRefused
from silo_node.graph_export.export import TOLERANCE, ExportedModel, export_model, load_model

COLUMNS = 38


class Everything(nn.Module):
    """A small model with most operators of the list, written in the ways people write them."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(7, 3)
        self.conv = nn.Conv2d(1, 4, (3, 2), padding=(0, 1))
        self.norm = nn.GroupNorm(2, 4)
        self.grouped = nn.Conv2d(4, 4, 1, groups=2, bias=False)
        self.head = nn.Sequential(
            nn.LazyLinear(8), nn.GELU(), nn.Dropout(), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 1)
        )
        self(torch.zeros(2, COLUMNS))

    def forward(self, x: Tensor) -> Tensor:
        image = functional.relu(self.norm(self.conv(x[:, :36].reshape(-1, 1, 6, 6))))
        image = image + self.grouped(image)
        pooled = [functional.max_pool2d(image, 2, stride=1), functional.avg_pool2d(image, (2, 1), padding=(1, 0))]
        rows = self.table(((x[:, 36] + 1) * 3).round().long())
        numbers = torch.sigmoid(x[:, [37, 0, 37]] / 2 - 0.25).unsqueeze(1).squeeze(1)
        joined = torch.cat([*(one.flatten(1) for one in pooled), rows, -numbers], dim=1)
        return self.head(joined)


def exported(module: nn.Module, columns: int = COLUMNS) -> ExportedModel:
    return export_model(module, columns)


def test_a_traced_model_and_its_graph_give_the_same_outputs() -> None:
    torch.manual_seed(4)
    model = Everything()
    made = exported(model)
    assert made.difference <= TOLERANCE
    inputs = np.random.default_rng(2).uniform(-1, 1, (20, COLUMNS)).astype(np.float32)
    with torch.no_grad():
        expected = model(torch.from_numpy(inputs)).numpy()[:, 0]
    tensors = {name: one.astype(np.float64) for name, one in made.tensors.items()}
    ours = graph_arithmetic.logits(made.plan, tensors, inputs.astype(np.float64))
    np.testing.assert_allclose(ours, expected, atol=1e-5)
    assert {"select", "conv2d", "group_norm", "embedding", "scale", "concat", "add", "layer_norm"} <= {
        step.node.operator for step in made.plan.steps
    }
    assert {"table.weight", "head_0.bias", "grouped.weight"} <= set(made.tensors)


def test_parameters_that_want_no_gradient_are_frozen() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1))
    model[0].requires_grad_(False)
    plan = exported(model, 4).plan
    assert [one.name for one in plan.frozen] == ["layer_0.weight", "layer_0.bias"]
    assert len(plan.trained) == 2


class Odd(nn.Module):
    """A linear layer around something that has no place in a graph."""

    def __init__(self, way: Callable[["Odd", Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.last, self.free = nn.Linear(4, 4), nn.Linear(4, 1), nn.Parameter(torch.ones(4))
        self.table = nn.Embedding(5, 4)
        self.way = way

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.way(self, x))


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (
            nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)),
            "batch_norm.* mixes .*GroupNorm",
        ),
        (nn.Sequential(nn.Linear(4, 4), nn.SiLU(), nn.Linear(4, 1)), "aten.silu.default .* use GELU or ReLU"),
        (
            nn.Sequential(nn.Linear(4, 4), nn.GELU("tanh"), nn.Linear(4, 1)),
            r"approximate='tanh'.*nn.GELU\(\)",
        ),
        (nn.Sequential(nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(1, 1, 1, padding="same")), "give its padding as numbers"),
        (nn.Linear(4, 2), r"must give one logit, shape \(1\), not \(2\)"),
        (Odd(lambda odd, x: odd.first(odd.first(x))), "first.weight is used twice"),
        (Odd(lambda odd, x: odd.first(x) * odd.free), "takes one value and a number"),
        (Odd(lambda odd, x: odd.first(x) + odd.free), "free.* is used by itself; put it into a layer"),
        (Odd(lambda odd, x: odd.first(x) - odd.first(x).mean(0)), "first.weight is used twice|aten.mean"),
        (Odd(lambda odd, x: x.flip(0)), "aten.flip.default is not on the list"),
        (Odd(lambda odd, x: x[:3].repeat(3, 1)[: len(x)]), "may choose columns|joins, drops or splits records"),
        (Odd(lambda odd, x: odd.table((x[:, 0] * 2).round().long())), r"must be read as \(\(x\[:, i\] \+ 1\) \* 2\)"),
        (Odd(lambda odd, x: odd.table(x[:, 0].long())), "must be rounded"),
        (Odd(lambda odd, x: x.round()), "may only be looked up"),
        (Odd(lambda odd, x: x if x.sum() > 0 else -x), "can't trace the model"),
    ],
)
def test_what_has_no_place_in_a_graph_is_refused_by_name_with_a_remedy(module: nn.Module, reason: str) -> None:
    with pytest.raises(ExportRefused, match=reason):
        exported(module, 4)


def test_a_graph_whose_outputs_differ_is_never_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion.operators, "affine", lambda target, number: (1.0, 0.0))
    with pytest.raises(ExportRefused, match="outputs differ from the model's by"):
        exported(Odd(lambda odd, x: odd.first(x) * 3.0), 4)


def test_a_factory_that_gives_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "no_models.py").write_text("def make():\n    return 3\n")
    with pytest.raises(ExportRefused, match="gives a int, must give a torch"):
        load_model("no_models:make", tmp_path)
    with pytest.raises(ExportRefused, match="run the command where missing_models"):
        load_model("missing_models:make", tmp_path)
    with pytest.raises(ExportRefused, match="must be MODULE:FACTORY"):
        load_model("no_models", tmp_path)
