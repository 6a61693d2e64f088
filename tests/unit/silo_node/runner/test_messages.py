"""Frames carry JSON and numbers, whole and within bounds, or are refused."""

import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path

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
    Payload,
    Pipe,
    PipeClosed,
    TimedOut,
    vector_payload,
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
    ends.pipe.send(Frame({"reply": "outcome", "steps_run": 5}, vector_payload(np.array([1.0]))))
    header = b'{"reply":"outcome","steps_run":5}'
    assert os.read(ends.taken, 1000) == prefix(b"CSR1", len(header), 8) + header + bytes(6) + b"\xf0\x3f"


@given(st.dictionaries(st.text(max_size=5), st.integers(-9, 9) | st.text(max_size=5)), st.binary(max_size=300))
@settings(deadline=None, max_examples=50)
def test_what_is_sent_is_received(header: dict[str, object], payload: bytes) -> None:
    reading, writing = os.pipe()
    pipe = Pipe(reading, writing)
    try:
        pipe.send(Frame(header, Payload.of(payload)))
        frame = pipe.receive()
        received = frame.payload.whole()
    finally:
        os.close(reading)
        os.close(writing)
    assert (frame.header, frame.payload.size, received) == (header, len(payload), payload)


def test_a_frame_larger_than_the_pipe_comes_through_whole() -> None:
    reading, writing = os.pipe()
    pipe = Pipe(reading, writing)
    payload = os.urandom(3_000_000)
    sender = threading.Thread(target=pipe.send, args=(Frame({"big": True}, Payload.of(payload)),))
    sender.start()
    blocks = list(pipe.receive(deadline=pipe.clock() + 60).payload.blocks)
    assert b"".join(blocks) == payload
    assert [len(block) for block in blocks] == [1 << 20, 1 << 20, 3_000_000 - (2 << 20)]
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
        ends.pipe.receive().payload.whole()


def test_silence_ends_at_the_deadline(ends: Ends) -> None:
    os.write(ends.fed, prefix(MAGIC, 2, 8) + b"{}")
    with pytest.raises(TimedOut):
        ends.pipe.receive(8, ends.pipe.clock() + 0.05).payload.whole()


def test_a_reader_that_does_not_read_is_waited_for_until_the_deadline(ends: Ends) -> None:
    with pytest.raises(TimedOut):
        ends.pipe.send(Frame({}, Payload.of(bytes(10_000_000))), ends.pipe.clock() + 0.05)


def test_writing_to_nobody_is_noticed(ends: Ends) -> None:
    ends.close(ends.taken)
    with pytest.raises(PipeClosed):
        ends.pipe.send(Frame({}))


def test_a_frame_from_a_file_is_one_from_memory(ends: Ends, tmp_path: Path) -> None:
    (tmp_path / "progress").write_bytes(b"lead" + bytes(range(200)))
    with (tmp_path / "progress").open("rb") as file:
        ends.pipe.send(Frame({}, Payload.rest_of(file, 4)))
    from_file = os.read(ends.taken, 1000)
    ends.pipe.send(Frame({}, Payload.of(bytes(range(200)))))
    assert os.read(ends.taken, 1000) == from_file == prefix(MAGIC, 2, 200) + b"{}" + bytes(range(200))


@pytest.mark.parametrize("size", [0, 3, 4])
def test_of_a_file_that_ends_before_the_payload_nothing_is_sent(size: int) -> None:
    payload = Payload.rest_of(io.BytesIO(bytes(size)), 4)
    assert (payload.size, payload.whole()) == (0, b"")


@pytest.mark.parametrize("blocks", [(b"12345",), (b"1234", b"56789"), (b"123456789",), ()])
def test_a_payload_of_another_size_than_it_says_is_not_passed_off_as_one(blocks: tuple[bytes, ...], ends: Ends) -> None:
    with pytest.raises(BadFrame, match="not the 8 bytes"):
        ends.pipe.send(Frame({}, Payload(8, blocks)))


def test_a_vector_is_sent_from_where_it_lies_and_any_other_in_its_form() -> None:
    vector = np.arange(4, dtype="<f8")
    (block,) = vector_payload(vector).blocks
    assert np.shares_memory(np.frombuffer(block, np.uint8), vector)
    for other in (vector.astype(">f8"), np.stack([vector, vector], axis=1)[:, 0]):
        assert vector_payload(other).whole() == vector.tobytes()
    assert vector_payload(np.zeros(0)).size == 0


def test_a_frame_shows_nothing_when_printed() -> None:
    assert "hunter2" not in repr(Payload.of(b"hunter2"))
    assert "hunter2" not in repr(Frame({"reason": "hunter2"}, Payload.of(b"hunter2")))
