"""Becoming a member: keys made here, public halves sent with an invitation's one-time code."""

import re
import secrets
from datetime import datetime
from pathlib import Path

from protocol.errors import ProtocolError
from protocol.follow import begin
from protocol.ids import timestamp
from protocol.journal import JournalEvent, statement_event
from protocol.membership_statements import Enrolment
from protocol.signing import Signed, sign
from silo_node.config import SiloConfig, load, save
from silo_node.errors import ConfigRefused, HubDistrusted
from silo_node.hub_client.identity import Identity
from silo_node.hub_client.session import enrol, fetch_charter
from silo_node.journal.chain import FILE, Journal
from silo_node.private_files import private_folder, read_passphrase

INVITATION = re.compile(r"(?P<code>[0-9A-Z]{4}(-[0-9A-Z]{4}){4})\.(?P<charter>[0-9a-f]{64})")
TIMEOUT_S = 60.0


def join(
    folder: Path, hub_url: str, silo: str, invitation: str, now: datetime, passphrase_file: Path | None = None
) -> str:
    """Asks for membership; returns the six words of this silo's keys, which the admin has to hear.

    ``invitation`` is CODE.DIGEST: the code that the hub checks once, and the founding charter's digest, which
    is pinned here and never taken from the hub. With a ``passphrase_file`` the keys are sealed by what it holds.
    Raises ``ConfigRefused`` for a malformed one, ``HubRefused`` for a wrong, used or expired code,
    ``HubDistrusted`` if the hub shows another consortium's charter.
    """
    found = INVITATION.fullmatch(invitation.strip())
    if found is None:
        raise ConfigRefused("invitation: must look like XXXX-XXXX-XXXX-XXXX-XXXX.DIGEST, copied whole from the admin")
    passphrase = read_passphrase(passphrase_file)
    try:
        begin(fetch_charter(hub_url, TIMEOUT_S), found["charter"])
    except ProtocolError as problem:
        raise HubDistrusted(f"the hub at {hub_url} is not of the consortium you were invited to: {problem}") from None
    private_folder(folder)
    identity = Identity.create(silo, folder, passphrase)
    named = str(passphrase_file.absolute()) if passphrase_file else None
    save(SiloConfig(silo=silo, hub_url=hub_url, charter=found["charter"], key_passphrase_file=named), folder)
    _ask(folder, identity, found["charter"], hub_url, found["code"], now)
    return identity.words


def renew_keys(folder: Path, invitation: str, now: datetime, passphrase_file: Path | None = None) -> str:
    """Asks for new keys in place of those that the charter names for this silo; returns the six words of the new ones.

    ``invitation`` as in ``join``, of this consortium. Each call makes new ones: none that may be known to somebody
    are asked for again. The present keys stay in use until the admins admitted the new
    ones. With a ``passphrase_file`` that is named from now on; the keys that are there must open by it.
    Raises ``ConfigRefused``, ``HubRefused``, ``HubUnreachable``, and ``JournalDamaged`` for a folder without journal.
    """
    config = load(folder)
    code = _code_of(invitation, config.charter)
    Journal.existing(folder / FILE).close()
    file = passphrase_file or config.passphrase_file
    identity = Identity.renew(config.silo, folder, read_passphrase(file))
    if passphrase_file is not None:
        save(config.model_copy(update={"key_passphrase_file": str(passphrase_file.absolute())}), folder)
    _ask(folder, identity, config.charter, config.hub_url, code, now)
    return identity.words


def _code_of(invitation: str, founding: str) -> str:
    """The code in an invitation to the consortium of ``founding``."""
    found = INVITATION.fullmatch(invitation.strip())
    if found is None or found["charter"] != founding:
        raise ConfigRefused("invitation: must be one of this silo's consortium, XXXX-XXXX-XXXX-XXXX-XXXX.DIGEST")
    return found["code"]


def _ask(folder: Path, identity: Identity, charter: str, hub_url: str, code: str, now: datetime) -> None:
    made: list[Signed] = []

    def event(head: str) -> JournalEvent:
        made.append(_enrolment(identity, charter, head, now))
        return statement_event(made[0])

    journal = Journal(folder / FILE)
    try:
        journal.record(event)
        enrol(hub_url, code, made[0], TIMEOUT_S)
    finally:
        journal.close()


def _enrolment(identity: Identity, charter: str, journal_head: str, now: datetime) -> Signed:
    body = Enrolment(
        type="enrolment",
        issuer=identity.party,
        issued_at=timestamp(now),
        nonce=secrets.token_hex(16),
        journal_head=journal_head,
        silo=identity.silo,
        signing_key=identity.signing_public,
        receiving_key=identity.receiving_public,
        charter=charter,
    )
    return sign(body, identity.signing)
