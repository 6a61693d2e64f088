"""Frames between the agent and the process that reads rows: a small JSON header and raw bytes, nothing that runs.

A frame is ``MAGIC`` (4 bytes), the header's length (u32), the payload's length (u64), both big-endian, then the
header, canonical JSON (RFC 8785), then the payload: little-endian float64 or opaque bytes. Both lengths are
checked before anything is read, and memory grows only with what arrives.
"""

import os
import select
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from protocol import canonical
from protocol.errors import Malformed

MAGIC: Final = b"CSR1"
MAX_HEADER_BYTES: Final = canonical.MAX_DOCUMENT_BYTES
MAX_PAYLOAD_BYTES: Final = 4 * 2**30
_PREFIX: Final = struct.Struct(">4sIQ")
_PIECE: Final = 1 << 20

Clock = Callable[[], float]


class BadFrame(Exception):
    """Bytes on the pipe that are no frame, or one over its bound."""


class PipeClosed(Exception):
    """The other end is gone."""


class TimedOut(Exception):
    """The other end did not read or write within its time."""


@dataclass(frozen=True, slots=True, repr=False)
class Frame:
    """``header``: JSON types; ``payload``: bytes. Either may hold what must not be logged."""

    header: dict[str, Any]
    payload: bytes = b""

    def __repr__(self) -> str:
        return f"<Frame of {len(self.payload)} payload bytes, redacted>"


@dataclass(slots=True)
class Pipe:
    """Frames over two file descriptors, one read and one written, until ``deadline`` (in ``clock``'s seconds).

    With ``deadline`` None it waits for as long as the other end lives.
    """

    reading: int
    writing: int
    clock: Clock = time.monotonic

    def __post_init__(self) -> None:
        os.set_blocking(self.reading, False)
        os.set_blocking(self.writing, False)

    def send(self, frame: Frame, deadline: float | None = None) -> None:
        """Raises ``PipeClosed``, ``TimedOut``, or ``BadFrame`` for a frame over the bounds."""
        header = canonical.encode(frame.header)
        _check(len(header), len(frame.payload), MAX_PAYLOAD_BYTES)
        self._write(_PREFIX.pack(MAGIC, len(header), len(frame.payload)) + header, deadline)
        self._write(frame.payload, deadline)

    def receive(self, most: int = MAX_PAYLOAD_BYTES, deadline: float | None = None) -> Frame:
        """The next frame, of at most ``most`` payload bytes. Raises ``PipeClosed``, ``TimedOut``, ``BadFrame``."""
        magic, header_bytes, payload_bytes = _PREFIX.unpack(self._read(_PREFIX.size, deadline))
        if magic != MAGIC:
            raise BadFrame("not a frame")
        _check(header_bytes, payload_bytes, most)
        try:
            header = canonical.decode(bytes(self._read(header_bytes, deadline)))
        except Malformed as error:
            raise BadFrame(str(error)) from None
        if not isinstance(header, dict):
            raise BadFrame("a frame's header is not an object")
        return Frame(header, bytes(self._read(payload_bytes, deadline)))

    def _write(self, data: bytes, deadline: float | None) -> None:
        view = memoryview(data)
        while view:
            self._wait(self.writing, select.POLLOUT, deadline)
            try:
                view = view[os.write(self.writing, view[:_PIECE]) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                raise PipeClosed from None

    def _read(self, size: int, deadline: float | None) -> bytearray:
        data = bytearray()
        while len(data) < size:
            self._wait(self.reading, select.POLLIN, deadline)
            try:
                piece = os.read(self.reading, min(_PIECE, size - len(data)))
            except BlockingIOError:
                continue
            if not piece:
                raise PipeClosed
            data += piece
        return data

    def _wait(self, descriptor: int, event: int, deadline: float | None) -> None:
        poll = select.poll()
        poll.register(descriptor, event)
        left = None if deadline is None else max(0.0, deadline - self.clock()) * 1000
        if not poll.poll(left):
            raise TimedOut


def vector_bytes(vector: NDArray[np.float64]) -> bytes:
    """A vector (n,) as 8n bytes, little-endian."""
    return np.ascontiguousarray(vector, dtype="<f8").tobytes()


def vector_from(payload: bytes, length: int) -> NDArray[np.float64]:
    """The vector (``length``,) in ``payload``. Raises ``BadFrame`` unless it has just that length."""
    if len(payload) != 8 * length:
        raise BadFrame(f"a vector of {len(payload)} bytes, not of {length} float64")
    return np.frombuffer(payload, dtype="<f8").astype(np.float64)


def _check(header_bytes: int, payload_bytes: int, most: int) -> None:
    if header_bytes > MAX_HEADER_BYTES:
        raise BadFrame(f"a header of {header_bytes} bytes, at most {MAX_HEADER_BYTES} are allowed")
    if payload_bytes > most:
        raise BadFrame(f"a payload of {payload_bytes} bytes, at most {most} are allowed")
