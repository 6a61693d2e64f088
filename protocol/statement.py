"""What every statement carries, and the numbers by which statements name a round. Bodies are in ``*_statements``."""

from typing import Annotated

from pydantic import Field

from protocol.ids import Hex32, Nonce, PartyId, Strict, Timestamp

RoundIndex = Annotated[int, Field(ge=0, le=100_000)]
Attempt = Annotated[int, Field(ge=1, le=1000)]
Epoch = Annotated[int, Field(ge=1, le=100_000)]
"""Which of a study's secrets is meant: a new one comes after a void round, and when a holder leaves."""


class Statement(Strict):
    """What every statement carries. ``journal_head`` is the silo's journal before this entry, else null."""

    issuer: PartyId
    issued_at: Timestamp
    nonce: Nonce
    journal_head: Hex32 | None
