"""A charter's digest in the forms that people compare: hexadecimal, words for the telephone, a code for a camera."""

import io

import segno

from protocol.charter import charter_words


def fingerprint_lines(digest: str) -> tuple[str, str]:
    """The digest, and its eight words."""
    return f"founding charter {digest}", f"in words: {charter_words(digest)}"


def qr_code(digest: str) -> str:
    """The digest as a QR code of half blocks, to be printed in a terminal whatever its colours."""
    drawn = io.StringIO()
    segno.make(digest, error="m").terminal(out=drawn, compact=True)
    return drawn.getvalue()
