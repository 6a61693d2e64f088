"""Which software a self-test was run on, and which is installed."""

from importlib.metadata import PackageNotFoundError, version
from typing import Final

PACKAGES: Final = ("consortia", "cryptography", "numpy", "opacus", "torch")


def installed_version(package: str) -> str:
    """Its version, or ``none``."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
