"""Code as an owner reads it: every character that could hide, reorder or imitate is spelled out.

After "Trojan Source" (Boucher and Anderson, 2021): what is shown is what Python reads. Control, format and
bidirectional characters, line ends other than LF, and whatever is not ASCII in a Python file are shown by number.
"""

import difflib
from collections.abc import Iterator, Mapping

from protocol.job_bundle import CodeBundle
from protocol.job_outputs import JobOutputs


def shown(text: str, ascii_only: bool = False) -> str:
    """``text`` safe to print; line feeds and tabs stay."""
    return "".join(letter if _plain(letter, ascii_only) else f"\\u{{{ord(letter):04x}}}" for letter in text)


def unusual(bundle: CodeBundle) -> tuple[str, ...]:
    """Where a reader should look twice: ``PATH:LINE`` of every line that is not shown as it is."""
    return tuple(
        f"{path}:{number}"
        for path, text in bundle.texts.items()
        for number, line in enumerate(text.split("\n"), start=1)
        if shown(line, path.endswith(".py")) != line
    )


def reading(bundle: CodeBundle) -> Iterator[str]:
    """The bundle's files, line by numbered line."""
    for path, text in bundle.texts.items():
        yield f"==== {path} ({len(text.encode())} bytes)"
        for number, line in enumerate(_lines(path, text), start=1):
            yield f"{number:5d}  {line}"


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
