"""The whole log checked offline, from an export and one digest that came by another way.

The file is read once, line by line, and never held. What stands first here is what is reported first:

1. every line is a leaf in canonical form, with the statement that its digest names (protocol.export);
2. the leaves are as many as the checkpoint says, and add up to its root;
3. the log's first charter is the pinned one; the checkpoint is signed by the log key of the charter in force at the
   end, and the header names the charters that the leaves hold;
4. what witnesses cosigned is a beginning of this log: its root stands over as many of these leaves, and the lines on it
   are the log's and those of witnesses that the charter in force there names (client.audit.witnessing); a timestamp is
   of that very checkpoint;
5. every statement is signed as the charter in force at its leaf demands (protocol.chain), every study keeps to its
   order and every domain to its budget (client.audit.replay). The first leaf that fails is named.

So a file that was tampered with is said to be that, and nobody is blamed for a statement that they didn't make.
"""

import gc
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from cryptography.x509 import Certificate

from client.audit.dating import read_timestamp
from client.audit.replay import Audited
from client.audit.signatures import SignatureQueue
from client.audit.witnessing import Witnessing, read_witnessing, stated_size
from client.errors import AuditFailed, UsageRefused
from protocol.chain import CharterChain
from protocol.charter import Charter
from protocol.errors import ProtocolError
from protocol.export import ExportRefused, Header, RecordedLeaf, check_leaves, read_checkpoint, read_header, read_leaves
from protocol.signed_note import LogError, VerifierKey
from protocol.signing import verify
from protocol.translog import Checkpoint, TreeHead
from protocol.tree import GrowingTree

HEADER_LINES: Final = 2
SMALL_FILE_BYTES: Final = 8 * 1024 * 1024
"""Up to this size, starting processes would take longer than checking the signatures here."""

ALLOCATIONS_PER_COLLECTION: Final = 100_000

Seen = Callable[[RecordedLeaf], None]
"""Told of each leaf as it is read, before anything is verified: what it keeps counts once ``verify_export`` returns."""


def every(*seen: Seen | None) -> Seen:
    """One listener that tells all of them."""
    listeners = [one for one in seen if one is not None]

    def tell(leaf: RecordedLeaf) -> None:
        for listener in listeners:
            listener(leaf)

    return tell


def verify_file(
    path: Path,
    founding: str,
    processes: int = 0,
    seen: Seen | None = None,
    roots: Sequence[Certificate] = (),
) -> Audited:
    """Everything that an export proves; ``processes`` check signatures (0: as many as there are cores).

    ``roots`` are those of the time-stamping authority that its timestamp has to lead to (client.audit.dating).

    Raises ``AuditFailed``, or ``UsageRefused`` for a file that can't be read.
    """
    try:
        with path.open(encoding="utf-8", newline="\n") as lines:
            small = path.stat().st_size <= SMALL_FILE_BYTES
            if small:
                return verify_export(lines, founding, None, seen, roots)
            with _rare_collections(), SignatureQueue.of_processes(processes or os.cpu_count() or 1) as queue:
                return verify_export(lines, founding, queue, seen, roots)
    except OSError as error:
        raise UsageRefused(f"export {path} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise AuditFailed("the file is not UTF-8 text; export it again") from None


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Statements hold no cycles, so that looking for some every 700 objects takes a tenth of the time, for nothing."""
    before = gc.get_threshold()
    gc.set_threshold(ALLOCATIONS_PER_COLLECTION, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def verify_export(
    lines: Iterable[str],
    founding: str,
    queue: SignatureQueue | None = None,
    seen: Seen | None = None,
    roots: Sequence[Certificate] = (),
) -> Audited:
    """Everything the log proves. ``lines`` of a file opened as UTF-8 with newline="\\n"; raises ``AuditFailed``.

    Without a ``queue`` each signature is checked as its leaf is read; the outcome is the same.
    """
    ordered = iter(lines)
    try:
        reading = _Reading(read_header(ordered), founding, queue, roots)
        for leaf in read_leaves(ordered):
            if seen is not None:
                seen(leaf)
            reading.take(leaf)
        return reading.finish()
    except ExportRefused as error:
        leaf_index = error.line - HEADER_LINES
        raise AuditFailed(str(error), leaf_index if leaf_index >= 0 else None) from None


class _Reading:
    """The state of one pass over a file."""

    def __init__(
        self, header: Header, founding: str, queue: SignatureQueue | None, roots: Sequence[Certificate]
    ) -> None:
        self._header = header
        self._roots = roots
        self._queue = queue
        self._tree = GrowingTree()
        self._audited = Audited(CharterChain(founding, verify if queue is None else queue.later), header)
        self._failure: AuditFailed | None = None
        self._chain_broken = False
        self._witnessed_size = _witnessed_size(header)
        self._witnessed: tuple[bytes, Charter] | None = None

    def take(self, leaf: RecordedLeaf) -> None:
        """The next leaf. After one that failed only the tree and the charters are followed, for ``finish``."""
        self._tree.append(leaf.hash)
        if self._queue is not None:
            self._queue.leaf = leaf.index
            self._failure = self._failure or self._queue.failure
        charters = len(self._audited.chain.charters)
        if self._failure is None:
            try:
                self._audited.take(leaf.index, leaf.entry, leaf.recorded)
            except AuditFailed as failure:
                self._failure = failure
        elif leaf.entry.kind == "charter" and leaf.recorded is not None:
            with suppress(ProtocolError):
                self._audited.chain.read(leaf.entry, leaf.recorded)
        if leaf.entry.kind == "charter" and len(self._audited.chain.charters) == charters:
            self._chain_broken = True
        if self._tree.size == self._witnessed_size and self._audited.chain.charters:
            self._witnessed = self._tree.root, self._audited.chain.in_force

    def finish(self) -> Audited:
        """What was verified. Raises the first thing that doesn't hold, in the module's order."""
        check_leaves(self._header, TreeHead(self._tree.size, self._tree.root))
        if not self._audited.chain.charters:
            founding = self._audited.chain.founding[:16]
            raise AuditFailed(f"the log's first charter is not the pinned {founding}: another log, or an altered one")
        if not self._chain_broken:
            self._audited.checkpoint = self._checkpoint()
            self._audited.witnessing = self._witnessing()
            self._audited.dated = read_timestamp(self._header, self._roots)
        # What the queue finds was queued before the leaf that failed, or at it: it comes first.
        failure = (self._queue.settle() if self._queue is not None else None) or self._failure
        if failure is not None:
            raise failure
        return self._audited

    def _checkpoint(self) -> Checkpoint:
        charter = self._audited.chain.in_force
        checkpoint = read_checkpoint(self._header, str(VerifierKey.from_hex(charter.log_origin, charter.log_key)))
        if self._audited.chain.digests != self._header.charters:
            raise AuditFailed("the export's header names other charters than its leaves hold")
        return checkpoint

    def _witnessing(self) -> Witnessing | None:
        if not self._header.witnessed:
            return None
        if self._witnessed is None:
            raise ExportRefused(1, f"witnesses cosigned {self._witnessed_size} leaves, the file has {self._tree.size}")
        root, charter = self._witnessed
        try:
            witnessing = read_witnessing(self._header.witnessed, charter)
        except LogError as error:
            raise ExportRefused(1, f"witnessed: {error}") from None
        if witnessing.checkpoint.root_hash != root:
            size = self._witnessed_size
            raise ExportRefused(1, f"witnesses cosigned another log: their root over {size} leaves is not this file's")
        return witnessing


def _witnessed_size(header: Header) -> int:
    try:
        return stated_size(header.witnessed) if header.witnessed else 0
    except LogError as error:
        raise ExportRefused(1, f"witnessed: {error}") from None
