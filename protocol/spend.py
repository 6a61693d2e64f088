"""What a private mechanism did, told exactly: the events that a ledger stores and charges.

An event holds what is necessary and sufficient to account for one mechanism, never a claimed epsilon. The
list below is a whitelist: a mechanism that isn't on it, or one with a delta of its own, is refused, since
counting it as zero would be a leak. Every parameter is bounded here, before any accountant sees it, so that
no study file can make an accountant run for hours or fill the memory.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

Unit = Literal["record", "subject"]
"""Who is hidden: one row, or all rows of one person."""

Cost = int
"""A Renyi divergence at the order of a privacy domain, in whole units of 1e-12 (a "pico"), rounded up."""

PICOS = 10**12
MIN_NOISE_MULTIPLIER = 0.3
MAX_NOISE_MULTIPLIER = 10_000.0
MAX_STEPS = 1_000_000
MAX_COUNT = 1_000
MAX_EVENTS = 1_000

NoiseMultiplier = Annotated[float, Field(ge=MIN_NOISE_MULTIPLIER, le=MAX_NOISE_MULTIPLIER)]
SamplingRate = Annotated[float, Field(gt=0.0, le=1.0)]


class SampledGaussian(BaseModel):
    """Poisson sampling at a fixed rate, then Gaussian noise on the clipped sum, `steps` times over.

    `noise_multiplier` is the standard deviation of the noise over the clipping bound (the sensitivity).
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Literal["sampled_gaussian"] = "sampled_gaussian"
    sampling_rate: SamplingRate
    noise_multiplier: NoiseMultiplier
    steps: Annotated[int, Field(ge=1, le=MAX_STEPS)]
    unit: Unit


class Gaussian(BaseModel):
    """Gaussian noise on a sum over all units, `count` times over.

    `noise_multiplier` is the standard deviation of the noise over the L2 sensitivity of the whole vector.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Literal["gaussian"] = "gaussian"
    noise_multiplier: NoiseMultiplier
    count: Annotated[int, Field(ge=1, le=MAX_COUNT)]
    unit: Unit


Event = Annotated[SampledGaussian | Gaussian, Field(discriminator="kind")]

_EVENT: TypeAdapter[SampledGaussian | Gaussian] = TypeAdapter(Event)


def parse_events(raw: object) -> tuple[Event, ...]:
    """Events from decoded JSON (a list of objects), or from events.

    Raises ValueError, which names the field, its value and the bound, for anything that isn't whitelisted.
    """
    if not isinstance(raw, (list, tuple)) or len(raw) > MAX_EVENTS:
        found = f"{len(raw)} entries" if isinstance(raw, (list, tuple)) else f"the type {type(raw).__name__}"
        raise ValueError(f"events has {found}; it must be a list of at most {MAX_EVENTS} mechanism events")
    return tuple(_parse_event(place, one) for place, one in enumerate(raw))


def _parse_event(place: int, raw: Any) -> Event:
    if isinstance(raw, (SampledGaussian, Gaussian)):
        # Built by model_construct or copied with an update, an event may never have been validated.
        raw = raw.model_dump(warnings=False)
    try:
        return _EVENT.validate_python(raw)
    except ValidationError as problem:
        raise ValueError(_explain(place, raw, problem)) from None


def _explain(place: int, raw: Any, problem: ValidationError) -> str:
    """The first thing wrong, by field, value and bound."""
    first = problem.errors(include_url=False, include_context=False)[0]
    if not isinstance(raw, dict):
        return f"events[{place}] is of type {type(raw).__name__}; it must be an object with a kind"
    if first["type"].startswith("union_tag"):
        kind = _shown(raw["kind"]) if "kind" in raw else "absent"
        return (
            f"events[{place}].kind is {kind}; only sampled_gaussian and gaussian can be charged, "
            "so state the release as one of them"
        )
    field = ".".join(str(part) for part in first["loc"][1:])
    if first["type"] == "missing":
        return f"events[{place}].{field} is absent; it is required"
    return f"events[{place}].{field} is {_shown(first['input'])}; {first['msg'].lower()}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
