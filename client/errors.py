"""What the client stops at. Each message is one line for a person, with the remedy, and holds no secret."""

from protocol.problems import Problem


class ClientError(Exception):
    """Anything the ``consortia`` command stops at; ``exit_code`` is what it ends with."""

    exit_code = 1


class UsageRefused(ClientError):
    """Something that the caller gave (an option, a file, words) cannot be used."""

    exit_code = 2


class KeyRefused(UsageRefused):
    """A key file or public card that cannot be used."""


class TrialFailed(ClientError):
    """A trial on mock rows that did not come to its end."""


class PrivateRefused(UsageRefused):
    """The private side of a dataset was asked for: it is at its silo, and stays there."""


class NotDecided(ClientError):
    """A page on this machine waited for an answer that did not come."""


class HubUnreachable(ClientError):
    """No answer from the hub, after all retries."""


class HubRefused(ClientError):
    """The hub said no, as an RFC 9457 problem."""

    def __init__(self, problem: Problem) -> None:
        incident = f" (incident {problem.incident})" if problem.incident else ""
        super().__init__(f"the hub refuses: {problem.detail}{incident}")
        self.problem = problem


class HubUntrusted(ClientError):
    """What the hub shows does not verify: its log, its charter or a statement. Call the admin."""


class BundleRefused(ClientError):
    """A release that is not what the silos confirmed, or not readable as one."""


class JobNotReleased(ClientError):
    """A job of which the silo's owner has let nothing go."""


class StudyNotCompleted(ClientError):
    """A study that was waited for ended without a result."""


class AuditFailed(ClientError):
    """The record does not verify; ``leaf`` is the index of the first leaf that fails, if one can be named."""

    def __init__(self, message: str, leaf: int | None = None) -> None:
        super().__init__(message if leaf is None else f"leaf {leaf}: {message}")
        self.leaf = leaf
