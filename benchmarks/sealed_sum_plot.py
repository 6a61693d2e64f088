"""A plot of lines on two logarithmic axes, as an SVG file that needs no stylesheet."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

_WIDTH: Final = 640
_HEIGHT: Final = 400
_LEFT: Final = 70
_BOTTOM: Final = 50
_TOP: Final = 30
_RIGHT: Final = 70
_COLOURS: Final = ("#0b6e99", "#b3541e", "#4f7a28", "#7a4f9c")


@dataclass(frozen=True, slots=True)
class Line:
    """A named line through points (x, y), all positive, in the order they are joined."""

    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class _Axis:
    """Decades `low` to `high` (exponents of ten) on pixels `start` to `end`."""

    low: int
    high: int
    start: float
    end: float

    def place(self, value: float) -> float:
        return self.start + (math.log10(value) - self.low) / (self.high - self.low) * (self.end - self.start)

    @property
    def ticks(self) -> list[float]:
        return [10.0**power for power in range(self.low, self.high + 1)]


def log_plot(title: str, across: str, lines: Sequence[Line]) -> str:
    """The SVG. Raises ValueError without points, or where a coordinate is not positive."""
    points = [point for line in lines for point in line.points]
    if not points or any(coordinate <= 0 for point in points for coordinate in point):
        raise ValueError("points: there must be some, and both coordinates positive on logarithmic axes")
    x = _axis([point[0] for point in points], _LEFT, _WIDTH - _RIGHT)
    y = _axis([point[1] for point in points], _HEIGHT - _BOTTOM, _TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        _text(_LEFT, 18, title),
        *(_rule(x.place(tick), _TOP, x.place(tick), _HEIGHT - _BOTTOM) for tick in x.ticks),
        *(_text(x.place(tick), _HEIGHT - _BOTTOM + 18, f"{tick:g}", "middle") for tick in x.ticks),
        *(_rule(_LEFT, y.place(tick), _WIDTH - _RIGHT, y.place(tick)) for tick in y.ticks),
        *(_text(_LEFT - 6, y.place(tick) + 4, f"{tick:g} s", "end") for tick in y.ticks),
        _text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 8, across, "middle"),
        *(_line(line, x, y, _COLOURS[at % len(_COLOURS)]) for at, line in enumerate(lines)),
    ]
    return "\n".join([*parts, "</svg>", ""])


def _axis(values: Sequence[float], start: float, end: float) -> _Axis:
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return _Axis(low, max(high, low + 1), start, end)


def _line(line: Line, x: _Axis, y: _Axis, colour: str) -> str:
    places = [(x.place(across), y.place(up)) for across, up in line.points]
    path = " ".join(f"{across:.1f},{up:.1f}" for across, up in places)
    dots = "".join(f'<circle cx="{across:.1f}" cy="{up:.1f}" r="3" fill="{colour}"/>' for across, up in places)
    drawn = f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
    return drawn + dots + _text(places[-1][0] + 8, places[-1][1] + 4, line.name)


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#d0d0d0"/>'


def _text(x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
