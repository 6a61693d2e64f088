"""What a silo writes down before anything leaves it."""

from typing import Annotated, Literal

from pydantic import Field

from protocol.ids import Digest, Sentence, Strict, StudyId, Timestamp

Kind = Literal["statement", "cosignature", "chunk", "shares", "blob", "decision", "warning", "halt"]


class JournalEvent(Strict):
    """One line of the journal: what left (by its SHA-256 and size in bytes), when, to whom, in which study.

    ``what`` is a statement's type, ``checkpoint of N leaves``, ``round R attempt A chunk K``, or the words of a
    decision, a warning or a halt.
    """

    at: Timestamp
    kind: Kind
    what: Sentence
    to: Literal["hub", "nobody"]
    study: StudyId | None
    digest: Digest | None
    size: Annotated[int, Field(ge=0)]
