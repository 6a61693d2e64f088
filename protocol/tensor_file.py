"""Tensors in safetensors files, read by bounds that hold before anything is allocated. No other format is opened.

A file is 8 bytes of header length, a JSON header, then the values. Stricter than the format: no gaps, no overlaps, no
bytes left over, names once, finite values only. Archives of torch and pickles are told by their first bytes and
refused: to open one may run code that it brought.
"""

import json
import math
import struct
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from protocol.errors import Malformed

Floats = NDArray[np.float64]

MAX_HEADER_BYTES: Final = 16 * 1024 * 1024
MAX_TENSORS: Final = 2048
MAX_DIMENSIONS: Final = 4
ARCHIVES: Final = {b"PK": "a zip archive (.pt, .pt2, .npz)", b"\x80": "a pickle", b"\x1f\x8b": "a gzip archive"}

_DTYPES: Final = {"F64": "<f8", "F32": "<f4"}
_SPELLED: Final = {"F64": "float64", "F32": "float32"}


def refuse_archives(data: bytes, what: str) -> None:
    """Raises ``Malformed`` for what begins like something that can bring code. Looks at the first bytes only."""
    for magic, kind in ARCHIVES.items():
        if data.startswith(magic):
            raise Malformed(
                f"{what} is {kind}: opening one can run code that it brings, so none is ever opened; "
                "make a graph and safetensors of the model with: consortia study graph"
            )


def read_tensors(
    data: bytes, what: str, dtypes: tuple[str, ...] = ("F64",)
) -> tuple[dict[str, str], dict[str, Floats]]:
    """Metadata and tensors, as float64, of a safetensors file; ``what`` names it in refusals. Raises ``Malformed``.

    dtypes: those of "F64" and "F32" that tensors may have.
    """
    if len(data) < 8:
        raise Malformed(f"{what} is too short to be safetensors")
    # The length of a sound header leaves the upper bytes zero: none begins like an archive and is a file too.
    (length,) = struct.unpack("<Q", data[:8])
    if not 2 <= length <= min(MAX_HEADER_BYTES, len(data) - 8):
        refuse_archives(data, what)
        raise Malformed(f"{what}'s header claims {length} bytes of {len(data) - 8}")
    header = _header(data[8 : 8 + length], what)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(one, str) for one in metadata.values()):
        raise Malformed(f"{what}'s metadata is not text by name")
    if len(header) > MAX_TENSORS:
        raise Malformed(f"{what} has {len(header)} tensors, at most {MAX_TENSORS} are read")
    return metadata, _tensors(header, memoryview(data)[8 + length :], what, dtypes)


def _tensors(header: dict[str, Any], body: memoryview, what: str, dtypes: tuple[str, ...]) -> dict[str, Floats]:
    spans = sorted((*_span(name, entry, dtypes), name) for name, entry in header.items())
    end, tensors = 0, {}
    for start, stop, name in spans:
        if start != end:
            raise Malformed(f"tensor {name[:80]} does not begin where the one before ends")
        end = stop
        if stop > len(body):
            raise Malformed(f"tensor {name[:80]} ends beyond the file")
        values = np.frombuffer(body[start:stop], dtype=_DTYPES[header[name]["dtype"]]).astype(np.float64)
        tensors[name] = values.reshape(header[name]["shape"])
        if not np.isfinite(values).all():
            raise Malformed(f"tensor {name[:80]} holds a value that is not finite")
    if end != len(body):
        raise Malformed(f"{what} has {len(body) - end} bytes after its last tensor")
    return tensors


def _header(raw: bytes, what: str) -> dict[str, Any]:
    try:
        header = json.loads(raw.decode("utf-8"), object_pairs_hook=_once)
    except (UnicodeDecodeError, ValueError, RecursionError):
        raise Malformed(f"{what}'s header is not JSON, or names something twice") from None
    if not isinstance(header, dict):
        raise Malformed(f"{what}'s header is not a JSON object")
    return header


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a name stands twice")
    return dict(pairs)


def _span(name: str, entry: Any, dtypes: tuple[str, ...]) -> tuple[int, int]:
    """Where a tensor's bytes lie, after its entry was checked."""
    known = isinstance(entry, dict) and set(entry) == {"dtype", "shape", "data_offsets"}
    if not known or entry["dtype"] not in dtypes:
        wanted = " or ".join(_SPELLED[one] for one in dtypes)
        raise Malformed(f"tensor {name[:40]!r} is not described as {wanted} with a shape and offsets")
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not _counts(shape) or len(shape) > MAX_DIMENSIONS or not _counts(offsets) or len(offsets) != 2:
        raise Malformed(f"tensor {name[:40]!r} has a shape or offsets that are no small whole numbers")
    size = int(_DTYPES[entry["dtype"]][-1]) * math.prod(shape)
    if offsets[1] - offsets[0] != size:
        raise Malformed(f"tensor {name[:40]!r} has {offsets[1] - offsets[0]} bytes, its shape needs {size}")
    return offsets[0], offsets[1]


def _counts(value: Any) -> bool:
    return isinstance(value, list) and all(type(one) is int and 0 <= one < 2**40 for one in value)
