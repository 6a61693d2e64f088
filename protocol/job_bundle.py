"""A bundle of code for reviewed analysis: text files in one canonical document, so that a digest names what is read.

The rules, each refused by name:

1. The document is canonical JSON (RFC 8785): ``{"files": [{"path", "text"}, ...], "format": "consortia-bundle/1"}``,
   files sorted by path. There is no archive to unpack: no link, mode, date or second entry can hide in it.
2. A path has 1 to 5 parts of ASCII letters, digits, ``_``, ``-`` and ``.``, none of which begins with a dot; no path
   is another's in other letter case, or a folder of another.
3. ``analysis.py`` is there: it defines ``main(rows, out)`` (protocol.job_harness).
4. A file is text in UTF-8 without NUL; 1 to 100 files, 1 MiB of text in all.
"""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Final, Literal, Self

from pydantic import Field, ValidationError, model_validator

from protocol import canonical
from protocol.errors import Malformed
from protocol.ids import Strict
from protocol.study import explain

ENTRY: Final = "analysis.py"
MAX_FILES: Final = 100
MAX_TEXT_BYTES: Final = 1024**2
MAX_BUNDLE_BYTES: Final = 3 * 1024**2
"""Of the canonical bytes: JSON spells a control character with six, so that text full of them is refused."""
MAX_PARTS: Final = 5
_PART: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")


class CodeFile(Strict):
    path: Annotated[str, Field(min_length=1, max_length=300)]
    text: str


class CodeBundle(Strict):
    """By the rules above; whatever is not so does not come to be."""

    format: Literal["consortia-bundle/1"]
    files: Annotated[tuple[CodeFile, ...], Field(min_length=1, max_length=MAX_FILES)]

    @model_validator(mode="after")
    def _rules_hold(self) -> Self:
        check_paths([one.path for one in self.files])
        if ENTRY not in self.texts:
            raise ValueError(f"files: {ENTRY} is missing; it defines main(rows, out)")
        for one in self.files:
            if "\x00" in one.text:
                raise ValueError(f"{one.path}: holds a NUL character; a bundle holds text only")
        size = sum(len(_utf8(one)) for one in self.files)
        if size > MAX_TEXT_BYTES:
            raise ValueError(f"files: {size} bytes of text in all, at most {MAX_TEXT_BYTES}; leave data out")
        return self

    @property
    def texts(self) -> dict[str, str]:
        """Text by path, in the order of the paths."""
        return {one.path: one.text for one in self.files}

    def encode(self) -> bytes:
        """The canonical bytes, whose SHA-256 names the bundle."""
        return canonical.encode(self.model_dump(mode="json"))

    @property
    def digest(self) -> str:
        return canonical.digest(self.encode())


def bundle_of(files: Mapping[str, bytes]) -> CodeBundle:
    """The bundle of these files. Raises ``Malformed`` with the rule that is broken."""
    texts = []
    for path in sorted(files):
        try:
            texts.append({"path": path, "text": files[path].decode("utf-8")})
        except UnicodeDecodeError as error:
            raise Malformed(f"bundle: {path[:80]!r} is not UTF-8 text at byte {error.start}") from None
    return _checked(canonical.encode({"format": "consortia-bundle/1", "files": texts}))


def read_bundle(data: bytes) -> CodeBundle:
    """The bundle in canonical bytes. Raises ``Malformed`` for any others."""
    canonical.decode(data)
    return _checked(data)


def check_paths(paths: list[str]) -> None:
    """Raises ``ValueError`` unless these are distinct relative paths by rule 2, sorted."""
    if paths != sorted(paths):
        raise ValueError("files: they must be sorted by path")
    known: set[str] = set()
    for path in paths:
        parts = path.split("/")
        if len(parts) > MAX_PARTS or not all(_PART.fullmatch(part) for part in parts):
            raise ValueError(f"path {path[:80]!r}: 1 to {MAX_PARTS} parts of letters, digits, '_', '-', '.'")
        if path.lower() in known:
            raise ValueError(f"path {path[:80]!r}: stands there twice (letter case does not count)")
        known.add(path.lower())
    folders = {str(parent) for path in known for parent in PurePosixPath(path).parents}
    if clash := sorted(folders & known):
        raise ValueError(f"path {clash[0][:80]!r}: is both a file and a folder")


def _checked(data: bytes) -> CodeBundle:
    if len(data) > MAX_BUNDLE_BYTES:
        raise Malformed(f"bundle: {len(data)} bytes as canonical JSON, at most {MAX_BUNDLE_BYTES}; leave data out")
    try:
        return CodeBundle.model_validate_json(data)
    except ValidationError as error:
        raise Malformed(f"bundle refused: {explain(error)}") from None


def _utf8(one: CodeFile) -> bytes:
    try:
        return one.text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{one.path}: holds half a surrogate pair, which is no text") from None
