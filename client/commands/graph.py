"""``consortia study graph``: a torch model of yours as a graph in JSON, for a draft."""

from pathlib import Path
from typing import Annotated

import typer

from client.commands.options import AsJson, print_json, say


def graph_(
    factory: Annotated[str, typer.Argument(metavar="MODULE:FACTORY", help="What makes the model: nets:make")],
    features: Annotated[int, typer.Option("--features", min=1, max=10_000, help="How many columns the model reads")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write the graph")],
    weights: Annotated[Path | None, typer.Option("--weights", help="Where to write the values, safetensors")] = None,
    backbone: Annotated[bool, typer.Option("--backbone", help="For family frozen: values of any shape")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a graph of a torch model: your own Python runs here, on your machine, and nowhere else."""
    from client.graph_export import export_graph  # NumPy: too slow to load for every command

    traced = export_graph(factory, features, Path.cwd(), out, weights, backbone=backbone)
    plan = traced.plan
    trained, frozen = (sum(one.length for one in part) for part in (plan.trained, plan.frozen))
    if as_json:
        figures = {"nodes": len(plan.steps), "trained": trained, "frozen": frozen, "difference": traced.difference}
        print_json(figures | {"files": [str(path) for path in (out, weights) if path is not None]})
        return
    say(f"{len(plan.steps)} nodes, {trained:,} trained and {frozen:,} frozen parameters")
    say(f"its outputs are the model's to {traced.difference:.1e}")
    for path in (out, weights):
        if path is not None:
            say(f"  {path}")
