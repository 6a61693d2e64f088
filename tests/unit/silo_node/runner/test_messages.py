"""Frames carry JSON and numbers, whole and within bounds, or are refused."""

import os
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from silo_node.runner.messages import (
    MAGIC,
    MAX_HEADER_BYTES,
    MAX_PAYLOAD_BYTES,
    BadFrame,
    Frame,
    Pipe,
    PipeClosed,
    TimedOut,
    vector_bytes,
    vector_from,
)


class Ends:
    """A pipe's frames on one side, its bytes on the other."""

    def __init__(self) -> None:
        self.reading, self.fed = os.pipe()
        self.taken, self.writing = os.pipe()
        self.pipe = Pipe(self.reading, self.writing)
        self._open = {self.reading, self.fed, self.taken, self.writing}

    def feed(self, data: bytes) -> None:
        """All that is ever read: the pipe is closed behind it."""
        os.write(self.fed, data)
        self.close(self.fed)

    def close(self, *descriptors: int) -> None:
        for descriptor in descriptors:
            os.close(descriptor)
            self._open.remove(descriptor)

    def close_all(self) -> None:
        self.close(*list(self._open))


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    yield made
    made.close_all()


def prefix(magic: bytes, header: int, payload: int) -> bytes:
    return magic + header.to_bytes(4, "big") + payload.to_bytes(8, "big")


def test_a_frame_is_these_bytes(ends: Ends) -> None:
    ends.pipe.send(Frame({"reply": "outcome", "steps_run": 5}, vector_bytes(np.array([1.0]))))
    header = b'{"reply":"outcome","steps_run":5}'
    assert os.read(ends.taken, 1000) == prefix(b"CSR1", len(header), 8) + header + bytes(6) + b"\xf0\x3f"


@given(st.dictionaries(st.text(max_size=5), st.integers(-9, 9) | st.text(max_size=5)), st.binary(max_size=300))
@settings(deadline=None, max_examples=50)
def test_what_is_sent_is_received(header: dict[str, object], payload: bytes) -> None:
    reading, writing = os.pipe()
    pipe = Pipe(reading, writing)
    try:
        pipe.send(Frame(header, payload))
        frame = pipe.receive()
    finally:
        os.close(reading)
        os.close(writing)
    assert (frame.header, frame.payload) == (header, payload)


def test_a_frame_larger_than_the_pipe_comes_through_whole() -> None:
    reading, writing = os.pipe()
    pipe = Pipe(reading, writing)
    payload = os.urandom(3_000_000)
    sender = threading.Thread(target=pipe.send, args=(Frame({"big": True}, payload),))
    sender.start()
    assert pipe.receive(deadline=pipe.clock() + 60).payload == payload
    sender.join()
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94",
        prefix(b"CSR2", 2, 0) + b"{}",
        prefix(MAGIC, 3, 0) + b"{} ",
        prefix(MAGIC, 2, 0) + b"[]",
        prefix(MAGIC, 4, 0) + b"null",
        prefix(MAGIC, 2, 0) + b"\xff\xff",
        prefix(MAGIC, 0, 0),
    ],
)
def test_garbage_is_refused(data: bytes, ends: Ends) -> None:
    ends.feed(data)
    with pytest.raises(BadFrame):
        ends.pipe.receive()


@pytest.mark.parametrize(
    ("header", "payload", "most"),
    [(MAX_HEADER_BYTES + 1, 0, 0), (2, MAX_PAYLOAD_BYTES + 1, MAX_PAYLOAD_BYTES), (2, 2**64 - 1, 8), (2, 9, 8)],
)
def test_an_oversize_frame_is_refused_by_its_length_alone(header: int, payload: int, most: int, ends: Ends) -> None:
    os.write(ends.fed, prefix(MAGIC, header, payload))  # Nothing follows: reading on would never end.
    with pytest.raises(BadFrame, match="bytes, at most"):
        ends.pipe.receive(most, ends.pipe.clock() + 60)


def test_an_oversize_header_is_not_sent(ends: Ends) -> None:
    with pytest.raises(BadFrame, match="a header of"):
        ends.pipe.send(Frame({"long": "x" * MAX_HEADER_BYTES}))


@pytest.mark.parametrize("size", [0, 5, 15, 16, 17, 25])
def test_a_truncated_frame_is_the_other_ends_death(size: int, ends: Ends) -> None:
    ends.feed((prefix(MAGIC, 2, 8) + b"{}" + bytes(8))[:size])
    with pytest.raises(PipeClosed):
        ends.pipe.receive()


def test_silence_ends_at_the_deadline(ends: Ends) -> None:
    os.write(ends.fed, prefix(MAGIC, 2, 8) + b"{}")
    with pytest.raises(TimedOut):
        ends.pipe.receive(8, ends.pipe.clock() + 0.05)


def test_a_reader_that_does_not_read_is_waited_for_until_the_deadline(ends: Ends) -> None:
    with pytest.raises(TimedOut):
        ends.pipe.send(Frame({}, bytes(10_000_000)), ends.pipe.clock() + 0.05)


def test_writing_to_nobody_is_noticed(ends: Ends) -> None:
    ends.close(ends.taken)
    with pytest.raises(PipeClosed):
        ends.pipe.send(Frame({}))


@pytest.mark.parametrize("size", [0, 7, 15, 17, 24])
def test_a_vector_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(BadFrame, match="not of 2 float64"):
        vector_from(bytes(size), 2)


def test_a_frame_shows_nothing_when_printed() -> None:
    assert "hunter2" not in repr(Frame({"reason": "hunter2"}, b"hunter2"))
