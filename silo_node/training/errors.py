"""What training stops at. Messages hold contract constants and shapes, never a row's value."""

from silo_node.errors import SiloError


class TrainingRefused(SiloError):
    """A model, batch, input or state with which the privacy that is charged would not hold."""
