"""Code as an owner reads it: every character that could hide, reorder or imitate is spelled out.

After "Trojan Source" (Boucher and Anderson, 2021): what is shown is what Python reads. Control, format and
bidirectional characters, line ends other than LF, and whatever is not ASCII in a Python file are shown by number.
"""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from protocol.job_bundle import CodeBundle
from protocol.job_outputs import JobOutputs


def shown(text: str, ascii_only: bool = False) -> str:
    """``text`` safe to print; line feeds and tabs stay."""
    return "".join(letter if _plain(letter, ascii_only) else f"\\u{{{ord(letter):04x}}}" for letter in text)


@dataclass(frozen=True, slots=True)
class CodeLine:
    """A line by its number, from 1. ``unusual``: it is not shown as it is, so a reader should look twice."""

    number: int
    text: str
    unusual: bool


@dataclass(frozen=True, slots=True)
class ShownFile:
    """A file of a bundle; ``size`` in bytes."""

    path: str
    size: int
    lines: tuple[CodeLine, ...]


def files(bundle: CodeBundle) -> tuple[ShownFile, ...]:
    """The bundle's files as they may be shown."""
    return tuple(
        ShownFile(path, len(text.encode()), tuple(_code_lines(path, text))) for path, text in bundle.texts.items()
    )


def unusual(bundle: CodeBundle) -> tuple[str, ...]:
    """Where a reader should look twice: ``PATH:LINE`` of every line that is not shown as it is."""
    return tuple(f"{file.path}:{line.number}" for file in files(bundle) for line in file.lines if line.unusual)


def reading(bundle: CodeBundle) -> Iterator[str]:
    """The bundle's files, line by numbered line."""
    for file in files(bundle):
        yield f"==== {file.path} ({file.size} bytes)"
        for line in file.lines:
            yield f"{line.number:5d}  {line.text}"


def difference(before: CodeBundle, after: CodeBundle) -> Iterator[str]:
    """A unified diff from one bundle to another, file by file; nothing where they are the same."""
    old, new = before.texts, after.texts
    for path in sorted({*old, *new}):
        yield from difflib.unified_diff(
            _of(old, path), _of(new, path), _named("approved", old, path), _named("submitted", new, path), lineterm=""
        )


def described(outputs: JobOutputs) -> Iterator[tuple[str, bytes, str | None]]:
    """Each output's path, content, and text as it may be shown; None for what is no text."""
    for path, content in outputs.contents.items():
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError:
            yield path, content, None
        else:
            yield path, content, None if "\x00" in text else shown(text)


def _code_lines(path: str, text: str) -> Iterator[CodeLine]:
    for number, line in enumerate(text.split("\n"), start=1):
        told = shown(line, path.endswith(".py"))
        yield CodeLine(number, told, told != line)


def _lines(path: str, text: str) -> list[str]:
    # Split at LF alone: what else ends a line for Python is spelled out, not followed.
    return shown(text, path.endswith(".py")).split("\n")


def _of(texts: Mapping[str, str], path: str) -> list[str]:
    return _lines(path, texts[path]) if path in texts else []


def _named(side: str, texts: Mapping[str, str], path: str) -> str:
    return f"{side}/{path}" if path in texts else "/dev/null"


def _plain(letter: str, ascii_only: bool) -> bool:
    if letter in "\n\t":
        return True
    return letter.isprintable() and (letter.isascii() or not ascii_only)
