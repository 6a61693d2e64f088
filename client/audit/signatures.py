"""Signatures checked later, in batches and in other processes; the first one that fails is always the same.

Whoever reads the log goes on as if each signature held. Nothing may be believed before ``settle`` has returned.
"""

import multiprocessing
import struct
from collections import deque
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from types import TracebackType
from typing import Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from client.errors import AuditFailed, UsageRefused
from protocol import signing
from protocol.errors import BadSignature
from protocol.membership_statements import CharterPublished
from protocol.signing import Signed

BATCH: Final = 1024
WAITING_BATCHES: Final = 8
"""Batches that each process may have waiting: enough that none idles, few enough that memory stays flat."""

_SIZES: Final = struct.Struct(">32s64sI")
"""Before each message of a batch: public key, signature, length. One string of bytes crosses to a process quickest."""


def first_wrong(batch: bytes) -> int | None:
    """The place of the first signature (Ed25519, RFC 8032) in a packed batch that doesn't verify; None if all do."""
    at, place = 0, 0
    while at < len(batch):
        key, signature, length = _SIZES.unpack_from(batch, at)
        at += _SIZES.size
        try:
            _key(key).verify(signature, batch[at : at + length])
        except (InvalidSignature, ValueError):
            return place
        at, place = at + length, place + 1
    return None


def packed(signed: Signed, signing_key: str) -> bytes:
    """One signature of a batch."""
    message = signed.message
    return _SIZES.pack(bytes.fromhex(signing_key), bytes.fromhex(signed.signature), len(message)) + message


@lru_cache(maxsize=4096)
def _key(raw: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(raw)


class SignatureQueue:
    """``later`` takes signatures in; ``failure`` is the first leaf whose signature turned out wrong, so far.

    ``pool`` is the queue's own, of ``workers``, and is shut down with it.
    """

    def __init__(self, pool: Executor, workers: int) -> None:
        self._most = workers * WAITING_BATCHES
        self._pool = pool
        self._filling: list[tuple[int, Signed, str]] = []
        self._waiting: deque[tuple[list[tuple[int, Signed, str]], Future[int | None]]] = deque()
        self.leaf = 0
        self.failure: AuditFailed | None = None

    @classmethod
    def of_processes(cls, processes: int) -> Self:
        return cls(ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")), processes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def later(self, signed: Signed, signing_key: str) -> None:
        """Checks the statement of leaf ``self.leaf`` in some while, under a hex key (a ``chain.SignatureCheck``).

        A charter's is checked here and now: what comes after it is read by its keys.
        """
        if isinstance(signed.body, CharterPublished):
            signing.verify(signed, signing_key)
        if self.failure is not None:
            return
        self._filling.append((self.leaf, signed, signing_key))
        if len(self._filling) >= BATCH:
            self._send()
            while len(self._waiting) > self._most:
                self._collect()

    def settle(self) -> AuditFailed | None:
        """Waits for all answers; the failure of the first leaf whose signature is wrong, if there is one."""
        if self._filling:
            self._send()
        while self._waiting:
            self._collect()
        return self.failure

    def _send(self) -> None:
        batch, self._filling = self._filling, []
        items = b"".join(packed(signed, key) for _, signed, key in batch)
        self._waiting.append((batch, self._pool.submit(first_wrong, items)))

    def _collect(self) -> None:
        batch, answer = self._waiting.popleft()
        try:
            place = answer.result()
        except BrokenProcessPool:
            raise UsageRefused("a process that checks signatures was killed (memory?); try --processes 1") from None
        if place is None or self.failure is not None:
            return
        leaf, signed, key = batch[place]
        try:
            signing.verify(signed, key)  # once more, for the very words of the refusal
        except BadSignature as error:
            self.failure = AuditFailed(str(error), leaf)
            return
        raise UsageRefused(f"the signature of leaf {leaf} fails in one process and holds in another: faulty memory?")
