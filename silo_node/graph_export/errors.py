"""What an export stops at."""

from silo_node.errors import SiloError


class ExportRefused(SiloError):
    """A torch model that no graph of a contract says."""
