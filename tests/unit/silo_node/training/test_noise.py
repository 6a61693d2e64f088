"""The noise has the deviation that is charged, a normal shape, no memory, and one grid whatever the data."""

import math
import secrets

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from silo_node.training.errors import TrainingRefused
from silo_node.training.noise import (
    InsecureNoiseWarning,
    SeededNoise,
    SystemNoise,
    gaussian,
    grid_step,
)

# Deviations from the expected that true randomness shows once in 10^8 runs or more rarely.
SIX = 6.0
DRAWS = 400_000


def test_noise_has_the_deviation_that_was_asked_for_within_one_percent() -> None:
    for deviation in (0.3, 7.6171, 10_000.0):
        noised = SystemNoise().add_gaussian(np.zeros(DRAWS), deviation, grid_step(1.0))
        assert noised.std() == pytest.approx(deviation, rel=0.01)
        assert abs(noised.mean()) < SIX * deviation / math.sqrt(DRAWS)


def test_noise_is_normal_by_kolmogorov_and_smirnov() -> None:
    noised = SystemNoise().add_gaussian(np.zeros(DRAWS), 3.0, grid_step(1.0))
    assert stats.kstest(noised / 3.0, "norm").pvalue > 1e-8


def test_noise_ten_percent_low_or_of_another_shape_is_noticed_by_these_very_checks() -> None:
    draw = np.random.default_rng(5)
    assert abs(draw.normal(size=DRAWS).std() * 0.9 - 1) > 0.01
    assert stats.kstest(draw.laplace(scale=math.sqrt(0.5), size=DRAWS), "norm").pvalue < 1e-8


def test_noise_of_two_steps_and_of_neighbours_in_a_step_is_uncorrelated() -> None:
    source = SystemNoise()
    first, second = (source.add_gaussian(np.zeros(DRAWS), 1.0, grid_step(1.0)) for _ in range(2))
    bound = SIX / math.sqrt(DRAWS // 2)
    half = DRAWS // 2  # Box and Muller's cosine and sine of one radius lie this far apart
    for one, other in ((first, second), (first[1:], first[:-1]), (first[:half], first[half:])):
        assert abs(np.corrcoef(one, other)[0, 1]) < bound
        # A shared radius would show in the squares.
        assert abs(np.corrcoef(one**2, other**2)[0, 1]) < bound


def test_every_draw_takes_a_fresh_key_of_256_bits_from_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[bytes] = []
    real = secrets.token_bytes

    def watched(count: int) -> bytes:
        taken.append(real(count))
        return taken[-1]

    monkeypatch.setattr("silo_node.training.noise.secrets.token_bytes", watched)
    source = SystemNoise()
    for _ in range(3):
        source.add_gaussian(np.zeros(2), 1.0, 2.0**-40)
        source.included(5, 0.5)
    assert len(set(taken)) == 6
    assert {len(key) for key in taken} == {32}


def test_seeding_torch_and_numpy_decides_nothing() -> None:
    drawn = []
    for _ in range(2):
        torch.manual_seed(0)
        np.random.seed(0)  # the generator that a careless source would use
        source = SystemNoise()
        drawn.append((source.add_gaussian(np.zeros(8), 1.0, 2.0**-40), source.included(200, 0.5)))
    assert not np.array_equal(drawn[0][0], drawn[1][0])
    assert not np.array_equal(drawn[0][1], drawn[1][1])


@settings(deadline=None, max_examples=50)
@given(st.floats(-1e4, 1e4), st.floats(1e-6, 1e3))
def test_what_is_released_lies_on_a_power_of_two_grid(total: float, clip: float) -> None:
    step = grid_step(clip)
    assert math.frexp(step)[0] == 0.5
    assert clip * 2.0**-41 < step <= clip * 2.0**-40
    noised = SystemNoise().add_gaussian(np.full(4, total * clip), clip, step)
    assert np.array_equal(noised / step, np.rint(noised / step))


def test_the_low_bits_of_a_sum_never_reach_the_release() -> None:
    with pytest.warns(InsecureNoiseWarning):
        one, other = SeededNoise(b"same"), SeededNoise(b"same")
    step = grid_step(1.0)
    sums = np.linspace(-3.0, 3.0, 101).round(3)
    sums = np.rint(sums / step) * step
    moved = sums + step / 4
    assert not np.array_equal(sums, moved)
    assert np.array_equal(one.add_gaussian(sums, 2.0, step), other.add_gaussian(moved, 2.0, step))


def test_counts_get_whole_numbers_of_noise() -> None:
    noised = SystemNoise().add_gaussian(np.full(50_000, 17.0), 2.0, 1.0)
    assert np.array_equal(noised, np.rint(noised))
    # Rounding to integers adds a twelfth to the variance.
    assert noised.std() == pytest.approx(math.sqrt(4 + 1 / 12), rel=0.02)


def test_seeded_noise_warns_loudly_and_repeats() -> None:
    with pytest.warns(InsecureNoiseWarning, match="protects nobody"):
        one, other = SeededNoise(b"7"), SeededNoise(b"7")
    first = one.add_gaussian(np.zeros(9), 1.0, 2.0**-40)
    assert np.array_equal(first, other.add_gaussian(np.zeros(9), 1.0, 2.0**-40))
    assert not np.array_equal(first, one.add_gaussian(np.zeros(9), 1.0, 2.0**-40))


def test_one_key_gives_one_stream() -> None:
    # First counter block of AES-256 under an all-zero key, by FIPS 197: dc95c078a2408989ad48a21492842087.
    words = [int.from_bytes(bytes.fromhex(part), "little") for part in ("dc95c078a2408989", "ad48a21492842087")]
    radius, angle = ((word + 0.5) / 2.0**64 for word in words)
    reach = math.sqrt(-2 * math.log(radius))
    expected = [reach * math.cos(2 * math.pi * angle), reach * math.sin(2 * math.pi * angle)]
    assert gaussian(bytes(32), 2) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("rate", [0.01, 0.3, 0.5, 0.999])
def test_a_row_is_included_at_the_rate_that_is_charged(rate: float) -> None:
    mask = SystemNoise().included(DRAWS, rate)
    assert abs(mask.mean() - rate) < SIX * math.sqrt(rate * (1 - rate) / DRAWS)


def test_sampling_is_poisson_not_a_batch_of_fixed_size() -> None:
    source, rate, rows = SystemNoise(), 0.3, 50
    sizes = np.array([source.included(rows, rate).sum() for _ in range(4000)])
    expected = rows * rate * (1 - rate)
    assert sizes.var() == pytest.approx(expected, rel=SIX * math.sqrt(2 / 4000))


def test_at_rate_one_every_row_is_in() -> None:
    assert SystemNoise().included(1000, 1.0).all()


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.01, math.nan])
def test_a_rate_that_is_none_is_refused(rate: float) -> None:
    with pytest.raises(TrainingRefused, match="sampling_rate"):
        SystemNoise().included(3, rate)


@pytest.mark.parametrize("deviation", [0.0, -1.0, math.nan, math.inf])
def test_noise_without_a_deviation_is_refused(deviation: float) -> None:
    with pytest.raises(TrainingRefused, match="standard deviation"):
        SystemNoise().add_gaussian(np.zeros(3), deviation, 2.0**-40)


@pytest.mark.parametrize("total", [math.nan, math.inf, 2.0**62])
def test_a_sum_out_of_the_grids_range_is_refused_not_wrapped(total: float) -> None:
    with pytest.raises(TrainingRefused, match="out of the grid"):
        SystemNoise().add_gaussian(np.array([total]), 1.0, 1.0)
