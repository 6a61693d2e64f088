"""What is said of members: invitations, enrolments, versions of the charter, and the datasets that silos make known."""

from typing import Annotated, Literal

from pydantic import Field

from protocol.charter import Charter
from protocol.clauses import Unit
from protocol.ids import Base64, DatasetName, Digest, DomainName, Hex32, PersonId, Sentence, SiloId, StudyId, Timestamp
from protocol.published_column import PublishedColumn
from protocol.spend import Cost
from protocol.statement import Statement
from protocol.succession import CharterSignature


class Invitation(Statement):
    """An admin lets ``silo`` enrol once. ``code`` is the SHA-256 of the code, which only the silo gets."""

    type: Literal["invitation"]
    silo: SiloId
    code: Digest
    expires_at: Timestamp


class Enrolment(Statement):
    """A silo asks to be a member. ``charter`` is the founding charter's digest it was invited with."""

    type: Literal["enrolment"]
    silo: SiloId
    signing_key: Hex32
    receiving_key: Base64
    charter: Digest


class CharterPublished(Statement):
    """A version with all the signatures that it needs (``protocol.succession``): it is in force from here on."""

    type: Literal["charter"]
    charter: Charter
    signatures: Annotated[tuple[CharterSignature, ...], Field(min_length=1, max_length=200)]


class CharterProposed(Statement):
    """An admin's draft of the next version, with the first of the signatures that it needs."""

    type: Literal["charter-proposed"]
    charter: Charter
    signature: CharterSignature


class CharterSigned(Statement):
    """A further signature for the draft whose digest is ``charter``; its signer need not be who sends it."""

    type: Literal["charter-signed"]
    charter: Digest
    signature: CharterSignature


class DatasetRegistered(Statement):
    """What a silo makes known of a dataset: its schema, published row count and privacy domain's cap."""

    type: Literal["dataset-registered"]
    dataset: DatasetName
    columns: Annotated[tuple[PublishedColumn, ...], Field(min_length=1, max_length=10_000)]
    rows: Annotated[int, Field(ge=1, le=10**10)]
    domain: DomainName
    unit: Unit
    epsilon: Annotated[float, Field(gt=0, le=1000)]
    delta: Annotated[float, Field(gt=0, lt=0.1)]
    order: Annotated[int, Field(ge=2, le=256)]


class DomainDeclared(Statement):
    """A silo's owner declares that domain ``domain`` is of other persons than the domains ``beside`` it, and why.

    What a domain has spent is never given back; new budget is for new persons alone. ``ledger_head`` is the entry of
    the silo's ledger that holds the declaration.
    """

    type: Literal["domain-declared"]
    domain: DomainName
    beside: Annotated[tuple[DomainName, ...], Field(min_length=1, max_length=1000)]
    reason: Sentence
    ledger_head: Hex32


class CapDeclared(Statement):
    """A silo's owner caps what one dataset, study or recipient (``name``; ``*`` for each one) may cost of ``domain``.

    ``picos`` is in 1e-12 of Renyi divergence at the domain's order, None where the cap is lifted. The newest counts.
    ``ledger_head`` is the entry of the silo's ledger that holds it.
    """

    type: Literal["cap-declared"]
    domain: DomainName
    scope: Literal["dataset", "study", "recipient"]
    name: DatasetName | StudyId | PersonId | Literal["*"]
    picos: Annotated[Cost, Field(ge=0, le=10**15)] | None
    ledger_head: Hex32
