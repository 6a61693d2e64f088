"""What a silo refuses or fails at. Every message is safe to show and to log: it holds no row and no secret."""


class SiloError(Exception):
    """Anything a silo node stops at, with a text for the person who runs it."""


class ConfigRefused(SiloError):
    """Configuration or key files that cannot be used."""


class DatasetRefused(SiloError):
    """A dataset, schema or registration that cannot be used."""


class SourceUnreachable(DatasetRefused):
    """A dataset's source that doesn't answer, for now; what is registered of it may be there again later."""


class OptOutsRefused(DatasetRefused):
    """A list of opt-outs that is gone, edited or older than the journal; no row of its domain is read until then."""


class PolicyRefused(SiloError):
    """A policy file that cannot be used; nothing is allowed until it is mended."""


class LedgerDamaged(SiloError):
    """The budget ledger's chain does not verify; nothing is charged or run until a person looks."""


class JournalDamaged(SiloError):
    """The journal's chain does not verify."""


class RunnerFailed(SiloError):
    """The process that reads rows failed; what it had read stays there."""


class SelfTestFailed(SiloError):
    """The newest privacy self-test of this machine failed; nothing is computed until one passes."""


class Unhealthy(SiloError):
    """The node of this folder does not run, or does not come through to the hub."""


class HubUnreachable(SiloError):
    """The hub does not answer, for now."""


class HubRefused(SiloError):
    """The hub answered with a problem; ``status`` is the HTTP status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class HubDistrusted(SiloError):
    """The hub showed something that does not verify: a forked log, a wrong key, a forged sum."""


class StudyHalted(SiloError):
    """This silo takes no further part in a study."""


class JobRefused(SiloError):
    """Something about a job that can't be done as it stands."""
