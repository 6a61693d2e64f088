"""What every statement carries, whatever it says."""

from protocol.ids import Hex32, Nonce, PartyId, Strict, Timestamp


class Statement(Strict):
    """What every statement carries. ``journal_head`` is the silo's journal before this entry, else null."""

    issuer: PartyId
    issued_at: Timestamp
    nonce: Nonce
    journal_head: Hex32 | None
