"""Problem types (RFC 9457) that the hub answers with. Their names are part of the protocol."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

CONTENT_TYPE = "application/problem+json"


class Problem(BaseModel):
    """``type`` is stable and for programs; ``detail`` is one sentence for people, with the remedy."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Annotated[str, Field(pattern=r"^consortia:[a-z-]+$")]
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    detail: str
    incident: str | None = None


MALFORMED = "consortia:malformed"
UNAUTHENTICATED = "consortia:unauthenticated"
"""No token, or one that doesn't hold any more: with a new one the same request may succeed."""
INVALID_DPOP_PROOF = "consortia:invalid-dpop-proof"
USE_DPOP_NONCE = "consortia:use-dpop-nonce"
"""RFC 9449, section 8: send it again with a proof that holds the nonce of the answer's ``DPoP-Nonce``."""
FORBIDDEN = "consortia:forbidden"
NOT_FOUND = "consortia:not-found"
CONFLICT = "consortia:conflict"
EXPIRED = "consortia:expired"
TOO_LARGE = "consortia:too-large"
BUDGET = "consortia:budget-exceeded"
TOO_OFTEN = "consortia:too-often"
INTERNAL = "consortia:internal"
