"""All checks, one after the other, each figure with the time that it took."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from silo_node.selftest.accounting_checks import accounting_figures
from silo_node.selftest.canary_audit import canary_figures
from silo_node.selftest.effort import Effort
from silo_node.selftest.engine import Engine
from silo_node.selftest.many_run_audit import many_run_figures
from silo_node.selftest.measured import Measured
from silo_node.selftest.noise_checks import noise_figures
from silo_node.selftest.sampler_checks import sampler_figures
from silo_node.selftest.sensitivity_checks import sensitivity_figures


@dataclass(frozen=True, slots=True)
class Check:
    """A family of figures."""

    name: str
    figures: Callable[[], Iterator[Measured]]


def checks(engine: Engine, effort: Effort, random: np.random.Generator) -> tuple[Check, ...]:
    """``random`` gives made-up rows and fair coins; what is tested draws its own randomness from ``engine``."""
    return (
        Check("noise", lambda: noise_figures(engine, effort, random)),
        Check("sensitivity", lambda: sensitivity_figures(engine, random)),
        Check("sampler", lambda: sampler_figures(engine, effort)),
        Check("accounting", lambda: accounting_figures(engine, random)),
        Check("canaries", lambda: canary_figures(engine, effort, random)),
        Check("many-runs", lambda: many_run_figures(engine, effort)),
    )


def measure(
    engine: Engine, effort: Effort, random: np.random.Generator, clock: Callable[[], float] = time.monotonic
) -> Iterator[Measured]:
    """Every figure of every check. A check that can't go on is a figure that failed; the others are run too."""
    torch.set_num_threads(1)
    for check in checks(engine, effort, random):
        started = clock()
        try:
            for one in check.figures():
                yield one.model_copy(update={"seconds": round(clock() - started, 3)})
                started = clock()
        except Exception as problem:  # noqa: BLE001 - whatever it is, this machine can't do what privacy rests on
            what = f"stopped with {type(problem).__name__}"
            yield Measured(check=check.name, what=what[:40], figure=None, low=None, high=0.0, alarm=0.0)
