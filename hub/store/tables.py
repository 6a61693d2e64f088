"""The hub's tables. `migrations` makes them; a test holds the two together."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

statements = Table(
    "statements",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("wire", LargeBinary, nullable=False),
    Column("issuer", String(40), nullable=False),
    Column("nonce", String(32), nullable=False),
    Column("log_index", BigInteger, nullable=False, unique=True),
    UniqueConstraint("issuer", "nonce", name="one_statement_a_nonce"),
)
"""What was recorded: the exact bytes, as they came."""

refusals = Table(
    "refusals",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("wire", LargeBinary, nullable=False),
    Column("reason", Text, nullable=False),
    Column("log_index", BigInteger, nullable=False, unique=True),
)
"""What was well-formed, signed and refused; a later try of the same bytes may still succeed."""

log_state = Table(
    "log_state",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("checkpoint", Text, nullable=False),
    Column("signed_at", BigInteger, nullable=False),
)
"""One row. Every transaction that records something locks it first, so recording is serial."""

log_entries = Table(
    "log_entries",
    metadata,
    Column("log_index", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("issuer", String(40), nullable=False),
    Column("study", String(64)),
    Column("subject", String(40)),
    Column("leaf", Text, nullable=False),
    Index("log_entries_by_study", "study", "log_index"),
    Index("log_entries_by_issuer", "issuer", "log_index"),
    Index("log_entries_by_kind", "kind", "log_index"),
)

log_nodes = Table(
    "log_nodes",
    metadata,
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary, nullable=False),
)

log_candidates = Table(
    "log_candidates",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("note", Text, nullable=False),
    Column("charter", String(64)),
    Column("taken_at", BigInteger, nullable=False),
    Column("quorate_at", BigInteger),
    Column("token", LargeBinary),
)
"""Checkpoints put before the witnesses, with their cosignatures and, where there is a timestamp, its token."""

charters = Table(
    "charters",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("digest", String(64), nullable=False, unique=True),
    Column("statement", String(64), nullable=False),
)

invitations = Table(
    "invitations",
    metadata,
    Column("statement", String(64), primary_key=True),
    Column("silo", String(32), nullable=False, index=True),
    Column("code", String(64), nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("used_by", String(64)),
)

enrolments = Table(
    "enrolments",
    metadata,
    Column("silo", String(32), primary_key=True),
    Column("statement", String(64), nullable=False),
    Column("received_at", BigInteger, nullable=False),
)

assertions = Table(
    "assertions",
    metadata,
    Column("party", String(40), primary_key=True),
    Column("jti", String(64), primary_key=True),
    Column("expires_at", BigInteger, nullable=False, index=True),
)
"""Identifiers of used assertions, kept until they would have expired anyway."""

proofs = Table(
    "proofs",
    metadata,
    Column("period", BigInteger, primary_key=True, autoincrement=False),
    Column("digest", LargeBinary(32), primary_key=True),
)
"""DPoP proofs that were used, by the minute of the nonce in them: what is older than two can't be shown again."""

sightings = Table(
    "sightings",
    metadata,
    Column("party", String(40), primary_key=True),
    Column("seen_at", BigInteger, nullable=False),
)

datasets = Table(
    "datasets",
    metadata,
    Column("silo", String(32), primary_key=True),
    Column("dataset", String(32), primary_key=True),
    Column("domain", String(32), nullable=False),
    Column("statement", String(64), nullable=False),
)

domains = Table(
    "domains",
    metadata,
    Column("silo", String(32), primary_key=True),
    Column("domain", String(32), primary_key=True),
    Column("unit", String(16), nullable=False),
    Column("epsilon", Text, nullable=False),
    Column("delta", Text, nullable=False),
    Column("renyi_order", Integer, nullable=False),
)

spends = Table(
    "spends",
    metadata,
    Column("silo", String(32), primary_key=True),
    Column("study", String(64), primary_key=True),
    Column("round", Integer, primary_key=True, autoincrement=False),
    Column("domain", String(32), nullable=False),
    Column("reserved", BigInteger, nullable=False),
    Column("settled", BigInteger),
    Index("spends_by_domain", "silo", "domain"),
)
"""The mirror: one charge a silo and round, however many attempts; costs in units of 1e-12."""

studies = Table(
    "studies",
    metadata,
    Column("study", String(64), primary_key=True),
    Column("stage", String(16), nullable=False, index=True),
    Column("version", Integer, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("proposed_at", BigInteger, nullable=False),
    Column("closed_at", BigInteger),
    Column("swept", Boolean, nullable=False),
    Column("contract", Text, nullable=False),
    Column("progress", Text, nullable=False),
)

study_parties = Table(
    "study_parties",
    metadata,
    Column("party", String(40), primary_key=True),
    Column("study", String(64), primary_key=True),
)

rounds = Table(
    "rounds",
    metadata,
    Column("study", String(64), primary_key=True),
    Column("round", Integer, primary_key=True, autoincrement=False),
    Column("attempt", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("version", Integer, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("lease_until", BigInteger, nullable=False),
    Column("progress", Text, nullable=False),
    Index("rounds_by_state", "state", "due_at"),
)

chunks = Table(
    "chunks",
    metadata,
    Column("study", String(64), primary_key=True),
    Column("round", Integer, primary_key=True, autoincrement=False),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("silo", String(32), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("digest", String(64), nullable=False),
    Column("size", Integer, nullable=False),
    Column("received_at", BigInteger, nullable=False),
)

sums = Table(
    "sums",
    metadata,
    Column("study", String(64), primary_key=True),
    Column("round", Integer, primary_key=True, autoincrement=False),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("survivors", String(64), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("digest", String(64), nullable=False),
    Column("size", Integer, nullable=False),
)
"""Chunks of sums that were added; `survivors` is the digest of whose terms they are made of."""

bundles = Table(
    "bundles",
    metadata,
    Column("study", String(64), primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("silo", String(32), nullable=False),
    Column("put_at", BigInteger),
)
"""Sealed releases that were uploaded."""

jobs = Table(
    "jobs",
    metadata,
    Column("job", String(64), primary_key=True),
    Column("stage", String(16), nullable=False),
)
"""How far each job came; what was asked stands in the statement that it is named by."""

job_blobs = Table(
    "job_blobs",
    metadata,
    Column("owner", String(40), primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("size", Integer, nullable=False),
    Column("put_at", BigInteger, nullable=False),
    Column("reader", String(40)),
    Index("job_blobs_by_reader", "reader", "digest"),
)
"""Sealed bundles and outputs that were put; `reader` is whom a statement names one for."""
