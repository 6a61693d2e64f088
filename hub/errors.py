"""What the hub refuses. Every message is safe to show to the caller; HTTP status stands in `api.problems` only."""


class HubError(Exception):
    """Root of everything the hub raises on purpose."""


class SetupRefused(HubError):
    """The hub's folder, keys or settings are not fit to start with: for who runs it, never for a caller."""


class Refused(HubError):
    """A request that is understood and not granted."""


class Unauthenticated(Refused):
    """No token or proof came with the request."""

    code = ""
    """The error of RFC 6750, section 3.1, and RFC 9449, section 7.1; none where no token was sent."""


class InvalidToken(Unauthenticated):
    """A token or assertion that doesn't hold; with a new one the request may succeed."""

    code = "invalid_token"


class InvalidProof(Unauthenticated):
    """A DPoP proof that isn't for this request, or was used before."""

    code = "invalid_dpop_proof"


class NonceNeeded(Unauthenticated):
    """A DPoP proof without one of the hub's nonces of these minutes."""

    code = "use_dpop_nonce"


class OutOfScope(Refused):
    """The caller is known, and its role isn't one of this route's."""

    def __init__(self, message: str, scope: str = "") -> None:
        super().__init__(message)
        self.scope = scope


class Forbidden(Refused):
    """The caller is known, and may not do this."""


class NotFound(Refused):
    """There is no such thing for this caller."""


class BadRequest(Refused):
    """A request whose form is wrong; statements that are wrong raise the protocol's `Malformed`."""


class Conflict(Refused):
    """Not possible in the state things are in, or another content was sent before."""


class Expired(Refused):
    """An invitation, study or charter past its time."""


class TooLarge(Refused):
    """More bytes than this place takes."""


class TooOften(Refused):
    """More requests of one address than a while allows; `retry_after_s` is when the while is over."""

    def __init__(self, message: str, retry_after_s: int = 60) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class BudgetExceeded(Refused):
    """A mirrored privacy budget can't pay for it."""
