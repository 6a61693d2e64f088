"""How much a self-test draws and runs: enough for its bounds, or more for finer ones."""

from dataclasses import dataclass
from typing import Final

from silo_node.selftest.measured import Depth


@dataclass(frozen=True, slots=True)
class Effort:
    """draws: values of noise a step. samples: batches drawn. queries: small releases. canaries: one-run audits.

    runs: of the many-run audit, on each side. steps: of each of these runs.
    """

    draws: int
    samples: int
    queries: int
    canaries: int
    runs: int
    steps: int


EFFORT: Final[dict[Depth, Effort]] = {
    "quick": Effort(draws=400_000, samples=2_000, queries=2_000, canaries=1, runs=3_000, steps=1),
    "thorough": Effort(draws=4_000_000, samples=20_000, queries=20_000, canaries=8, runs=6_000, steps=3),
}
