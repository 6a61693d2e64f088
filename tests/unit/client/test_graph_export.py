"""From a researcher's torch model to a draft: what comes along is data, and an archive never is."""

import io
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.numpy import save

from client import graph_export
from client.errors import ClientError
from protocol.canonical import digest
from protocol.draft import read_draft
from protocol.errors import DraftRefused
from protocol.model import Free
from tests.sample_models import EVERY_OPERATOR, contract_named, drawn_tensors
from tests.unit.client.test_command import Command, command  # noqa: F401  # the fixture

SAMPLE = Path(__file__).parents[3] / "docs" / "samples" / "heart.yaml"
NETS = """
import torch
from torch import nn

print("this is no answer")

def make():
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))"""


class Runs:
    """What a pickle runs when it is opened: it leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (Path.touch, (self.mark,))


def crafted(kind: str, mark: Path) -> bytes:
    """A file that runs code when torch, or anything that reads pickles, opens it."""
    if kind == "pickle":
        return pickle.dumps(Runs(mark))
    held = io.BytesIO()
    torch.save(Runs(mark), held)
    return held.getvalue()


def _unpickled(path: Path, **_: Any) -> Any:
    return pickle.loads(path.read_bytes())  # noqa: S301


def draft_with(model: dict[str, Any], folder: Path) -> Path:
    value = yaml.safe_load(SAMPLE.read_text())
    value["expires_at"], value["model"] = "2099-01-01T00:00:00Z", model
    path = folder / "draft.yaml"
    path.write_text(yaml.safe_dump(value))
    return path


def test_a_torch_model_becomes_the_graph_of_a_draft(
    command: Command,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    code, said, _ = command(
        "study", "graph", "nets:make", "--features", "3", "-o", "m.json", "--weights", "w.safetensors"
    )
    assert code == 0 and "3 nodes, 21 trained and 0 frozen parameters" in said
    model = read_draft(draft_with({"family": "graph", "file": "m.json"}, tmp_path)).model
    assert isinstance(model, Free) and [node.operator for node in model.graph.nodes] == ["linear", "relu", "linear"]


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ('echo \'{"type":"refused","reason":"operator aten.silu.default: use GELU"}\'; exit 1', "use GELU"),
        ("echo 'not an answer'; exit 3", "ended with 3; if it lacks torch, install"),
        ("exit 1", "ended with 1"),
        ('echo \'{"type":"exported","difference":0.0}\'', "left no graph that can be read"),
    ],
)
def test_a_model_that_is_not_traced_leaves_no_file(
    script: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracer = tmp_path / "tracer"
    tracer.write_text(f"#!/bin/sh\n{script}\n")
    tracer.chmod(0o700)
    monkeypatch.setattr(graph_export, "silo_command", lambda: str(tracer))
    with pytest.raises(ClientError, match=reason):
        graph_export.export_graph("nets:make", 3, tmp_path, tmp_path / "m.json", tmp_path / "w")
    assert not (tmp_path / "m.json").exists() and not (tmp_path / "w").exists()


@pytest.mark.parametrize("kind", ["pt2", "pickle"])
@pytest.mark.parametrize("field", ["file", "weights"])
def test_a_crafted_archive_offered_as_graph_or_weights_is_refused_by_its_first_bytes_and_nothing_runs(
    kind: str, field: str, tmp_path: Path
) -> None:
    mark, evil = tmp_path / "it-ran", tmp_path / "model.pt2"
    evil.write_bytes(crafted(kind, mark))
    # The file is as bad as it looks: torch, told not to be careful, runs what is in it.
    with pytest.raises(Exception):  # noqa: B017
        torch.load(evil, weights_only=False)["nothing"]
    assert mark.exists()
    mark.unlink()
    (tmp_path / "good.json").write_text("{}")
    model = {"family": "graph", "file": "good.json", "weights": "w"} | {field: "model.pt2"}
    (tmp_path / "w").write_bytes(save({}))
    with pytest.raises(DraftRefused, match=rf"model.{field}: model.pt2 is a .*none is ever opened"):
        read_draft(draft_with(model, tmp_path))
    assert not mark.exists()


def test_weights_are_named_by_digest_and_size(tmp_path: Path) -> None:
    import json

    (tmp_path / "g.json").write_text(json.dumps(EVERY_OPERATOR))
    data = save(drawn_tensors(contract_named("graph")))
    (tmp_path / "w.safetensors").write_bytes(data)
    path = draft_with({"family": "graph", "file": "g.json", "weights": "w.safetensors", "start": True}, tmp_path)
    model = read_draft(path).model
    assert isinstance(model, Free) and model.weights is not None
    assert (model.weights.digest, model.weights.size) == (digest(data), len(data))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"graph: yes", "is not a graph in JSON"),
        (b'{"format": "consortia-graph/1", "nodes": [], "nodes": []}', "is not a graph in JSON"),
        (b'{"format": "consortia-graph/1", "nodes": []}', "model.graph.graph.nodes"),
        (b"[" * 100_000, "is not a graph in JSON"),
        (None, "can't be read"),
    ],
)
def test_a_graph_file_that_is_none_is_refused(content: bytes | None, reason: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "g.json").write_bytes(content)
    with pytest.raises(DraftRefused, match=reason):
        read_draft(draft_with({"family": "graph", "file": "g.json"}, tmp_path))
