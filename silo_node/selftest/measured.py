"""What a privacy self-test found, as values: figures beside their bounds. Without torch: the agent reads these."""

import math
from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter

from protocol import canonical
from protocol.ids import Sentence, Strict, Timestamp, as_sentence

Depth = Literal["quick", "thorough"]

NAME: Final = "privacy self-test"
PASSED: Final = "passed"
"""The verdict in a journal's entry, behind depth and name, where it is good; with any other nothing is computed."""
ALARM: Final = 1e-6
"""The most a sound machine risks with one random figure: to be told that it fails. Bounds are derived from it."""


class Measured(Strict):
    """One figure of a check. It passes from ``low`` to ``high``, both included; no bound where one is None.

    check: the family that it belongs to. what: for people. figure: None where it could not be measured, which fails.
    alarm: a bound on the chance that a sound machine fails by this figure; 0 for one without chance in it.
    """

    type: Literal["measured"] = "measured"
    check: Annotated[str, Field(pattern=r"^[a-z-]{1,20}$")]
    what: Annotated[Sentence, Field(max_length=40)]
    figure: float | None
    low: float | None
    high: float | None
    alarm: Annotated[float, Field(ge=0, le=1)]
    seconds: Annotated[float, Field(ge=0)] = 0.0

    @property
    def passed(self) -> bool:
        if self.figure is None:
            return False
        return (self.low is None or self.low <= self.figure) and (self.high is None or self.figure <= self.high)

    @property
    def bound(self) -> str:
        """The range in a few characters."""
        if self.low is None:
            return "any" if self.high is None else f"<= {self.high:.6g}"
        if self.high is None:
            return f">= {self.low:.6g}"
        about_one = math.isclose(self.low + self.high, 2.0, abs_tol=1e-12)
        return f"1 +- {self.high - 1:.2g}" if about_one else f"{self.low:.4g} to {self.high:.6g}"


class Begun(Strict):
    """The first thing the tested process says: what it runs on, by name of package."""

    type: Literal["begun"] = "begun"
    versions: dict[str, str]


class Finished(Strict):
    """The last thing it says, after every figure. Without it the test did not come to its end."""

    type: Literal["finished"] = "finished"
    figures: Annotated[int, Field(ge=0)]


Said = Begun | Measured | Finished
SAID: Final[TypeAdapter[Said]] = TypeAdapter(Annotated[Said, Field(discriminator="type")])
"""What the process that runs the checks says on its standard output, one message a line."""


class SelfTestReport(Strict):
    """One run of the self-test. ``failure`` says why it broke off; None where every check was run."""

    format: Literal["consortia-self-test/1"]
    depth: Depth
    at: Timestamp
    sandbox: str
    versions: dict[str, str]
    figures: tuple[Measured, ...]
    failure: Sentence | None

    @property
    def passed(self) -> bool:
        return self.failure is None and bool(self.figures) and all(one.passed for one in self.figures)

    @property
    def failed(self) -> tuple[Measured, ...]:
        return tuple(one for one in self.figures if not one.passed)

    def to_bytes(self) -> bytes:
        """Canonical JSON (RFC 8785): what the journal's digest is of."""
        return canonical.encode(self.model_dump(mode="json"))

    def in_words(self) -> str:
        """One line for the journal, verdict first: what is too long for it is cut at its end."""
        good = sum(one.passed for one in self.figures)
        why = self.failure or ", ".join(one.what for one in self.failed) or "nothing was measured"
        verdict = PASSED if self.passed else f"failed ({why})"
        run_on = ", ".join(f"{name} {version}" for name, version in sorted(self.versions.items()))
        figures = "; ".join(f"{one.what}: {shown(one.figure)}" for one in self.figures)
        counted = f"{good} of {len(self.figures)} figures within bounds"
        return as_sentence(f"{self.depth} {NAME} {verdict}: {counted}, in {self.sandbox}, on {run_on}: {figures}")


def shown(figure: float | None) -> str:
    return "none" if figure is None else f"{figure:.6g}"
