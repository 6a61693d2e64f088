"""The self-test lets a sound engine pass, and finds every planted bug by the figure that is meant for it."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from silo_node.selftest.accounting_checks import accounting_figures, integrated
from silo_node.selftest.canary_audit import canary_figures, chance_of, proved_epsilon
from silo_node.selftest.chance import alarm_within, farthest_deviation, log_binomial, most_likely_rate
from silo_node.selftest.effort import Effort
from silo_node.selftest.engine import Engine, installed
from silo_node.selftest.many_run_audit import many_run_figures
from silo_node.selftest.measured import ALARM, Measured
from silo_node.selftest.noise_checks import noise_figures
from silo_node.selftest.sampler_checks import sampler_figures
from silo_node.selftest.sensitivity_checks import sensitivity_figures
from silo_node.selftest.suite import measure
from silo_node.statistics.queries import normalisation_sums
from silo_node.training.evaluation import evaluation_counts
from silo_node.training.noise import SeededNoise, SystemNoise
from silo_node.training.private import HardenedOptimizer, clipped_sums
from tests.unit.silo_node.selftest import planted
from tests.unit.silo_node.selftest.planted import Altered

pytestmark = pytest.mark.filterwarnings("ignore::silo_node.training.noise.InsecureNoiseWarning")

SMALL = Effort(draws=200_000, samples=500, queries=300, canaries=1, runs=200, steps=1)
ENOUGH_RUNS = replace(SMALL, runs=3_000)


def seeded(name: str = "seed") -> SeededNoise:
    return SeededNoise(name.encode())


def sound(**changed: Any) -> Engine:
    return replace(Engine(seeded()), **changed)


def draw() -> np.random.Generator:
    return np.random.default_rng(3)


def failed(figures: Iterator[Measured]) -> list[str]:
    return [one.what for one in figures if not one.passed]


def test_a_sound_engine_passes_every_check() -> None:
    figures = list(measure(Engine(SystemNoise()), SMALL, draw()))
    assert [one.what for one in figures if not one.passed] == []
    assert {one.check for one in figures} == {
        "noise", "sensitivity", "sampler", "accounting", "canaries", "many-runs",
    }  # fmt: skip
    assert sum(one.alarm for one in figures) < 20 * ALARM


def test_the_installed_engine_has_the_systems_randomness_and_nothing_else_than_rounds_run_with() -> None:
    engine = installed()
    assert isinstance(engine.noise, SystemNoise)
    assert engine == Engine(engine.noise)


@pytest.mark.parametrize(
    ("noise", "found"),
    [
        (planted.ten_percent_low, "standard deviation of an empty step"),
        (planted.none_at_all, "standard deviation of an empty step"),
        (lambda source, sums, deviation, step: source.add_gaussian(sums, deviation, step) + 0.3 * step, "integer grid"),
        (lambda source, sums, deviation, step: sums + _like(stats.laplace, sums, deviation, step), "Smirnov"),
        (lambda source, sums, deviation, step: seeded().add_gaussian(sums, deviation, step), "correlation"),
        (lambda source, sums, deviation, step: seeded().add_gaussian(sums, deviation, step), "repeat"),
        (lambda source, sums, deviation, step: sums + _in_pairs(source, sums, deviation, step), "correlation"),
    ],
)
def test_broken_noise_is_found(noise: Any, found: str) -> None:
    engine = sound(noise=Altered(seeded(), noise=noise))
    assert [one for one in failed(noise_figures(engine, SMALL, draw())) if found in one]


def _like(distribution: Any, sums: Any, deviation: float, step: float) -> Any:
    drawn = distribution.rvs(size=sums.shape, random_state=np.random.default_rng()) / distribution.std()
    return np.rint(drawn * deviation / step) * step


def _in_pairs(source: Any, sums: Any, deviation: float, step: float) -> Any:
    """Each value stands next to its own opposite."""
    once = source.add_gaussian(np.zeros((sums.size + 1) // 2), deviation, step)
    return np.repeat(once, 2)[: sums.size].reshape(sums.shape) * np.where(np.arange(sums.size) % 2, -1, 1).reshape(
        sums.shape
    )


@pytest.mark.parametrize("part", ["normalisation_sums", "evaluation_counts"])
def test_a_query_with_half_its_noise_is_found(part: str) -> None:
    real = {"normalisation_sums": normalisation_sums, "evaluation_counts": evaluation_counts}[part]
    low = Altered(seeded(), noise=lambda source, sums, deviation, step: source.add_gaussian(sums, deviation / 2, step))
    engine = sound(**{part: lambda *arguments: real(*arguments[:-1], low)})
    word = part.split("_")[0]
    assert any(word in one for one in failed(noise_figures(engine, SMALL, draw())))


def _by_layer(model: Any, clip: float) -> Any:
    """Each tensor clipped for itself: together they are longer than C."""
    whole = clipped_sums(model, 1e9)

    def sums(inputs: Any, target: Any) -> list[Any]:
        rows = [whole(inputs[at : at + 1], target[at : at + 1]) for at in range(len(inputs))]
        return [
            sum(part * min(1.0, clip / max(float(part.norm()), 1e-300)) for part in parts)
            for parts in zip(*rows, strict=True)
        ]

    return sums


def _as_a_mean(model: Any, clip: float) -> Any:
    """The batch's sum clipped, instead of each record's gradient."""
    whole = planted.Unclipped(model, clip)

    def sums(inputs: Any, target: Any) -> list[Any]:
        parts = whole(inputs, target)
        length = float(sum(part.square().sum() for part in parts) ** 0.5)
        return [part * min(1.0, len(inputs) * clip / max(length, 1e-300)) for part in parts]

    return sums


@pytest.mark.parametrize(
    "clipping",
    [
        planted.Unclipped,
        _by_layer,
        _as_a_mean,
        lambda model, clip: clipped_sums(model, 1.0001 * clip),
        lambda model, clip: lambda inputs, target: [torch.zeros_like(part) for part in model.parameters()],
    ],
    ids=["none", "by tensor", "of the batch", "a hair too far", "no record counted"],
)
def test_broken_clipping_is_found(clipping: Any) -> None:
    first = next(sensitivity_figures(sound(clipped_sums=clipping), draw()))
    assert (first.what, first.passed) == ("clipped sums, linear", False)


def test_an_optimizer_or_a_round_that_leaves_the_clipping_out_is_found() -> None:
    engine = sound(optimizer=planted.NotClipping, train_round=planted.trained_with(planted.NotClipping))
    assert failed(sensitivity_figures(engine, draw())) == [
        "step, 2100 rows",
        "step, book-keeping",
        "step, convolutions",
        "step, Opacus hooks",
        "training round",
    ]


def test_a_person_whose_rows_are_clipped_one_by_one_is_found() -> None:
    class RowByRow(HardenedOptimizer):
        def __init__(self, model: Any, rows_per_unit: int = 1, **rest: Any) -> None:
            super().__init__(model, **rest)

        def private_step(self, inputs: Any, target: Any, units: Any = None) -> None:
            super().private_step(inputs, target)

    assert failed(sensitivity_figures(sound(optimizer=RowByRow), draw())) == ["step, persons of 3 rows"]


def test_queries_that_a_record_moves_too_far_are_found() -> None:
    engine = sound(
        normalisation_sums=lambda contract, scaled, noise: scaled.sum(axis=0),
        evaluation_counts=lambda contract, rows, state, noise: np.array([float(rows.count)] * 2),
    )
    assert failed(sensitivity_figures(engine, draw())) == ["normalisation", "evaluation"]


@pytest.mark.parametrize(
    ("sample", "found"),
    [
        (planted.of_fixed_size, "distance of batch sizes"),
        (planted.Epochs(), "correlation"),
        (planted.all_by_one_coin, "correlation"),
        (planted.first_row_always, "oddest row"),
        (lambda source, rows, rate: source.included(rows, 1.05 * rate), "inclusion"),
    ],
    ids=["fixed size", "epochs", "one coin", "first row", "rate"],
)
def test_sampling_that_is_not_poisson_is_found(sample: Any, found: str) -> None:
    engine = sound(noise=Altered(seeded(), sample=sample))
    assert any(found in one for one in failed(sampler_figures(engine, SMALL)))


@pytest.mark.parametrize(
    "changed",
    [
        {"noise": Altered(SystemNoise(), noise=planted.none_at_all)},
        {"train_round": planted.trained_with(planted.NoiseOverBatch)},
        {"train_round": planted.trained_with(planted.NotClipping)},
    ],
    ids=["no noise", "noise over batch", "no clipping"],
)
def test_one_run_with_canaries_finds_gross_bugs(changed: dict[str, Any]) -> None:
    (found,) = canary_figures(sound(**changed), SMALL, draw())
    assert not found.passed and found.figure > found.high > 1


def test_the_many_run_audit_finds_noise_that_is_ten_percent_low() -> None:
    (found,) = many_run_figures(sound(noise=Altered(seeded(), noise=planted.ten_percent_low)), ENOUGH_RUNS)
    assert not found.passed


@pytest.mark.parametrize(
    "train",
    [planted.one_step_more, lambda contract, silo, rows, state, noise: None],
    ids=["a step more", "no noise asked for"],
)
def test_running_something_else_than_is_charged_is_found(train: Any) -> None:
    engine = sound(train_round=train)
    assert failed(accounting_figures(engine, draw())) == ["cost charged over cost of what was run"]


def test_a_check_that_breaks_is_a_figure_that_failed_and_the_others_are_run() -> None:
    def broken(model: Any, clip: float) -> Any:
        raise RuntimeError("a value of a row, perhaps")

    figures = list(measure(sound(clipped_sums=broken), SMALL, draw()))
    assert [(one.check, one.what) for one in figures if not one.passed] == [
        ("sensitivity", "stopped with RuntimeError")
    ]
    assert figures[-1].check == "many-runs"


@pytest.mark.parametrize(("rate", "noise", "order"), [(0.01, 0.8, 32), (0.2, 1.5, 4), (1.0, 2.0, 16)])
def test_the_integral_is_dp_accountings_divergence(rate: float, noise: float, order: int) -> None:
    from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent
    from dp_accounting.rdp import RdpAccountant

    accountant = RdpAccountant([order])
    accountant.compose(PoissonSampledDpEvent(rate, GaussianDpEvent(noise)))
    assert integrated(rate, noise, order) == pytest.approx(accountant._rdp[0], rel=1e-9)


def test_bounds_on_chance_are_those_of_the_distributions() -> None:
    assert np.exp(log_binomial(40, 0.3)) == pytest.approx(stats.binom.pmf(np.arange(41), 40, 0.3), rel=1e-9)
    assert most_likely_rate(7, 60, 0.01) == pytest.approx(stats.beta.ppf(0.99, 8, 53), rel=1e-9)
    low, high = farthest_deviation(5_000, 1e-3)
    assert stats.chi2.cdf(5_000 * low**2, 5_000) + stats.chi2.sf(5_000 * high**2, 5_000) < 1e-3
    assert stats.chi2.sf(200_000 * 1.01**2, 200_000) < alarm_within(0.01, 200_000) < 1e-8


def test_against_randomised_response_the_audit_proves_what_it_may_and_no_more() -> None:
    # By the theorem with delta 0: right answers of epsilon-DP randomised response are binomial, e^eps to 1.
    epsilon, guesses = 1.0, 700
    likely = int(stats.binom.isf(1e-6, guesses, 1 / (1 + np.exp(-epsilon))))
    assert chance_of(likely + 1, guesses, epsilon) <= 1e-6 < chance_of(likely - 1, guesses, epsilon)
    assert proved_epsilon(likely + 1, guesses) == pytest.approx(epsilon, abs=0.02)
    assert proved_epsilon(guesses // 2, guesses) == 0.0
    assert proved_epsilon(guesses, guesses) > 3.5
