"""Costs against closed forms and two other accountants; budgets, orders and calibration by their properties."""

import math
import subprocess
import sys
from fractions import Fraction

import numpy
import pytest
from dp_accounting import NeighboringRelation, dp_event
from dp_accounting.rdp import RdpAccountant
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from opacus.accountants.analysis.rdp import compute_rdp

from protocol import accounting
from protocol.accounting import (
    MAX_ORDER,
    SENSITIVITY_SLACK,
    Plan,
    admits,
    best_order,
    budget,
    calibrate,
    cost,
    cost_of,
    epsilon_at,
)
from protocol.spend import PICOS, Event, Gaussian, SampledGaussian
from tests.pld import pld_epsilon

RATES = st.floats(1e-4, 1.0)
NOISES = st.floats(0.3, 100.0)
ORDERS = st.integers(2, MAX_ORDER)
STEPS = st.integers(1, 10_000)


def sampled(rate: float, noise: float, steps: int) -> SampledGaussian:
    return SampledGaussian(sampling_rate=rate, noise_multiplier=noise, steps=steps, unit="record")


def plain(noise: float, count: int = 1) -> Gaussian:
    return Gaussian(noise_multiplier=noise, count=count, unit="record")


def agrees(picos: int, reference: float) -> bool:
    # The references take logarithms of sums near 1 in floats: their own error, in absolute terms, is larger.
    return math.isclose(picos / PICOS, reference, rel_tol=1e-6, abs_tol=2e-9)


@settings(deadline=None, max_examples=150)
@given(rate=RATES, noise=NOISES, order=ORDERS)
def test_one_step_costs_what_dp_accounting_says(rate: float, noise: float, order: int) -> None:
    reference = RdpAccountant([order], NeighboringRelation.ADD_OR_REMOVE_ONE)
    event = dp_event.GaussianDpEvent(noise / (1 + SENSITIVITY_SLACK))
    reference.compose(dp_event.PoissonSampledDpEvent(rate, event))
    assert agrees(cost(sampled(rate, noise, 1), order), float(reference._rdp[0]))


@settings(deadline=None, max_examples=150)
@given(rate=RATES, noise=NOISES, order=ORDERS)
def test_one_step_costs_what_opacus_says(rate: float, noise: float, order: int) -> None:
    reference = compute_rdp(q=rate, noise_multiplier=noise / (1 + SENSITIVITY_SLACK), steps=1, orders=[order])
    assert agrees(cost(sampled(rate, noise, 1), order), float(numpy.asarray(reference)[0]))


@settings(deadline=None, max_examples=100)
@given(rate=st.floats(1e-12, 1.0), noise=st.floats(0.3, 10_000.0), order=st.integers(2, 12))
def test_a_cost_is_the_exact_moment_rounded_up(rate: float, noise: float, order: int) -> None:
    """Mironov et al. 2019, 3.3 in exact fractions, but for the exponential, taken by its series."""
    q, sigma = Fraction(rate), Fraction(noise) / (1 + Fraction(str(SENSITIVITY_SLACK)))
    assume(order * order / (2 * sigma * sigma) < 20)

    def exp_less_1(x: Fraction) -> Fraction:
        term, total = Fraction(1), Fraction(0)
        for n in range(1, 120):
            term = Fraction(int(term * x / n * 10**60), 10**60)
            total += term
        return total

    excess = sum(
        math.comb(order, k) * (1 - q) ** (order - k) * q**k * exp_less_1((k * k - k) / (2 * sigma**2))
        for k in range(2, order + 1)
    )
    exact = PICOS * math.log1p(excess) / (order - 1)
    assert cost(sampled(rate, noise, 1), order) == pytest.approx(max(1, exact), rel=1e-12, abs=1)
    assert cost(sampled(rate, noise, 1), order) >= exact * (1 - 1e-12)


@settings(deadline=None, max_examples=100)
@given(noise=st.floats(0.3, 10_000.0), order=ORDERS, count=st.integers(1, 1000))
def test_without_sampling_the_cost_is_order_over_twice_sigma_squared_rounded_up(
    noise: float, order: int, count: int
) -> None:
    sigma = Fraction(noise) / (1 + Fraction(str(SENSITIVITY_SLACK)))
    exact = math.ceil(PICOS * count * order / (2 * sigma * sigma))
    assert cost(plain(noise, count), order) == exact
    assert cost(sampled(1.0, noise, count), order) == exact


def test_the_slack_of_float32_sums_is_charged() -> None:
    assert cost(plain(1.0), 2) == math.ceil(Fraction(100001, 100000) ** 2 * PICOS)


def test_nothing_is_free_however_small() -> None:
    assert cost(sampled(5e-324, 10_000.0, 1), 2) == 1


@settings(deadline=None, max_examples=100)
@given(rate=RATES, noise=NOISES, order=ORDERS, steps=STEPS, parts=st.integers(2, 5))
def test_splitting_a_charge_never_makes_it_cheaper(
    rate: float, noise: float, order: int, steps: int, parts: int
) -> None:
    whole = cost(sampled(rate, noise, steps * parts), order)
    split = cost_of([sampled(rate, noise, steps)] * parts, order)
    assert whole <= split <= whole + parts


@settings(deadline=None, max_examples=100)
@given(rate=RATES, noise=st.floats(0.3, 99.0), order=ORDERS, steps=STEPS)
def test_more_noise_and_less_sampling_never_cost_more(rate: float, noise: float, order: int, steps: int) -> None:
    known = cost(sampled(rate, noise, steps), order)
    assert cost(sampled(rate, noise * 1.01, steps), order) <= known
    assert cost(sampled(rate / 2, noise, steps), order) <= known
    assert cost(sampled(rate, noise, steps), order - 1 if order > 2 else 2) <= known


def test_the_parameters_that_sink_other_accountants_are_refused_before_any_arithmetic() -> None:
    forged = SampledGaussian.model_construct(
        kind="sampled_gaussian", sampling_rate=0.05, noise_multiplier=0.15, steps=2000, unit="record"
    )
    with pytest.raises(ValueError, match=r"noise_multiplier is 0\.15.*0\.3"):
        cost(forged, 32)
    with pytest.raises(ValueError, match=r"noise_multiplier is 0\.15.*0\.3"):
        pld_epsilon([forged], 1e-3)


def test_the_costliest_event_that_is_allowed_has_a_finite_cost() -> None:
    assert cost(sampled(1.0, 0.3, 1_000_000), 256) > 10**21
    assert cost(sampled(0.5, 0.3, 1_000_000), 256) > 10**21


@pytest.mark.parametrize("order", [1, 0, -3, 257, 2.0, True, "3"])
def test_an_order_that_is_none_is_refused(order: object) -> None:
    with pytest.raises(ValueError, match=r"order is .* 2 to 256"):
        cost(plain(1.0), order)  # type: ignore[arg-type]


@settings(deadline=None, max_examples=200)
@given(epsilon=st.floats(0.05, 1000.0), delta=st.floats(1e-15, 0.1), order=ORDERS)
def test_a_budget_is_the_formula_rounded_down_and_epsilon_at_turns_it_around(
    epsilon: float, delta: float, order: int
) -> None:
    formula = epsilon - math.log((order - 1) / order) + (math.log(delta) + math.log(order)) / (order - 1)
    assume(formula > 1e-9)
    cap = budget(epsilon, delta, order)
    assert formula - 2e-12 - formula * 1e-14 <= cap / PICOS <= formula + formula * 1e-14 + 1e-13
    assert epsilon - 2e-12 <= epsilon_at(cap, delta, order) <= epsilon * (1 + 1e-15)


@settings(deadline=None, max_examples=60)
@given(epsilon=st.floats(0.2, 50.0), delta=st.floats(1e-10, 1e-2), sigma=st.floats(0.5, 50.0))
def test_the_conversion_is_never_below_the_epsilon_that_dp_accounting_finds(
    epsilon: float, delta: float, sigma: float
) -> None:
    """Over this order alone theirs is the same conversion; so ours is at most as small."""
    order = best_order(epsilon, delta)
    reference = RdpAccountant([order], NeighboringRelation.ADD_OR_REMOVE_ONE)
    reference.compose(dp_event.GaussianDpEvent(sigma))
    assert epsilon_at(cost(plain(sigma), order), delta, order) >= reference.get_epsilon(delta) * (1 - 1e-9)


@settings(deadline=None, max_examples=15)
@given(epsilon=st.floats(0.2, 50.0), delta=st.floats(1e-10, 1e-2))
def test_no_other_order_pays_for_more_noise_than_the_best(epsilon: float, delta: float) -> None:
    best = best_order(epsilon, delta)
    worth = budget(epsilon, delta, best) / best
    for order in range(2, 257):
        try:
            assert budget(epsilon, delta, order) / order <= worth + 1
        except ValueError:
            continue


def test_nothing_spent_is_epsilon_zero_exactly() -> None:
    assert epsilon_at(0, 1e-3, 10) == 0.0
    with pytest.raises(ValueError, match="cost is -1"):
        epsilon_at(-1, 1e-3, 10)


def test_a_budget_that_pays_for_nothing_is_refused_with_a_remedy() -> None:
    with pytest.raises(ValueError, match=r"order 2, .*choose a larger epsilon or delta, or a higher order"):
        budget(1.0, 1e-5, 2)
    with pytest.raises(ValueError, match="no budget at any order"):
        best_order(0.01, 1e-5)


def test_an_answer_that_is_remembered_for_one_is_not_given_for_true() -> None:
    assert best_order(1.0, 1e-3) == best_order(1, 1e-3)
    with pytest.raises(ValueError, match="epsilon is "):
        best_order(True, 1e-3)
    assert epsilon_at(10**9, 1e-3, 2) > 0
    with pytest.raises(ValueError, match="order is "):
        epsilon_at(10**9, 1e-3, 2.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("epsilon", [0.0, -1.0, math.nan, math.inf, 1000.1, True, "1"])
def test_an_epsilon_that_is_none_is_refused(epsilon: object) -> None:
    for function in (lambda: budget(epsilon, 1e-3, 10), lambda: best_order(epsilon, 1e-3)):  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="epsilon is "):
            function()


@pytest.mark.parametrize("delta", [0.0, -1e-3, 1.0, 0.11, 1e-16, math.nan, False, None])
def test_a_delta_that_is_none_is_refused(delta: object) -> None:
    for function in (lambda: budget(1.0, delta, 10), lambda: epsilon_at(5, delta, 10)):  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="delta is "):
            function()


def test_an_ask_is_admitted_up_to_the_cap_and_not_one_unit_beyond() -> None:
    assert admits(40, 60, 100)
    assert not admits(41, 60, 100)
    with pytest.raises(ValueError, match="ask -1"):
        admits(0, -1, 100)


def test_the_study_of_the_design_costs_what_the_design_says() -> None:
    """privacy.md: at epsilon 1, delta 1e-3 the budget is .594."""
    assert best_order(1.0, 1e-3) == 10
    assert budget(1.0, 1e-3, 10) / PICOS == pytest.approx(0.594, abs=5e-4)


def test_where_adding_up_epsilons_admits_7_studies_the_filter_admits_38() -> None:
    """A domain of (8, 1e-3) and heart's training, 75 full steps at the noise that alone makes epsilon 1."""
    epsilon, delta = 8.0, 1e-3
    study = [sampled(1.0, 28.0997, 75)]
    order = best_order(epsilon, delta)
    by_filter = budget(epsilon, delta, order) // cost_of(study, order)

    def fits_by_adding(studies: int) -> bool:
        """Basic composition: epsilons and deltas add up; each study at its own best order."""
        alone = min(epsilon_at(cost_of(study, a), delta / studies, a) for a in range(2, 65))
        return studies * alone <= epsilon

    by_adding = max(studies for studies in range(1, 20) if fits_by_adding(studies))
    assert (by_filter, by_adding) == (38, 7)


STAGES = {"normalisation": 0.1, "training": 0.8, "evaluation": 0.1}


def plans(rate: float, steps: int) -> dict[str, Plan]:
    return {
        "normalisation": Plan("gaussian"),
        "training": Plan("sampled_gaussian", steps, rate),
        "evaluation": Plan("gaussian"),
    }


@settings(deadline=None, max_examples=40)
@given(epsilon=st.floats(0.3, 20.0), rate=st.floats(0.01, 1.0), steps=st.integers(1, 500))
def test_a_calibrated_study_fits_and_with_a_hair_less_noise_a_stage_would_not(
    epsilon: float, rate: float, steps: int
) -> None:
    order = best_order(epsilon, 1e-3)
    noise = calibrate(epsilon, 1e-3, order, STAGES, plans(rate, steps))
    cap = budget(epsilon, 1e-3, order)
    events = {name: plan.event(noise[name]) for name, plan in plans(rate, steps).items()}
    assert cost_of(events.values(), order) <= cap
    for name, plan in plans(rate, steps).items():
        assert noise[name] == round(noise[name], 4)
        if noise[name] > 0.3:
            less = plan.event(round(noise[name] - 1e-4, 4))
            assert cost(less, order) > math.floor(Fraction(str(STAGES[name])) * cap)


def test_the_heart_study_needs_this_much_noise() -> None:
    """Full batches, 75 steps, delta 1e-3; by hand: sqrt(75 * order / (2 * .8 * B)) * (1 + 1e-5), rounded up."""
    for epsilon in (1.0, 5.0):
        order = best_order(epsilon, 1e-3)
        noise = calibrate(epsilon, 1e-3, order, STAGES, plans(1.0, 75))
        for name, times in (("training", 75), ("evaluation", 1)):
            share = STAGES[name] * budget(epsilon, 1e-3, order) / PICOS
            by_hand = math.sqrt(times * order / (2 * share)) * (1 + SENSITIVITY_SLACK)
            assert noise[name] == pytest.approx(math.ceil(by_hand * 10_000) / 10_000, abs=1e-9)


def test_one_stage_alone_may_have_all_of_it() -> None:
    noise = calibrate(1.0, 1e-3, 10, {"training": 1.0}, {"training": Plan("sampled_gaussian", 75)})
    assert cost(Plan("sampled_gaussian", 75).event(noise["training"]), 10) <= budget(1.0, 1e-3, 10)


def test_a_plan_that_no_noise_can_save_is_refused_with_a_remedy() -> None:
    with pytest.raises(ValueError, match=r"training can't fit .*fewer steps"):
        calibrate(0.05, 1e-3, 256, {"training": 1.0}, {"training": Plan("sampled_gaussian", 1_000_000)})


@pytest.mark.parametrize(
    ("shares", "complaint"),
    [
        ({"training": 0.9}, "the same"),
        ({"normalisation": 0.2, "training": 0.8, "evaluation": 0.1}, "add up to 1.1"),
        ({"normalisation": 0.0, "training": 0.8, "evaluation": 0.1}, r"shares\[normalisation\] is 0.0"),
        ({"normalisation": -0.1, "training": 0.8, "evaluation": 0.1}, r"shares\[normalisation\] is -0.1"),
        ({"normalisation": math.nan, "training": 0.8, "evaluation": 0.1}, r"shares\[normalisation\] is nan"),
    ],
)
def test_shares_that_are_none_are_refused(shares: dict[str, float], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        calibrate(1.0, 1e-3, 10, shares, plans(1.0, 75))


def test_a_plan_out_of_bounds_is_refused() -> None:
    with pytest.raises(ValueError, match="steps is 1000000000"):
        calibrate(1.0, 1e-3, 10, {"t": 1.0}, {"t": Plan("sampled_gaussian", 10**9)})
    with pytest.raises(ValueError, match=r"sampling_rate is 0\.5"):
        Plan("gaussian", 1, 0.5).event(1.0)


@pytest.mark.parametrize("rate", [0.05, 1.0])
def test_the_reported_epsilon_is_tighter_than_the_charged_one(rate: float) -> None:
    events: list[Event] = [sampled(rate, 20.0, 50), plain(9.0), plain(9.0, 2)]
    charged = min(epsilon_at(cost_of(events, order), 1e-3, order) for order in range(2, 65))
    assert 0 < pld_epsilon(events, 1e-3) <= charged


def test_the_reported_epsilon_of_one_gaussian_is_the_analytic_one() -> None:
    """Balle and Wang 2018, Theorem 8: the delta of a Gaussian at epsilon, in closed form."""
    sigma = 3.0 / (1 + SENSITIVITY_SLACK)
    epsilon = pld_epsilon([plain(3.0)], 1e-3)

    def below(x: float) -> float:
        return math.erfc(-x / math.sqrt(2)) / 2

    delta = below(1 / (2 * sigma) - epsilon * sigma) - math.exp(epsilon) * below(-1 / (2 * sigma) - epsilon * sigma)
    assert delta == pytest.approx(1e-3, rel=1e-2)


def test_a_report_that_would_take_minutes_is_refused() -> None:
    with pytest.raises(ValueError, match="a report goes up to 50"):
        pld_epsilon([sampled(1.0, 0.3, 100)], 1e-3)
    with pytest.raises(ValueError, match="33 different mechanisms"):
        pld_epsilon([plain(50.0 + n) for n in range(33)], 1e-3)


def test_accounting_loads_none_of_the_heavy_libraries() -> None:
    script = (
        "import sys, protocol.accounting; "
        "sys.exit(any(name in sys.modules for name in ('dp_accounting', 'numpy', 'scipy', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_admission_arithmetic_is_the_same_in_every_decimal_context() -> None:
    script = (
        "import decimal; decimal.getcontext().prec = 5; decimal.getcontext().rounding = decimal.ROUND_DOWN; "
        "from protocol.accounting import *; from protocol.spend import *; "
        "print(budget(1.0, 1e-3, 10), cost(SampledGaussian(sampling_rate=.1, noise_multiplier=1.5, steps=9, "
        "unit='record'), 10))"
    )
    printed = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert printed.split() == [str(accounting.budget(1.0, 1e-3, 10)), str(cost(sampled(0.1, 1.5, 9), 10))]
