"""What may be charged: whitelisted mechanisms within bounds, and a clear refusal for all else."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from protocol.spend import MAX_EVENTS, Gaussian, SampledGaussian, parse_events

GAUSSIAN = {"kind": "gaussian", "noise_multiplier": 2.5, "count": 1, "unit": "subject"}
SAMPLED = {"kind": "sampled_gaussian", "sampling_rate": 0.05, "noise_multiplier": 1.1, "steps": 75, "unit": "record"}


def test_both_mechanisms_are_read_from_json() -> None:
    assert parse_events(json.loads(json.dumps([GAUSSIAN, SAMPLED]))) == (
        Gaussian(noise_multiplier=2.5, count=1, unit="subject"),
        SampledGaussian(sampling_rate=0.05, noise_multiplier=1.1, steps=75, unit="record"),
    )


def test_a_whole_number_of_json_is_a_noise_multiplier_too() -> None:
    (event,) = parse_events([GAUSSIAN | {"noise_multiplier": 2}])
    assert type(event.noise_multiplier) is float


@pytest.mark.parametrize(
    ("event", "field", "value", "bound"),
    [
        (SAMPLED | {"noise_multiplier": 0.15, "steps": 2000}, "noise_multiplier", "0.15", "0.3"),
        (SAMPLED | {"noise_multiplier": 10_001.0}, "noise_multiplier", "10001.0", "10000"),
        (SAMPLED | {"noise_multiplier": float("nan")}, "noise_multiplier", "nan", "finite"),
        (SAMPLED | {"noise_multiplier": float("inf")}, "noise_multiplier", "inf", "finite"),
        (SAMPLED | {"noise_multiplier": True}, "noise_multiplier", "True", "number"),
        (SAMPLED | {"noise_multiplier": "1.1"}, "noise_multiplier", "'1.1'", "number"),
        (SAMPLED | {"sampling_rate": 0.0}, "sampling_rate", "0.0", "greater than 0"),
        (SAMPLED | {"sampling_rate": -0.1}, "sampling_rate", "-0.1", "greater than 0"),
        (SAMPLED | {"sampling_rate": 1.01}, "sampling_rate", "1.01", "1"),
        (SAMPLED | {"steps": 0}, "steps", "0", "1"),
        (SAMPLED | {"steps": 10**9}, "steps", "1000000000", "1000000"),
        (SAMPLED | {"steps": 7.5}, "steps", "7.5", "integer"),
        (SAMPLED | {"unit": "household"}, "unit", "'household'", "subject"),
        (SAMPLED | {"epsilon": 0.1}, "epsilon", "0.1", "not permitted"),
        (GAUSSIAN | {"count": 1001}, "count", "1001", "1000"),
        (GAUSSIAN | {"kind": "laplace"}, "kind", "'laplace'", "sampled_gaussian"),
        (GAUSSIAN | {"kind": ["gaussian"]}, "kind", "['gaussian']", "sampled_gaussian"),
        ({"noise_multiplier": 1.0}, "kind", "absent", "sampled_gaussian"),
        ({"kind": "gaussian", "count": 1, "unit": "record"}, "noise_multiplier", "absent", "required"),
    ],
)
def test_a_refusal_names_the_field_the_value_and_the_bound(
    event: dict[str, object], field: str, value: str, bound: str
) -> None:
    with pytest.raises(ValueError) as refusal:
        parse_events([GAUSSIAN, event])
    text = str(refusal.value)
    assert f"events[1].{field} is {value}" in text
    assert bound in text


@pytest.mark.parametrize("raw", [None, 5, "gaussian", GAUSSIAN, [None], [[GAUSSIAN]], [GAUSSIAN] * (MAX_EVENTS + 1)])
def test_what_is_no_list_of_events_is_refused(raw: object) -> None:
    with pytest.raises(ValueError, match="events"):
        parse_events(raw)


def test_a_refusal_stays_short_whatever_was_sent() -> None:
    with pytest.raises(ValueError) as refusal:
        parse_events([GAUSSIAN | {"unit": "x" * 10**6}])
    assert len(str(refusal.value)) < 300


def test_an_event_that_was_built_around_its_checks_is_checked() -> None:
    forged = SampledGaussian.model_construct(sampling_rate=0.05, noise_multiplier=0.01, steps=2000, unit="record")
    with pytest.raises(ValueError, match=r"noise_multiplier is 0\.01"):
        parse_events([forged])


def test_an_event_cannot_be_changed() -> None:
    (event,) = parse_events([GAUSSIAN])
    with pytest.raises(ValidationError):
        event.noise_multiplier = 100.0


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)


@settings(deadline=None, max_examples=200)
@given(
    event=st.sampled_from([GAUSSIAN, SAMPLED]),
    field=st.sampled_from(["kind", "noise_multiplier", "sampling_rate", "steps", "count", "unit", "other"]),
    value=JSON_VALUES,
)
def test_anything_else_is_a_value_error_or_an_event_within_its_bounds(
    event: dict[str, object], field: str, value: object
) -> None:
    try:
        (read,) = parse_events([event | {field: value}])
    except ValueError:
        return
    assert 0.3 <= read.noise_multiplier <= 10_000
    assert read.unit in ("record", "subject")
    assert parse_events([json.loads(read.model_dump_json())]) == (read,)
