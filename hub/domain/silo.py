"""How a silo comes in: invited, enrolled, member. Pure; codes are compared in constant time."""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from hub.errors import Conflict, Expired, Forbidden

MAX_INVITATION_S = 24 * 3600


@dataclass(frozen=True, slots=True)
class Invitation:
    """One silo may enrol once with the code whose SHA-256 is `code`; times in Unix seconds."""

    statement: str
    silo: str
    code: str
    expires_at: int
    used_by: str | None


def check_invitation(expires_at: int, now: int) -> None:
    """An invitation lasts 24 hours at most. Raises `Conflict`."""
    if not now < expires_at <= now + MAX_INVITATION_S + 60:
        raise Conflict("expires_at: an invitation must end within the next 24 hours; make a new one")


def admit(invitations: Sequence[Invitation], silo: str, code: str, now: int) -> Invitation:
    """The invitation that lets `silo` in with `code`. Raises `Forbidden`, `Conflict` or `Expired`.

    Every invitation is compared in full, so timing tells nothing of which one came close.
    """
    given = hashlib.sha256(code.encode()).hexdigest()
    matching = [invitation for invitation in invitations if hmac.compare_digest(invitation.code, given)]
    mine = [invitation for invitation in matching if invitation.silo == silo]
    if not mine:
        raise Forbidden(
            f"this code doesn't invite silo {silo}; check the name and the code, or ask the admin for a new one"
        )
    if all(invitation.used_by is not None for invitation in mine):
        raise Conflict("this invitation was used; ask the admin for a new one")
    alive = [invitation for invitation in mine if invitation.used_by is None and now < invitation.expires_at]
    if not alive:
        raise Expired("this invitation has run out; ask the admin for a new one")
    return alive[0]
