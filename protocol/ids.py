"""Names and small values with a meaning, checked once at the edge."""

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

NAME = r"^[a-z][a-z0-9-]{0,30}[a-z0-9]$"

SiloId = Annotated[str, StringConstraints(pattern=NAME)]
"""A silo's name in its consortium: 2 to 32 lower-case letters, digits and dashes."""
PersonId = Annotated[str, StringConstraints(pattern=NAME)]
DatasetName = Annotated[str, StringConstraints(pattern=NAME)]
DomainName = Annotated[str, StringConstraints(pattern=NAME)]
"""A privacy domain: the persons concerned, who share one budget."""
ColumnName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
PartyId = Annotated[str, StringConstraints(pattern=r"^(hub|(silo|person):[a-z][a-z0-9-]{0,30}[a-z0-9])$")]
"""Who speaks: ``hub``, ``silo:NAME`` or ``person:NAME``."""
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256 in lower-case hexadecimal."""
StudyId = Digest
"""A study is named by the digest of its contract."""
Hex32 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""32 bytes (an Ed25519 key, a commitment, a MAC) in lower-case hexadecimal."""
Signature = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{128}$")]
Nonce = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
Base64 = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/]*={0,2}$")]
UNPRINTABLE = r"\x00-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f"
"""Control characters, and those that reorder or hide text: none may stand in what people read before they sign."""
MAX_SENTENCE = 2000
Printable = Annotated[str, StringConstraints(pattern=f"^[^{UNPRINTABLE}]*$")]
Sentence = Annotated[str, StringConstraints(min_length=1, max_length=MAX_SENTENCE, pattern=f"^[^{UNPRINTABLE}]*$")]


@lru_cache(maxsize=1024)
def _parse_timestamp(value: str) -> str:
    # The pattern was checked before; a datetime refuses what is no date, an hour 24 and a second 60.
    day, clock = value[:10].split("-"), value[11:19].split(":")
    datetime(int(day[0]), int(day[1]), int(day[2]), int(clock[0]), int(clock[1]), int(clock[2]), tzinfo=UTC)
    return value


Timestamp = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"),
    AfterValidator(_parse_timestamp),
]
"""RFC 3339 in UTC with whole seconds, e.g. ``2026-11-22T03:29:00Z``; such strings sort by time."""


class Strict(BaseModel):
    """An immutable message: no unknown fields, no coercion from other types."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


def timestamp(moment: datetime) -> str:
    """``moment`` (with a zone) as a ``Timestamp``, rounded down to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(value: str) -> datetime:
    """The instant a ``Timestamp`` names."""
    return datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def as_sentence(text: str) -> str:
    """``text`` as a ``Sentence``: what may not stand in one becomes a space, what is too long is cut."""
    return re.sub(f"[{UNPRINTABLE}]+", " ", text)[:MAX_SENTENCE] or "no reason was given"


def silo_party(silo: str) -> str:
    return f"silo:{silo}"


def person_party(person: str) -> str:
    return f"person:{person}"
