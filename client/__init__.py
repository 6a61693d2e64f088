"""What people use: ``from client import Federation`` and the ``consortia`` command."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from client.federation import Federation

__all__ = ["Federation"]


def __getattr__(name: str) -> Any:
    # Loaded when asked for: the command and its parts must not pay for NumPy and ONNX at every start.
    if name == "Federation":
        from client.federation import Federation

        return Federation
    raise AttributeError(f"module 'client' has no attribute {name!r}")
