"""How far one record moves what is released, noise off: never by more than the sensitivity that is charged."""

import math
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from protocol.accounting import SENSITIVITY_SLACK
from silo_node.errors import SiloError
from silo_node.selftest.engine import Engine
from silo_node.selftest.measured import Measured
from silo_node.selftest.silence import Silence
from silo_node.selftest.specimen import SILO, beginning, chain, convolutions, rows_of, sequence, study, summed
from silo_node.training.rows import TrainingRows, scaled

Floats = NDArray[np.float64]
Release = Callable[[TrainingRows], Floats]

_CLIP: Final = 0.7
_FEATURES: Final = 8
_ROWS: Final = 40
_MANY_ROWS: Final = 2_100
"""More than the optimizer takes at once."""
_ROWS_A_PERSON: Final = 3
_SCALES: Final = (1e-3, 1e-1, 1.0, 1e1, 1e2, 1e4, 1e6, 1e8, 1e50, 1e99, 1e160, 1e308)
_BROKEN: Final = (math.inf, -math.inf, math.nan)


def sensitivity_figures(engine: Engine, random: np.random.Generator) -> Iterator[Measured]:
    """The most that a record moves each release, over the sensitivity; and that records are counted at all."""
    few, many = rows_of(random, _ROWS, _FEATURES), rows_of(random, _MANY_ROWS, _FEATURES)
    linear, deep = chain((_FEATURES, 1), nn.ReLU, random), chain((_FEATURES, 12, 6, 1), nn.ReLU, random)
    for name, model in (("linear", linear), ("MLP", deep), ("Opacus hooks", sequence(random))):
        yield from _figures(f"clipped sums, {name}", _clipped(engine, model), few, _CLIP, random)
    tanh, images = chain((_FEATURES, 12, 1), nn.Tanh, random), convolutions(random)
    for name, model, rows in (
        (f"{_MANY_ROWS} rows", chain((_FEATURES, 1), nn.ReLU, random), many),
        ("book-keeping", tanh, few),
        ("convolutions", images, few),
        ("Opacus hooks", sequence(random), few),
    ):
        yield from _figures(f"step, {name}", _stepped(engine, model), rows, _CLIP, random)
    persons = _stepped(engine, chain((_FEATURES, 12, 1), nn.ReLU, random), _ROWS_A_PERSON)
    yield from _figures(f"step, persons of {_ROWS_A_PERSON} rows", persons, few, _CLIP, random)
    yield from _figures("training round", _round(engine), few, _CLIP, random)
    yield from _queries(engine, few, random)


def _queries(engine: Engine, rows: TrainingRows, random: np.random.Generator) -> Iterator[Measured]:
    contract = study(_FEATURES, steps=1, rate=1.0, noise=1.0, clip=_CLIP)
    state, clip, silence = beginning(contract), contract.normalisation.clip, Silence()

    def normalised(some: TrainingRows) -> Floats:
        return engine.normalisation_sums(contract, scaled(contract, some.features), silence)

    def counted(some: TrainingRows) -> Floats:
        return engine.evaluation_counts(contract, some, state, silence)

    yield from _figures("normalisation", normalised, rows, clip, random)
    yield from _figures("evaluation", counted, rows, 1.0, random)


def _clipped(engine: Engine, model: nn.Sequential) -> Release:
    sums = engine.clipped_sums(model, _CLIP)

    def release(rows: TrainingRows) -> Floats:
        totals = sums(torch.from_numpy(rows.features), torch.from_numpy(rows.target))
        return np.concatenate([total.detach().numpy().ravel() for total in totals])

    return release


def _stepped(engine: Engine, model: nn.Sequential, rows_a_person: int = 1) -> Release:
    """What a step takes off the parameters, from the same ones each time.

    Where a person has several rows, the one row more in the middle stands for a person who has so many of it.
    """
    held = list(model.parameters())
    start = [parameter.detach().clone() for parameter in held]
    optimizer = engine.optimizer(
        model,
        learning_rate=1.0,
        weight_decay=0.0,
        clip=_CLIP,
        noise_multiplier=1.0,
        normaliser=1.0,
        noise=Silence(),
        rows_per_unit=rows_a_person,
    )

    def release(rows: TrainingRows) -> Floats:
        with torch.no_grad():
            for parameter, value in zip(held, start, strict=True):
                parameter.copy_(value)
        inputs, target = torch.from_numpy(rows.features), torch.from_numpy(rows.target)
        if rows_a_person == 1:
            optimizer.private_step(inputs, target)
        else:
            units = _units(rows.count, rows_a_person)
            optimizer.private_step(inputs[units], target[units], units)
        moved = [(value - parameter.detach()).numpy().ravel() for value, parameter in zip(start, held, strict=True)]
        return np.concatenate(moved)

    return release


def _units(rows: int, rows_a_person: int) -> torch.Tensor:
    """A unit a row; the added one's comes so often."""
    often = torch.ones(rows, dtype=torch.int64)
    if rows > _ROWS:
        often[_ROWS // 2] = rows_a_person
    return torch.repeat_interleave(torch.arange(rows), often)


def _round(engine: Engine) -> Release:
    contract = study(_FEATURES, steps=1, rate=1.0, noise=1.0, clip=_CLIP)
    state = beginning(contract, deviation=0.01)

    def release(rows: TrainingRows) -> Floats:
        return summed(contract, engine.train_round(contract, SILO, rows, state, Silence()).vector)

    return release


def _figures(
    what: str, release: Release, rows: TrainingRows, bound: float, random: np.random.Generator
) -> Iterator[Measured]:
    before = release(rows)
    worst = max(_moved(release, _with(rows, record), before) / bound for record in _records(random))
    figure = worst if worst < math.inf else None
    # From .3 of it on, so that a release which counts no record at all can't pass for one that bounds them.
    high = 1 + SENSITIVITY_SLACK
    yield Measured(check="sensitivity", what=what, figure=figure, low=0.3, high=high, alarm=0.0)


def _records(random: np.random.Generator) -> Iterator[tuple[Floats, float]]:
    """Rows (d,) with their targets: of every scale, broken in one value, and broken in all."""
    direction = random.normal(size=_FEATURES)
    direction /= np.abs(direction).max()
    for target in (0.0, 1.0):
        for scale in _SCALES:
            yield direction * scale, target
        for value in _BROKEN:
            one = direction.copy()
            one[3] = value
            yield one, target
            yield np.full(_FEATURES, value), target


def _with(rows: TrainingRows, record: tuple[Floats, float]) -> TrainingRows:
    """In the middle: a record at an end may be one that a batch's bounds treat apart."""
    values, target = record
    middle = rows.count // 2
    return TrainingRows(np.insert(rows.features, middle, values, axis=0), np.insert(rows.target, middle, target))


def _moved(release: Release, rows: TrainingRows, before: Floats) -> float:
    """The distance from ``before``; infinite where the record shows as a value that is none, or stops the release."""
    try:
        after = release(rows)
    except SiloError:
        return math.inf
    apart = after - before
    return math.hypot(*apart.tolist()) if bool(np.isfinite(apart).all()) else math.inf
