"""The log in one file, read by a compliance officer without network: JSON lines, each in RFC 8785 form.

Line 1, the header: {"charters": [HEX, ...], "checkpoint": NOTE, "format": "consortia-log/2", "log_key": VKEY,
"timestamp": BASE64, "witnessed": NOTE}. `charters` are the digests of all charters, oldest first; the last one is the
head that the checkpoint names. The earlier ones are the exporter's word, until the charter statements among the leaves
are followed one by one. `witnessed` is the newest checkpoint that witnesses cosigned, with their lines, and `timestamp`
an RFC 3161 token over it (DER, in base64); each is "" where there is none.
Then one line for each leaf, in order: {"leaf": LOG ENTRY, "statement": TEXT or null}. The text is exactly what was
recorded (UTF-8); null where the exporter holds no text or withholds it, which the reader is told by None.

Nothing in the file is trusted: the key to check it against comes from elsewhere (the pinned charter).
A file can be longer than memory: `read_header` and `read_leaves` go through it line by line, and what they give is to
be believed only after `check_leaves` and `read_checkpoint`. `read_export` with `verify_tree` does all at once.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import Annotated, Final, Literal, TypeVar

from pydantic import Field, ValidationError

from protocol import canonical
from protocol.ids import Base64, Digest, Strict
from protocol.signed_note import LogError, VerifierKey
from protocol.study import explain
from protocol.translog import Checkpoint, LogEntry, TreeHead, leaf_hash, tree_root, verify_checkpoint

FORMAT: Final = "consortia-log/2"
# A recorded text is canonical JSON: quoting it once more at most doubles it.
MAX_LINE_CHARS: Final = 2 * canonical.MAX_DOCUMENT_BYTES + 4096


class ExportRefused(LogError):
    """A line of the file that can't stand; `line` counts from 1, the header."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line


class Header(Strict):
    """Line 1."""

    format: Literal["consortia-log/2"]
    checkpoint: str
    log_key: str
    charters: Annotated[tuple[Digest, ...], Field(max_length=100_000)]
    witnessed: str
    timestamp: Base64


class Leaf(Strict):
    """A further line; `statement` is the recorded text, or None if the file doesn't hold it."""

    leaf: LogEntry
    statement: str | None


Model = TypeVar("Model", Header, Leaf)


@dataclass(frozen=True, slots=True)
class RecordedLeaf:
    """A line that was read: its place, its entry, the recorded bytes (None if withheld), which have the entry's digest,
    and its leaf hash (32 bytes)."""

    index: int
    entry: LogEntry
    recorded: bytes | None
    hash: bytes


@dataclass(frozen=True, slots=True)
class Export:
    """A file that is well-formed; nothing is verified yet."""

    header: Header
    leaves: tuple[RecordedLeaf, ...]


@dataclass(frozen=True, slots=True)
class VerifiedExport:
    """A file whose leaves are exactly those under a checkpoint that the trusted key signed."""

    checkpoint: Checkpoint
    leaves: tuple[RecordedLeaf, ...]

    def records(self) -> Iterator[tuple[int, LogEntry, bytes | None]]:
        """Yield (index, entry, recorded bytes); None where the file holds no text. Signatures aren't checked."""
        for leaf in self.leaves:
            yield leaf.index, leaf.entry, leaf.recorded


def write_export(
    checkpoint: str,
    log_key: VerifierKey,
    charters: Iterable[str],
    leaves: Iterable[tuple[LogEntry, bytes | None]],
    *,
    witnessed: str = "",
    timestamp: str = "",
) -> Iterator[str]:
    """Yield the file's lines, each with its newline; write them as UTF-8 with newline="\\n".

    `leaves` are (entry, recorded bytes), in order; None to leave a text out. `witnessed` and `timestamp` as in the
    header. Raises `ExportRefused` for what `read_export` would refuse, so a file that was written can be read.
    """
    header = Header(
        format=FORMAT,
        checkpoint=checkpoint,
        log_key=str(log_key),
        charters=tuple(charters),
        witnessed=witnessed,
        timestamp=timestamp,
    )
    yield _header_line(header)
    for number, (entry, recorded) in enumerate(leaves, start=2):
        try:
            line = _leaf_line(entry.leaf_bytes(), None if recorded is None else recorded.decode())
        except UnicodeDecodeError:
            raise ExportRefused(number, f"what was recorded as {entry.kind} is not UTF-8; pass None for it") from None
        if len(line) > MAX_LINE_CHARS:
            raise ExportRefused(number, f"{len(line)} characters, at most {MAX_LINE_CHARS} are read; pass None for it")
        yield line


def read_header(lines: Iterator[str]) -> Header:
    """Line 1 of a file opened as UTF-8 with newline="\\n"; raises `ExportRefused`."""
    line = next(lines, None)
    if line is None:
        raise ExportRefused(1, "the file is empty")
    header = _read(Header, 1, line)
    if _header_line(header) != line:
        raise _not_canonical(1)
    return header


def read_leaves(lines: Iterable[str]) -> Iterator[RecordedLeaf]:
    """The lines after the header. Raises `ExportRefused` with the first one's number that is no leaf, isn't written
    canonically, or whose statement isn't the one of its leaf's digest."""
    for index, line in enumerate(lines):
        leaf = _read(Leaf, index + 2, line)
        written = leaf.leaf.leaf_bytes()
        # One spelling only: also finds duplicate keys, which JSON readers settle each in its own way.
        if _leaf_line(written, leaf.statement) != line:
            raise _not_canonical(index + 2)
        recorded = None if leaf.statement is None else leaf.statement.encode()
        if recorded is not None and canonical.digest(recorded) != leaf.leaf.digest:
            raise ExportRefused(index + 2, f"the statement's SHA-256 is not the leaf's digest {leaf.leaf.digest}")
        yield RecordedLeaf(index, leaf.leaf, recorded, leaf_hash(written))


def check_leaves(header: Header, found: TreeHead) -> None:
    """Raise `ExportRefused` unless the leaves found are as many as the header's checkpoint says, under its root.

    This finds an edit to any leaf, but can't say to which. Whose checkpoint it is, `read_checkpoint` finds.
    """
    try:
        checkpoint = Checkpoint.parse(header.checkpoint.partition("\n\n")[0] + "\n")
    except LogError as error:
        raise ExportRefused(1, str(error)) from None
    if found.size != checkpoint.size:
        raise ExportRefused(
            min(found.size, checkpoint.size) + 2,
            f"the checkpoint counts {checkpoint.size} leaves, the file has {found.size}; export it again",
        )
    if found.root != checkpoint.root_hash:
        raise ExportRefused(1, "the leaves don't add up to the checkpoint's root: at least one was changed or moved")


def read_checkpoint(header: Header, trusted_log_key: str) -> Checkpoint:
    """The header's checkpoint, signed by the log key known from elsewhere (NAME+KEYID+BASE64); or `ExportRefused`.

    Checked: signature, origin, and that the last of the header's charters is the one that it names.
    """
    try:
        return _checkpoint(header, VerifierKey.parse(trusted_log_key))
    except ExportRefused:
        raise
    except LogError as error:
        raise ExportRefused(1, str(error)) from None


def read_export(lines: Iterable[str]) -> Export:
    """Read a file opened as UTF-8 with newline="\\n"; raise `ExportRefused` with the first bad line's number."""
    ordered = iter(lines)
    return Export(read_header(ordered), tuple(read_leaves(ordered)))


def verify_tree(export: Export, trusted_log_key: str) -> VerifiedExport:
    """Check the file against the log key pinned elsewhere (NAME+KEYID+BASE64), or raise `ExportRefused`."""
    checkpoint = read_checkpoint(export.header, trusted_log_key)
    check_leaves(export.header, TreeHead(len(export.leaves), tree_root([leaf.hash for leaf in export.leaves])))
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


def _header_line(header: Header) -> str:
    return canonical.encode(header.model_dump(mode="json")).decode() + "\n"


def _leaf_line(leaf: bytes, statement: str | None) -> str:
    # RFC 8785 writes strings as this does (section 3.2.2.2), and the two keys stand in its order.
    text = "null" if statement is None else encode_basestring(statement)
    return f'{{"leaf":{leaf.decode()},"statement":{text}}}\n'


def _read(kind: type[Model], number: int, line: str) -> Model:
    if len(line) > MAX_LINE_CHARS or not line.endswith("\n"):
        raise ExportRefused(number, f"a line ends in a newline and has at most {MAX_LINE_CHARS} characters; cut short?")
    try:
        return kind.model_validate_json(line)
    except ValidationError as error:
        raise ExportRefused(number, f"not a {kind.__name__.lower()} line: {explain(error)}") from None


def _not_canonical(number: int) -> ExportRefused:
    return ExportRefused(number, "not in canonical form (RFC 8785); the file was changed after its export")
