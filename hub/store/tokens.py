"""What was shown once and may not be shown again, for all replicas of the hub: assertions and DPoP proofs."""

from sqlalchemy import Connection, delete, text

from hub.store.tables import assertions, proofs

# One statement in both databases, and no look before it: the key decides which of two replicas was first.
_USE_ASSERTION = text(
    "INSERT INTO assertions (party, jti, expires_at) VALUES (:party, :jti, :expires_at) ON CONFLICT DO NOTHING"
)
_USE_PROOF = text("INSERT INTO proofs (period, digest) VALUES (:period, :digest) ON CONFLICT DO NOTHING")


def use_assertion(connection: Connection, party: str, jti: str, expires_at: int) -> bool:
    """Remember an assertion's identifier until `expires_at` (Unix seconds); False when it was used before."""
    values = {"party": party, "jti": jti, "expires_at": expires_at}
    return connection.execute(_USE_ASSERTION, values).rowcount == 1


def use_proof(connection: Connection, period: int, digest: bytes) -> bool:
    """Remember a proof made with a nonce of `period`; False when it was used before."""
    return connection.execute(_USE_PROOF, {"period": period, "digest": digest}).rowcount == 1


def forget(connection: Connection, now: int, period: int) -> None:
    """Drop assertions that ended before `now`, and proofs of the periods before `period`: neither counts any more."""
    connection.execute(delete(assertions).where(assertions.c.expires_at < now))
    connection.execute(delete(proofs).where(proofs.c.period < period))
