"""Events in the Common Event Format (CEF:0), without a syslog header: the collector that reads the file adds its own.

In the header a backslash and a pipe are escaped; in an extension's value a backslash, an equals sign and line breaks.
"""

import re
from importlib.metadata import version
from typing import Final

from client.audit.events import Event, Severity

SEVERITY_LEVELS: Final = {Severity.INFORMATIONAL: 1, Severity.LOW: 3, Severity.MEDIUM: 6}
_BREAKS = re.compile(r"\r\n|[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]")


def cef_line(event: Event) -> str:
    """CEF:0|vendor|product|version|type|name|severity|extension."""
    entry = event.entry
    name = entry.kind.replace("-", " ").capitalize()
    header = ("Consortia", "Consortia", version("consortia"), entry.kind, name, str(SEVERITY_LEVELS[event.severity]))
    extension = {
        "rt": str(event.milliseconds),
        "dvchost": event.origin,
        "externalId": str(event.index),
        "act": entry.kind,
        "suser": entry.issuer,
        "outcome": "failure" if event.refused else "success",
        "cs1Label": "statementSha256",
        "cs1": entry.digest,
        "cs2Label": "leafHash",
        "cs2": event.leaf_hash,
    }
    extension |= {"cs3Label": "study", "cs3": entry.study} if entry.study else {}
    extension |= {"cs4Label": "round", "cs4": str(event.round)} if event.round is not None else {}
    extension |= {"msg": event.message}
    fields = " ".join(f"{key}={escape_value(text)}" for key, text in extension.items())
    return "|".join(("CEF:0", *map(escape_header, header), fields))


def escape_header(text: str) -> str:
    """Line breaks can't stand in a header field: each becomes a space."""
    return _BREAKS.sub(" ", text).replace("\\", "\\\\").replace("|", "\\|")


def escape_value(text: str) -> str:
    """All kinds of line breaks become a newline, as two characters: some readers end a line at any of them."""
    return _BREAKS.sub("\n", text.replace("\\", "\\\\").replace("=", "\\=")).replace("\n", "\\n")
