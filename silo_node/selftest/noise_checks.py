"""What a step releases where there are no rows, so noise and nothing else: its size, shape, memory and grid."""

import math
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from silo_node.selftest.chance import alarm_within, farthest_correlation, farthest_deviation, farthest_distribution
from silo_node.selftest.effort import Effort
from silo_node.selftest.engine import Engine
from silo_node.selftest.measured import ALARM, Measured
from silo_node.selftest.specimen import beginning, chain, rows_of, study
from silo_node.training.noise import grid_step

Floats = NDArray[np.float64]

_CLIP: Final = 0.8
_MULTIPLIER: Final = 2.5
_WITHIN: Final = 0.01
_SMALL_DRAWS: Final = 2_000
_SMALL: Final = 4


def noise_figures(engine: Engine, effort: Effort, random: np.random.Generator) -> Iterator[Measured]:
    """Two empty steps of the optimizer, in units of the charged deviation; then the two other mechanisms."""
    release = _empty_step(engine, effort.draws, random)
    first, second = release(), release()
    charged = _CLIP * _MULTIPLIER
    alarm = alarm_within(_WITHIN, first.size)
    yield _deviation("standard deviation of an empty step", first / charged, (1 - _WITHIN, 1 + _WITHIN), alarm)
    yield _shape("Kolmogorov-Smirnov distance to Gaussian", first / charged)
    yield _memory(first / charged, second / charged)
    step = grid_step(_CLIP)
    off_grid = int(np.count_nonzero(first / step != np.rint(first / step)))
    yield _none_of("values off the integer grid", off_grid)
    yield _repeats(engine)
    yield from _queries(engine, effort.queries, random)


def _empty_step(engine: Engine, width: int, random: np.random.Generator) -> Callable[[], Floats]:
    model = chain((width - 1, 1), torch.nn.ReLU, random)
    held = list(model.parameters())
    optimizer = engine.optimizer(
        model,
        learning_rate=1.0,
        weight_decay=0.0,
        clip=_CLIP,
        noise_multiplier=_MULTIPLIER,
        normaliser=1.0,
        noise=engine.noise,
    )
    nothing = torch.zeros((0, width - 1), dtype=torch.float64), torch.zeros(0, dtype=torch.float64)

    def release() -> Floats:
        with torch.no_grad():
            for parameter in held:
                parameter.zero_()  # so that what moves them is read to the last bit
        optimizer.private_step(*nothing)
        return -np.concatenate([parameter.detach().numpy().ravel() for parameter in held])

    return release


def _queries(engine: Engine, times: int, random: np.random.Generator) -> Iterator[Measured]:
    """Normalisation and evaluation without rows, often: each release is small."""
    contract = study(8, steps=1, rate=1.0, noise=1.0, clip=1.0, quiet=False)
    rows, state = rows_of(random, 0, 8), beginning(contract)
    stage = contract.normalisation
    sums = np.concatenate([engine.normalisation_sums(contract, rows.features, engine.noise) for _ in range(times)])
    yield _query("standard deviation of a normalisation", sums / (stage.noise_multiplier * stage.clip))
    counts = np.concatenate([engine.evaluation_counts(contract, rows, state, engine.noise) for _ in range(times)])
    # Rounding to whole counts adds a twelfth to the variance.
    rounded = math.sqrt(contract.evaluation.noise_multiplier**2 + 1 / 12)
    yield _query("standard deviation of an evaluation", counts / rounded)


def _query(what: str, values: Floats) -> Measured:
    return _deviation(what, values, farthest_deviation(values.size), ALARM)


def _deviation(what: str, values: Floats, between: tuple[float, float], alarm: float) -> Measured:
    """Over the charged one, and about zero: there a mean that is not zero shows too."""
    figure = float(np.sqrt(np.mean(values * values)))
    return Measured(check="noise", what=what, figure=figure, low=between[0], high=between[1], alarm=alarm)


def _shape(what: str, values: Floats) -> Measured:
    """Kolmogorov and Smirnov's distance."""
    ordered = torch.special.ndtr(torch.from_numpy(np.sort(values))).numpy()
    places = np.arange(values.size + 1) / values.size
    distance = float(max(np.max(places[1:] - ordered), np.max(ordered - places[:-1])))
    return Measured(
        check="noise", what=what, figure=distance, low=None, high=farthest_distribution(values.size), alarm=ALARM
    )


def _memory(first: Floats, second: Floats) -> Measured:
    """The largest correlation, times the root of the draws: between steps, neighbours, and halves; squares too."""
    half = first.size // 2
    pairs = ((first, second), (first[1:], first[:-1]), (first[:half], first[half : 2 * half]))
    largest = max(
        abs(_correlation(one**power, other**power)) * math.sqrt(one.size) for one, other in pairs for power in (1, 2)
    )
    what = "largest correlation of draws, in sigma"
    return Measured(check="noise", what=what, figure=largest, low=None, high=farthest_correlation(6), alarm=ALARM)


def _correlation(one: Floats, other: Floats) -> float:
    if np.array_equal(one, other):
        return 1.0  # constants too, of which the coefficient says nothing
    return float(np.corrcoef(one, other)[0, 1])


def _repeats(engine: Engine) -> Measured:
    """A key that is used twice gives a draw twice."""
    drawn = {engine.noise.add_gaussian(np.zeros(_SMALL), 1.0, grid_step(1.0)).tobytes() for _ in range(_SMALL_DRAWS)}
    # A pair agrees on a grid of 2^-40 with a chance below 2^-41 a value.
    alarm = _SMALL_DRAWS**2 * 2.0 ** (-41 * _SMALL)
    return _none_of(f"draws of {_SMALL_DRAWS} that repeat one", _SMALL_DRAWS - len(drawn), alarm)


def _none_of(what: str, count: int, alarm: float = 0.0) -> Measured:
    return Measured(check="noise", what=what, figure=float(count), low=None, high=0.0, alarm=alarm)
