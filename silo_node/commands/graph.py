"""``consortia-silo export-graph``: a researcher's torch model as a graph and weights, in a folder.

``consortia study graph`` starts it. It opens no silo's folder and no network; it runs the researcher's own code.
"""

import contextlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from protocol import canonical
from protocol.errors import ProtocolError
from protocol.graph_export import GRAPH_FILE, WEIGHTS_FILE, GraphExported, GraphRefused
from protocol.ids import as_sentence
from silo_node.errors import SiloError

app = typer.Typer()


@app.command("export-graph", hidden=True)
def export_graph_(
    factory: Annotated[str, typer.Argument(help="MODULE:FACTORY")],
    features: Annotated[int, typer.Option("--features")],
    source: Annotated[Path, typer.Option("--source", help="Folder of the module")],
    out: Annotated[Path, typer.Option("--out", help="Folder for graph and weights")],
    backbone: Annotated[bool, typer.Option("--backbone")] = False,
) -> None:
    """Export a model; the last line of standard output says how it went (protocol.graph_export)."""
    try:
        # What the researcher's code prints must not pass for the answer.
        with contextlib.redirect_stdout(sys.stderr):
            said = _export(factory, features, source, out, backbone)
    except (SiloError, ProtocolError) as error:
        sys.stdout.write(GraphRefused(type="refused", reason=as_sentence(str(error))).model_dump_json() + "\n")
        raise typer.Exit(1) from None
    sys.stdout.write(said.model_dump_json() + "\n")


def _export(factory: str, features: int, source: Path, out: Path, backbone: bool) -> GraphExported:
    # Imported here: torch takes seconds, and no other command needs it.
    from safetensors.numpy import save

    from silo_node.graph_export.export import export_model, load_model

    exported = export_model(load_model(factory, source), features, backbone)
    (out / GRAPH_FILE).write_bytes(canonical.encode(exported.graph.model_dump(mode="json")))
    (out / WEIGHTS_FILE).write_bytes(save(exported.tensors))
    return GraphExported(type="exported", difference=exported.difference)
