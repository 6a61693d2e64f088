"""Whether what is charged is what is run, and whether a charge is the divergence that it claims to be."""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from protocol.accounting import SENSITIVITY_SLACK, cost, cost_of
from protocol.spend import PICOS, Event, Gaussian, SampledGaussian
from protocol.training_study import TrainingContract, evaluation_events, normalisation_events, training_events
from silo_node.selftest.engine import Engine
from silo_node.selftest.measured import Measured
from silo_node.selftest.specimen import SILO, beginning, rows_of, study
from silo_node.training.noise import NoiseSource

Floats = NDArray[np.float64]

_ORDERS: Final = (2, 8, 32, 128)
_MECHANISMS: Final = ((0.01, 0.8), (0.01, 2.0), (0.1, 1.0), (0.5, 4.0), (1.0, 3.0))
_AGREES: Final = 1e-6


def accounting_figures(engine: Engine, random: np.random.Generator) -> Iterator[Measured]:
    """Charged over run, for the three mechanisms; and the ledger's costs over integrals of their own."""
    contract = study(8, steps=3, rate=0.5, noise=2.0, clip=1.0, quiet=False)
    charged = (*normalisation_events(contract), *training_events(contract, SILO), *evaluation_events(contract))
    ran = events_run(engine, contract, random)
    ratio = None if ran is None else cost_of(charged, 8) / cost_of(ran, 8)
    yield _figure("cost charged over cost of what was run", ratio, 1e-9)
    ratios = [ledger_over_integral(*one, order) for one in _MECHANISMS for order in _ORDERS]
    for name, value in (("least", min(ratios)), ("largest", max(ratios))):
        yield _figure(f"{name} charge over its integral", value, _AGREES)


def _figure(what: str, ratio: float | None, within: float) -> Measured:
    return Measured(check="accounting", what=what, figure=ratio, low=1 - within, high=1 + within, alarm=0.0)


class Watched:
    """A noise source, and what was asked of it."""

    def __init__(self, source: NoiseSource) -> None:
        self._source = source
        self.deviations: list[float] = []
        self.rates: list[float] = []
        self.before: list[int] = []
        """How much noise had been asked for when a sample was."""

    def add_gaussian(self, sums: Floats, deviation: float, step: float) -> Floats:
        self.deviations.append(deviation)
        return self._source.add_gaussian(sums, deviation, step)

    def included(self, rows: int, rate: float) -> NDArray[np.bool_]:
        self.rates.append(rate)
        self.before.append(len(self.deviations))
        return self._source.included(rows, rate)


def events_run(engine: Engine, contract: TrainingContract, random: np.random.Generator) -> tuple[Event, ...] | None:
    """The mechanisms that a run of all three came to, by what was asked of the noise; None for what is no event."""
    rows, state = rows_of(random, 50, len(contract.data.features)), beginning(contract)
    unit, noise = contract.privacy.unit, Watched(engine.noise)
    engine.train_round(contract, SILO, rows, state, noise)
    steps = [noise.deviations[start:end] for start, end in pairwise((*noise.before, len(noise.deviations)))]
    if not steps or noise.before[0] or not all(steps):
        return None
    least = min(map(min, steps)) / contract.training.clip
    # Whatever the noise of a step's tensors, the weakest decides; so does the largest rate.
    trained = SampledGaussian(sampling_rate=max(noise.rates), noise_multiplier=least, steps=len(steps), unit=unit)
    normalising, evaluating = Watched(engine.noise), Watched(engine.noise)
    engine.normalisation_sums(contract, rows.features, normalising)
    engine.evaluation_counts(contract, rows, state, evaluating)
    return (
        _gaussian(normalising, contract.normalisation.clip, contract),
        trained,
        _gaussian(evaluating, 1.0, contract),
    )


def ledger_over_integral(rate: float, noise: float, order: int) -> float:
    """A step's cost by the ledger, over its divergence integrated numerically from the definition."""
    event = SampledGaussian(sampling_rate=rate, noise_multiplier=noise, steps=1, unit="record")
    return cost(event, order) / PICOS / integrated(rate, noise / (1 + SENSITIVITY_SLACK), order)


def integrated(rate: float, noise: float, order: int) -> float:
    """The Renyi divergence at ``order`` of (1-q) N(0, s^2) + q N(1, s^2) from N(0, s^2), by the trapezoid rule.

    The integrand falls off like a Gaussian on both sides, where that rule errs by less than any power of its step.
    """
    low, high = -14 * noise, order + 14 * noise
    places = np.linspace(low, high, max(20_000, int((high - low) / noise * 60)))
    density = -0.5 * (places / noise) ** 2 - math.log(noise * math.sqrt(2 * math.pi))
    ratio = (2 * places - 1) / (2 * noise**2)
    mixed = ratio if rate == 1 else np.logaddexp(math.log1p(-rate), math.log(rate) + ratio)
    logs = density + order * mixed
    peak = float(logs.max())
    total = float(np.exp(logs - peak).sum()) * float(places[1] - places[0])
    return (peak + math.log(total)) / (order - 1)


def _gaussian(watched: Watched, sensitivity: float, contract: TrainingContract) -> Event:
    least = min(watched.deviations) / sensitivity
    return Gaussian(noise_multiplier=least, count=len(watched.deviations), unit=contract.privacy.unit)
