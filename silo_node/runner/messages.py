"""Frames between the agent and the process that reads rows: a small JSON header and raw bytes, nothing that runs.

A frame is ``MAGIC`` (4 bytes), the header's length (u32), the payload's length (u64), both big-endian, then the
header, canonical JSON (RFC 8785), then the payload: little-endian float64 or opaque bytes. Both lengths are
checked before anything is read, and memory grows only with what arrives: of a payload, a block at a time.
"""

import os
import select
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, BinaryIO, Final

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
class Payload:
    """``size`` bytes in ``blocks``, which are given once: who only hands them on never holds all of them."""

    size: int = 0
    blocks: Iterable[bytes | memoryview] = ()

    @classmethod
    def of(cls, data: bytes | memoryview) -> "Payload":
        return cls(len(data), (data,))

    @classmethod
    def rest_of(cls, file: BinaryIO, start: int) -> "Payload":
        """What a seekable file holds from byte ``start`` on, read when it is sent; nothing if it ends before."""
        size = max(0, file.seek(0, os.SEEK_END) - start)
        file.seek(start)
        return cls(size, iter(partial(file.read, _PIECE), b""))

    def whole(self) -> bytes:
        """All of it, held at once; no copy if it was."""
        return b"".join(self.blocks)

    def __repr__(self) -> str:
        return f"<Payload of {self.size} bytes, redacted>"


@dataclass(frozen=True, slots=True, repr=False)
class Frame:
    """``header``: JSON types. Both it and the payload may hold what must not be logged."""

    header: dict[str, Any]
    payload: Payload = field(default_factory=Payload)

    def __repr__(self) -> str:
        return f"<Frame of {self.payload.size} payload bytes, redacted>"


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
        """Raises ``PipeClosed``, ``TimedOut``, or ``BadFrame`` for a frame over the bounds.

        ``BadFrame`` also for a payload that has another size than it says: then half a frame is sent.
        """
        header, size = canonical.encode(frame.header), frame.payload.size
        _check(len(header), size, MAX_PAYLOAD_BYTES)
        self._write(_PREFIX.pack(MAGIC, len(header), size) + header, deadline)
        for block in frame.payload.blocks:
            size -= len(block)
            if size < 0:
                break
            self._write(block, deadline)
        if size:
            raise BadFrame(f"a payload that has not the {frame.payload.size} bytes which it was to have")

    def receive(self, most: int = MAX_PAYLOAD_BYTES, deadline: float | None = None) -> Frame:
        """The next frame, of at most ``most`` payload bytes. Raises ``PipeClosed``, ``TimedOut``, ``BadFrame``.

        Its payload is read from the pipe, in blocks of a whole number of float64, as it is asked for: all of it
        before the next frame, by ``deadline``, with the same errors.
        """
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
        return Frame(header, Payload(payload_bytes, self._blocks(payload_bytes, deadline)))

    def _blocks(self, size: int, deadline: float | None) -> Iterator[bytes]:
        for at in range(0, size, _PIECE):
            yield bytes(self._read(min(_PIECE, size - at), deadline))

    def _write(self, data: bytes | memoryview, deadline: float | None) -> None:
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


def vector_payload(vector: NDArray[np.float64]) -> Payload:
    """A vector (n,) as 8n bytes, little-endian; not copied where it lies so already."""
    return Payload.of(np.ascontiguousarray(vector, dtype="<f8").view(np.uint8).data)


def _check(header_bytes: int, payload_bytes: int, most: int) -> None:
    if header_bytes > MAX_HEADER_BYTES:
        raise BadFrame(f"a header of {header_bytes} bytes, at most {MAX_HEADER_BYTES} are allowed")
    if payload_bytes > most:
        raise BadFrame(f"a payload of {payload_bytes} bytes, at most {most} are allowed")
