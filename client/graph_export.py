"""A torch model of the researcher's as data for a contract: its graph in JSON, its weights in safetensors.

Tracing needs torch, which the client doesn't have: ``consortia-silo export-graph`` is started for it, with no key and
no environment, and what it leaves is parsed as anybody's file would be.
"""

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from client.errors import TrialFailed, UsageRefused
from client.simulating import COMMAND, INSTALL, silo_command
from protocol.errors import Malformed
from protocol.graph_export import ANSWER, GRAPH_FILE, WEIGHTS_FILE, GraphExported, GraphRefused
from protocol.graph_plan import Plan, plan_values
from protocol.model_graph import Graph
from protocol.tensor_file import read_tensors


@dataclass(frozen=True, slots=True)
class TracedModel:
    """What was written, and the plan of it. ``difference``: of its outputs from the model's, relative, at most."""

    plan: Plan
    difference: float


def export_graph(
    factory: str, features: int, folder: Path, out: Path, weights: Path | None, *, backbone: bool = False
) -> TracedModel:
    """Trace what ``MODULE:FACTORY`` in ``folder`` makes; write its graph to ``out``, its values to ``weights``.

    Raises ``UsageRefused`` with the operator or setting that has no place in a contract's graph; then nothing is
    written.
    """
    with tempfile.TemporaryDirectory() as place:
        answer = _traced(factory, features, folder, Path(place), backbone)
        try:
            graph = Graph.model_validate_json((Path(place) / GRAPH_FILE).read_bytes())
            plan = plan_values(graph, features)
            _, tensors = read_tensors((Path(place) / WEIGHTS_FILE).read_bytes(), "the weights", ("F32",))
        except (OSError, ValidationError, ValueError, Malformed):
            raise TrialFailed(f"{COMMAND} left no graph that can be read; are both of one version?") from None
        if {name: one.shape for name, one in tensors.items()} != {one.name: one.shape for one in plan.parameters}:
            raise TrialFailed(f"{COMMAND} left weights of another graph; are both of one version?")
        shutil.copyfile(Path(place) / GRAPH_FILE, out)
        if weights is not None:
            shutil.copyfile(Path(place) / WEIGHTS_FILE, weights)
    return TracedModel(plan, answer.difference)


def _traced(factory: str, features: int, folder: Path, place: Path, backbone: bool) -> GraphExported:
    command = [silo_command(), "export-graph", factory, "--features", str(features), "--source", str(folder.absolute())]
    command += ["--out", str(place), *(["--backbone"] if backbone else [])]
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1"}
    # What the researcher's code complains of is the researcher's to read.
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment, check=False)
    lines = ended.stdout.strip().splitlines()
    try:
        answer = ANSWER.validate_json(lines[-1] if lines else b"")
    except ValidationError:
        raise TrialFailed(f"{COMMAND} ended with {ended.returncode}; if it lacks torch, install: {INSTALL}") from None
    if isinstance(answer, GraphRefused):
        raise UsageRefused(f"{factory}: {answer.reason}")
    return answer
