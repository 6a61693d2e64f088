"""A table read from bytes, as if they lay in a file."""

import tempfile
from pathlib import Path

from silo_node.dataset.fingerprint import Seal
from silo_node.dataset.schema import Schema
from silo_node.dataset.sources.opening import open_source
from silo_node.dataset.table import OptedOut, Table, read_table

KEY = bytes(range(32))


def read(path: Path, schema: Schema, opted_out: OptedOut | None = None) -> Table:
    return read_table(open_source(path), schema, Seal(KEY, schema), KEY, opted_out)


def load(content: bytes, suffix: str, schema: Schema) -> Table:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"source{suffix}"
        path.write_bytes(content)
        return read(path, schema)
