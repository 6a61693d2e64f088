"""A draft's model that lies in files beside the draft: the graph in JSON, and which weights go with it.

``{family: graph, file: model.json}`` becomes the clause of the contract, which holds the graph itself; weights it
holds too. Archives and pickles are refused by their first bytes and never opened.
"""

import base64
import json
from pathlib import Path
from typing import Any, Final

from protocol import canonical
from protocol.errors import DraftRefused, Malformed
from protocol.model_weights import MAX_WEIGHTS_BYTES
from protocol.tensor_file import read_tensors, refuse_archives

MAX_GRAPH_BYTES: Final = 4 * 1024 * 1024
_GRAPH_FIELDS: Final = {"graph": "graph", "frozen": "backbone", "lora": "graph"}


def with_files_read(model: Any, folder: Path) -> Any:
    """The draft's model with what its files say in place of their names, which are relative to ``folder``.

    Raises ``DraftRefused`` for a file that can't be read or is something else.
    """
    if not isinstance(model, dict):
        return model
    read = dict(model)
    field = _GRAPH_FIELDS.get(str(model.get("family")))
    if field is not None and isinstance(model.get("file"), str):
        read[field] = _graph(folder / read.pop("file"))
    if field is not None and isinstance(model.get("weights"), str):
        read["weights"] = _weights(folder / model["weights"])
    return read


def _graph(path: Path) -> Any:
    data = _read(path, "model.file", MAX_GRAPH_BYTES)
    try:
        refuse_archives(data, f"model.file: {path.name}")
        return json.loads(data.decode("utf-8"), object_pairs_hook=_once)
    except Malformed as error:
        raise DraftRefused(str(error)) from None
    except (UnicodeDecodeError, ValueError, RecursionError):
        raise DraftRefused(
            f"model.file: {path.name} is not a graph in JSON; make one with: consortia study graph"
        ) from None


def _weights(path: Path) -> dict[str, Any]:
    data = _read(path, "model.weights", MAX_WEIGHTS_BYTES)
    try:
        refuse_archives(data, f"model.weights: {path.name}")
        read_tensors(data, f"model.weights: {path.name}", ("F32", "F64"))
    except Malformed as error:
        raise DraftRefused(str(error)) from None
    return {"digest": canonical.digest(data), "size": len(data), "data": base64.b64encode(data).decode()}


def _read(path: Path, field: str, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise DraftRefused(f"{field}: {path} can't be read: {error.strerror}") from None
    if len(data) > most:
        raise DraftRefused(f"{field}: {path.name} has more than the {most} bytes that are read")
    return data


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a name stands twice")
    return dict(pairs)
