"""What can go wrong with a ledger's file, beside damage; a refusal is a value."""

from silo_node.errors import SiloError


class LedgerUnavailable(SiloError):
    """The file can't be opened, read or written: nothing may be read or trained, and asking again is safe."""
