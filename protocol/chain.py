"""Whose signature counts, at each place in the log: the charter in force there, and the rules that follow.

1. A leaf's kind, issuer and study are those of the statement it records, and its digest is the statement's.
2. The first charter is the founding one that was pinned, and every later one follows from the one in force: with the
   signatures that it needs (protocol.succession), published by an admin of the one before it, or of the founding one.
3. An enrolment is signed by the key it asks for; it makes nobody a member.
4. Every other statement is signed by the key that the charter in force names for its issuer, whose role allows
   it (protocol.authority).
5. Where the charter in force gives an admin a FIDO2 key, its approvals and objections hold an assertion by that key.
"""

import hmac
from collections.abc import Callable
from typing import Final

from protocol.authority import SPEAKERS, check_authority
from protocol.charter import Charter, charter_digest
from protocol.errors import BadSignature, CharterRefused, Malformed
from protocol.membership_statements import CharterPublished, Enrolment
from protocol.signing import Signed, parse, verify
from protocol.statements import Body
from protocol.study import study_id
from protocol.study_statements import StudyProposed
from protocol.succession import check_founding, check_succession
from protocol.translog import LogEntry

STATEMENT_KINDS: Final = frozenset(SPEAKERS)
"""The types a statement may have; leaves of other kinds record exchanges (a refusal, say)."""

SignatureCheck = Callable[[Signed, str], None]
"""Checks a statement under a hex key: ``signing.verify``, or what does so later and lets nobody forget the answer."""


class CharterChain:
    """The charters of one log so far, oldest first, all verified against the pinned founding digest."""

    def __init__(self, founding: str, signature: SignatureCheck = verify) -> None:
        self.founding = founding
        self._signature = signature
        self.charters: list[Charter] = []

    @property
    def in_force(self) -> Charter:
        """The newest charter. Raises ``CharterRefused`` before the first."""
        if not self.charters:
            raise CharterRefused("the log has no charter before this place")
        return self.charters[-1]

    @property
    def digests(self) -> tuple[str, ...]:
        return tuple(charter_digest(charter) for charter in self.charters)

    def read(self, entry: LogEntry, recorded: bytes) -> Signed:
        """The verified statement of a leaf; a charter comes into force. Raises ``ProtocolError`` by the rules above."""
        signed = read_leaf(entry, recorded)
        self.check(signed)
        return signed

    def check(self, signed: Signed) -> None:
        """Raises ``BadSignature`` or ``CharterRefused`` unless rules 2 to 5 allow the statement here."""
        held = self.charters[-1] if self.charters else None
        after = in_force_after(held, self.founding, signed, self._signature)
        if after is not held:
            self.charters.append(after)


def read_leaf(entry: LogEntry, recorded: bytes) -> Signed:
    """The statement that a leaf records, by rule 1; its signature is not checked here. Raises ``Malformed``."""
    signed = parse(recorded)
    body = signed.body
    if not hmac.compare_digest(signed.digest, entry.digest):
        raise Malformed("rule 1: the statement is not the one whose digest the leaf has")
    if (entry.kind, entry.issuer, entry.study) != (body.type, body.issuer, study_of(body)):
        names = f"{entry.kind} of {entry.issuer}, the statement {body.type} of {body.issuer}"
        raise Malformed(f"rule 1: the leaf says {names}, or they name different studies")
    return signed


def in_force_after(held: Charter | None, founding: str, signed: Signed, signature: SignatureCheck = verify) -> Charter:
    """The charter in force after a statement; ``held`` is the one before it, None at the log's beginning.

    Raises ``BadSignature`` or ``CharterRefused`` unless rules 2 to 5 allow the statement here.
    """
    body = signed.body
    if isinstance(body, CharterPublished):
        return _successor(held, founding, signed, body, signature)
    if isinstance(body, Enrolment):
        if body.issuer != f"silo:{body.silo}":
            raise BadSignature(f"rule 3: an enrolment of silo {body.silo} was issued by {body.issuer}")
        signature(signed, body.signing_key)
    elif held is not None:
        signature(signed, held.signing_key_of(body.issuer))
        check_authority(body, held)
    if held is None:
        raise CharterRefused("the log has no charter before this place")
    return held


def _successor(
    held: Charter | None, founding: str, signed: Signed, body: CharterPublished, signature: SignatureCheck
) -> Charter:
    if held is None:
        check_founding(body.charter, body.signatures, founding)
    else:
        check_succession(held, body.charter, body.signatures)
    authority = held or body.charter
    check_authority(body, authority)
    signature(signed, authority.signing_key_of(body.issuer))
    return body.charter


def study_of(body: Body) -> str | None:
    """The study a statement is about, or None."""
    if isinstance(body, StudyProposed):
        return study_id(body.contract)
    study = getattr(body, "study", None)
    return study if isinstance(study, str) else None
