"""The log in one file, read by a compliance officer without network: JSON lines, each in RFC 8785 form.

Line 1, the header: {"charters": [HEX, ...], "checkpoint": NOTE, "format": "consortia-log/1", "log_key": VKEY}.
`charters` are the digests of all charters, oldest first; the last one is the head that the checkpoint names. The
earlier ones are the exporter's word, until the charter statements among the leaves are followed one by one.
Then one line for each leaf, in order: {"leaf": LOG ENTRY, "statement": TEXT or null}. The text is exactly what was
recorded (UTF-8); null where the exporter holds no text or withholds it, which the reader is told by None.

Nothing in the file is trusted: the key to check it against comes from elsewhere (the pinned charter).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Final, Literal, TypeVar

from pydantic import Field, ValidationError

from protocol import canonical
from protocol.ids import Digest, Strict
from protocol.signed_note import LogError, VerifierKey
from protocol.study import explain
from protocol.translog import Checkpoint, LogEntry, tree_root, verify_checkpoint

FORMAT: Final = "consortia-log/1"
# A recorded text is canonical JSON: quoting it once more at most doubles it.
MAX_LINE_CHARS: Final = 2 * canonical.MAX_DOCUMENT_BYTES + 4096


class ExportRefused(LogError):
    """A line of the file that can't stand; `line` counts from 1, the header."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line


class Header(Strict):
    """Line 1."""

    format: Literal["consortia-log/1"]
    checkpoint: str
    log_key: str
    charters: Annotated[tuple[Digest, ...], Field(max_length=100_000)]


class Leaf(Strict):
    """A further line; `statement` is the recorded text, or None if the file doesn't hold it."""

    leaf: LogEntry
    statement: str | None


Model = TypeVar("Model", Header, Leaf)


@dataclass(frozen=True, slots=True)
class Export:
    """A file that is well-formed; nothing is verified yet."""

    header: Header
    leaves: tuple[Leaf, ...]


@dataclass(frozen=True, slots=True)
class VerifiedExport:
    """A file whose leaves are exactly those under a checkpoint that the trusted key signed."""

    checkpoint: Checkpoint
    leaves: tuple[Leaf, ...]

    def records(self) -> Iterator[tuple[int, LogEntry, bytes | None]]:
        """Yield (index, entry, recorded bytes); None where the file holds no text. Signatures aren't checked."""
        for index, leaf in enumerate(self.leaves):
            yield index, leaf.leaf, None if leaf.statement is None else leaf.statement.encode()


def write_export(
    checkpoint: str,
    log_key: VerifierKey,
    charters: Iterable[str],
    leaves: Iterable[tuple[LogEntry, bytes | None]],
) -> Iterator[str]:
    """Yield the file's lines, each with its newline; write them as UTF-8 with newline="\\n".

    `leaves` are (entry, recorded bytes), in order; None to leave a text out. Raises `ExportRefused` for what
    `read_export` would refuse, so a file that was written can be read.
    """
    header = Header(format=FORMAT, checkpoint=checkpoint, log_key=str(log_key), charters=tuple(charters))
    yield _line(header)
    for number, (entry, recorded) in enumerate(leaves, start=2):
        try:
            line = _line(Leaf(leaf=entry, statement=None if recorded is None else recorded.decode()))
        except UnicodeDecodeError:
            raise ExportRefused(number, f"what was recorded as {entry.kind} is not UTF-8; pass None for it") from None
        if len(line) > MAX_LINE_CHARS:
            raise ExportRefused(number, f"{len(line)} characters, at most {MAX_LINE_CHARS} are read; pass None for it")
        yield line


def read_export(lines: Iterable[str]) -> Export:
    """Read a file opened as UTF-8 with newline="\\n"; raise `ExportRefused` with the first bad line's number."""
    numbered = enumerate(lines, start=1)
    first = next(numbered, None)
    if first is None:
        raise ExportRefused(1, "the file is empty")
    header = _read(Header, *first)
    return Export(header, tuple(_read(Leaf, number, line) for number, line in numbered))


def verify_tree(export: Export, trusted_log_key: str) -> VerifiedExport:
    """Check the file against the log key pinned elsewhere (NAME+KEYID+BASE64), or raise `ExportRefused`.

    Checked: the checkpoint's signature, origin and charter head; each statement against its leaf's digest; the
    number of leaves and the root over all of them. The last finds an edit to any leaf, but can't say to which.
    """
    try:
        checkpoint = _checkpoint(export.header, VerifierKey.parse(trusted_log_key))
    except ExportRefused:
        raise
    except LogError as error:
        raise ExportRefused(1, str(error)) from None
    for number, leaf in enumerate(export.leaves, start=2):
        if leaf.statement is not None and canonical.digest(leaf.statement.encode()) != leaf.leaf.digest:
            raise ExportRefused(number, f"the statement's SHA-256 is not the leaf's digest {leaf.leaf.digest}")
    if len(export.leaves) != checkpoint.size:
        raise ExportRefused(
            min(len(export.leaves), checkpoint.size) + 2,
            f"the checkpoint counts {checkpoint.size} leaves, the file has {len(export.leaves)}; export it again",
        )
    if tree_root([leaf.leaf.leaf_hash() for leaf in export.leaves]) != checkpoint.root_hash:
        raise ExportRefused(1, "the leaves don't add up to the checkpoint's root: at least one was changed or moved")
    return VerifiedExport(checkpoint, export.leaves)


def _checkpoint(header: Header, trusted: VerifierKey) -> Checkpoint:
    if header.log_key != str(trusted):
        raise ExportRefused(1, f"log_key is {header.log_key[:400]!r}, trusted is {str(trusted)!r}")
    checkpoint = verify_checkpoint(header.checkpoint, trusted.name, trusted.public_key)
    if checkpoint.origin != trusted.name:
        raise ExportRefused(1, f"the checkpoint is of log {checkpoint.origin}, trusted is {trusted.name}")
    head = header.charters[-1] if header.charters else None
    if checkpoint.charter != head:
        raise ExportRefused(1, f"the checkpoint names charter {checkpoint.charter}, the header's last one is {head}")
    return checkpoint


def _line(model: Header | Leaf) -> str:
    return canonical.encode(model.model_dump(mode="json")).decode() + "\n"


def _read(kind: type[Model], number: int, line: str) -> Model:
    if len(line) > MAX_LINE_CHARS or not line.endswith("\n"):
        raise ExportRefused(number, f"a line ends in a newline and has at most {MAX_LINE_CHARS} characters; cut short?")
    try:
        model = kind.model_validate_json(line)
    except ValidationError as error:
        raise ExportRefused(number, f"not a {kind.__name__.lower()} line: {explain(error)}") from None
    # One spelling only: also finds duplicate keys, which JSON readers settle each in its own way.
    if _line(model) != line:
        raise ExportRefused(number, "not in canonical form (RFC 8785); the file was changed after its export")
    return model
