"""The hub's HTTP interface: paths, limits and the messages that are not statements.

Statements travel as JSON Lines (each line a statement's exact wire bytes), so that one request carries
several and all of them are recorded, or none.
"""

from typing import Annotated, Literal

from pydantic import Field

from protocol.ids import Base64, Digest, Hex32, Sentence, SiloId, Strict, StudyId, Timestamp
from protocol.rounds import Stage
from protocol.signed_note import MAX_NOTE_BYTES

HEALTH = "/health"
METRICS = "/metrics"
OPENAPI = "/openapi.json"
TOKENS = "/v1/tokens"
CHARTER = "/v1/charter"
"""GET, no token: the charter statements, oldest first, as JSON Lines."""
ENROLMENTS = "/v1/enrolments"
"""POST, no token: an ``EnrolmentRequest``. GET, admin: ``PendingEnrolment`` list."""
STATEMENTS = "/v1/statements"
"""POST: signed statements as JSON Lines, recorded all or none; answers ``Recorded``."""
POLL = "/v1/poll"
"""GET ?after=SIZE&wait_s=S[&candidate=DIGEST]: the ``Follow`` since log size SIZE, waiting up to S seconds for news.

DIGEST is the SHA-256 of the candidate that the caller holds: with it, another candidate is news too.
"""
STUDIES = "/v1/studies"
STUDY = "/v1/studies/{study}"
CHUNKS = "/v1/studies/{study}/rounds/{round}/attempts/{attempt}/chunks"
"""GET by a frozen silo: ``ReceivedChunks``, which of its own upload chunks the hub holds."""
CHUNK = "/v1/studies/{study}/rounds/{round}/attempts/{attempt}/chunks/{index}"
"""PUT by a frozen silo: one upload chunk, with header ``Content-Digest: sha-256=:BASE64:`` (RFC 9530)."""
SHARES = "/v1/studies/{study}/rounds/{round}/attempts/{attempt}/shares/{silo}"
"""PUT by an opened silo: its bundle of shares, with ``Content-Digest``. GET by a silo of the study."""
SUM = "/v1/studies/{study}/rounds/{round}/attempts/{attempt}/sum/{index}"
"""GET by a silo of the study: one chunk of the sum."""
BLOB = "/v1/studies/{study}/blobs/{digest}"
"""PUT by a silo of the study, GET by its silos and recipients: a sealed release."""
JOB_BLOB = "/v1/jobs/blobs/{digest}"
"""PUT by a researcher or a silo: a sealed bundle, or sealed outputs. GET by whoever a statement names it for."""
SILOS = "/v1/silos"
BUDGETS = "/v1/budgets"
LOG_CHECKPOINT = "/v1/log/checkpoint"
LOG_COSIGNATURES = "/v1/log/cosignatures"
"""POST by a silo: its cosignature line of the candidate (protocol.cosignature), text/plain."""
LOG_WITNESSED = "/v1/log/witnessed"
"""GET, no token: the newest checkpoint that a quorum of witnesses cosigned, a signed note."""
LOG_TIMESTAMP = "/v1/log/timestamp"
"""GET, no token: the newest ``TimestampAnswer``."""
LOG_TILES = "/v1/log/tiles"
"""The prefix of C2SP tlog-tiles, no token: ``/checkpoint`` and ``/tile/L/N[.p/W]``; entry bundles are not served."""
LOG_TILED_CHECKPOINT = LOG_TILES + "/checkpoint"
LOG_TILE = LOG_TILES + "/tile/{path:path}"
LOG_CONSISTENCY = "/v1/log/consistency"
"""GET ?first=N&second=M: hashes in hex."""
LOG_INCLUSION = "/v1/log/inclusion"
"""GET ?index=I&size=N: hashes in hex."""
LOG_EXPORT = "/v1/log/export"
"""GET: the whole log as JSON Lines (protocol.export)."""

MAX_STATEMENTS_PER_POST = 64
MAX_POST_BYTES = 16 * 1024 * 1024
MAX_BLOB_BYTES = 2 * 1024**3
MAX_JOB_BLOB_BYTES = 4 * 1024**2
MAX_WAIT_S = 30
MAX_ENTRIES_PER_POLL = 200

StudyState = Literal["proposed", "approved", "keying", "running", "completed", "aborted", "expired"]
RoundState = Literal["open", "frozen", "served", "closed", "voided"]


class EnrolmentRequest(Strict):
    """``code`` is the invitation's code in clear; ``statement`` the enrolment's wire text."""

    code: Annotated[str, Field(min_length=8, max_length=64)]
    statement: Annotated[str, Field(max_length=16_384)]


class PendingEnrolment(Strict):
    silo: SiloId
    statement: str
    received_at: Timestamp


class TokenAnswer(Strict):
    access_token: str
    token_type: Literal["DPoP"]
    expires_in: int
    scope: str


class Recorded(Strict):
    """Log indices of the statements, in the order they were sent. Sent again, they keep their indices."""

    indices: tuple[int, ...]


class LoggedEntry(Strict):
    """One leaf with what it records. ``leaf`` is the leaf's canonical text, ``proof`` its inclusion path."""

    index: int
    leaf: str
    statement: str
    proof: tuple[Hex32, ...]


class Follow(Strict):
    """What a party that holds the log at size N gets: the new checkpoint, its proof, the entries for it.

    ``entries`` are those from index N on that concern the caller (its studies, the charter), in order.
    ``next`` is the size to ask from next: below the checkpoint's size when there was more than one answer holds.
    ``candidate`` is the checkpoint put before the witnesses, with the cosignatures so far; empty before the first.
    """

    checkpoint: str
    consistency: tuple[Hex32, ...]
    entries: tuple[LoggedEntry, ...]
    next: int
    candidate: Annotated[str, Field(max_length=MAX_NOTE_BYTES)] = ""


class ReceivedChunks(Strict):
    """What the hub holds of the caller's own term: at each chunk's position its SHA-256, None for a missing one.

    It has as many positions as the round's layout has chunks. The hub's word: it saves sending a chunk again, and
    proves nothing. ``upload-complete`` is checked against what arrived.
    """

    digests: tuple[Digest | None, ...]


class RoundProgress(Strict):
    """A round under way. ``chunks``: how many a silo uploads in this round, 0 before the freeze;
    ``chunks_received``: how many arrived of each frozen silo in this attempt.
    """

    round: int
    stage: Stage
    attempt: int
    state: RoundState
    ready: tuple[SiloId, ...]
    uploaded: tuple[SiloId, ...]
    verified: tuple[SiloId, ...]
    due_at: Timestamp | None
    chunks: int
    chunks_received: dict[SiloId, int]
    bytes_up: int
    bytes_down: int
    opened_at: Timestamp
    closed_at: Timestamp | None


class StudyStatus(Strict):
    """Where a study stands. The hub's word: for showing progress, not for deciding anything.

    ``paused`` silos wait for their owners; ``rounds_closed`` counts all rounds that are over, void ones too.
    """

    study: StudyId
    title: str
    state: StudyState
    reason: Sentence | None
    lead: str
    proposed_at: Timestamp
    approvals: tuple[str, ...]
    approvals_needed: int
    objections: dict[str, str]
    accepted: tuple[SiloId, ...]
    refused: dict[SiloId, str]
    withdrawn: dict[SiloId, str]
    waiting: tuple[SiloId, ...]
    suspended: tuple[SiloId, ...]
    paused: tuple[SiloId, ...]
    rounds_total: int
    rounds_closed: int
    current: RoundProgress | None
    released_to: tuple[str, ...]


class SiloStatus(Strict):
    silo: SiloId
    words: str
    last_seen: Timestamp | None
    datasets: tuple[str, ...]


class BudgetStatus(Strict):
    """The hub's mirror of a silo's domain, from its logged statements; epsilon at the domain's delta."""

    silo: SiloId
    domain: str
    unit: Literal["record", "subject"]
    epsilon_cap: float
    delta: float
    order: int
    cap: int
    reserved: int
    settled: int
    epsilon_spent: float


class CheckpointAnswer(Strict):
    checkpoint: str
    charter: Digest


class TimestampAnswer(Strict):
    """An RFC 3161 TimeStampToken (DER, base64) over the SHA-256 of the note's text, by a third party's clock."""

    checkpoint: str
    token: Base64


def audience(log_origin: str) -> str:
    """The ``aud`` of a client assertion (RFC 7523) and of an access token, for the hub of this log."""
    return f"consortia-hub:{log_origin}"
