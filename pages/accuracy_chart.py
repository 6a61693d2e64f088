"""Expected accuracy against epsilon as an SVG picture: drawn here without script, so it prints, scales and says in
words what it shows. It is a file of its own: its looks are attributes, no stylesheet reaches it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from pages.charts import LOOKS

WIDTH: Final = 640
HEIGHT: Final = 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 20, 56, 44
_GRID: Final = 'stroke="#d5dde5"'
_LINE: Final = 'fill="none" stroke="#0b5cad" stroke-width="2"'
_BASE: Final = 'stroke="#8a5a00" stroke-dasharray="6 4"'
_HALO: Final = 'stroke="#ffffff" stroke-width="4" stroke-linejoin="round" paint-order="stroke"'
_CEILING: Final = 'stroke="#1a6b3c" stroke-dasharray="2 3" stroke-width="2"'


@dataclass(frozen=True, slots=True)
class Mark:
    """An accuracy at an epsilon (above 0), with what one study's accuracy strays by: a standard deviation, or 0."""

    epsilon: float
    accuracy: float
    spread: float


def accuracy_chart(title: str, marks: Sequence[Mark], noiseless: float | None, commonest: float | None) -> str:
    """Marks from left to right on a logarithmic scale; lines where there is no noise, and for the commoner answer."""
    values = [one.accuracy + side * one.spread for one in marks for side in (-1, 1)]
    values += [one for one in (noiseless, commonest) if one is not None]
    low, high = _scale(values or [0.0, 1.0])
    drawing = _Drawing(marks, low, high)
    parts = [_opened(title, marks, noiseless, commonest), *drawing.grid()]
    texts = []
    for value, look, text in (
        (commonest, _BASE, "always the commoner answer"),
        (noiseless, _CEILING, "no noise"),
    ):
        if value is not None:
            parts.append(drawing.level(value, look))
            texts.append(drawing.label(value, f"{text}: {value:.3f}"))
    return "".join([*parts, *drawing.curve(), *texts, "</svg>\n"])


class _Drawing:
    """Where things lie in the picture."""

    def __init__(self, marks: Sequence[Mark], low: float, high: float) -> None:
        self._marks, self._low, self._high = sorted(marks, key=lambda one: one.epsilon), low, high
        logs = [math.log(one.epsilon) for one in self._marks] or [0.0]
        self._first, self._width = logs[0], max(logs[-1] - logs[0], 1e-9)

    def x(self, epsilon: float) -> float:
        return _LEFT + 20 + (WIDTH - _LEFT - _RIGHT - 40) * (math.log(epsilon) - self._first) / self._width

    def y(self, accuracy: float) -> float:
        return _TOP + (HEIGHT - _TOP - _BOTTOM) * (self._high - accuracy) / (self._high - self._low)

    def grid(self) -> list[str]:
        """Lines at round accuracies, and the epsilons below."""
        step = 0.05 if self._high - self._low <= 0.4 else 0.1
        parts = []
        for place in range(round(self._low / step), round(self._high / step) + 1):
            y = self.y(place * step)
            parts.append(f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" {_GRID}/>')
            parts.append(_text(_LEFT - 8, y + 4, f"{place * step:.2f}", "end"))
        parts += [_text(self.x(one.epsilon), HEIGHT - _BOTTOM + 18, f"{one.epsilon:g}") for one in self._marks]
        return [*parts, _text((WIDTH + _LEFT) / 2, HEIGHT - 8, "epsilon of the whole study, at each silo")]

    def level(self, accuracy: float, look: str) -> str:
        y = self.y(accuracy)
        return f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" {look}/>'

    def label(self, accuracy: float, text: str) -> str:
        """Above a level, and before whatever of the curve lies behind it."""
        return f"<g {_HALO}>{_text(WIDTH - _RIGHT - 50, self.y(accuracy) - 6, text, 'end')}</g>"

    def curve(self) -> list[str]:
        points = " ".join(f"{self.x(one.epsilon):.1f},{self.y(one.accuracy):.1f}" for one in self._marks)
        parts = [f'<polyline points="{points}" {_LINE}/>']
        for one in self._marks:
            x, y = self.x(one.epsilon), self.y(one.accuracy)
            top, bottom = self.y(one.accuracy + one.spread), self.y(one.accuracy - one.spread)
            parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top:.1f}" y2="{bottom:.1f}" {_LINE}/>')
            parts.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#0b5cad"><title>{_words(one)}</title></circle>'
            )
        return parts


def _scale(values: list[float]) -> tuple[float, float]:
    """From the 5 hundredths below to those above, within 0 and 1, a tenth at least."""
    low, high = math.floor(20 * min(values)) / 20, math.ceil(20 * max(values)) / 20
    low, high = max(0.0, low), min(1.0, max(high, low + 0.1))
    return min(low, high - 0.1), high


def _opened(title: str, marks: Sequence[Mark], noiseless: float | None, commonest: float | None) -> str:
    told = [_words(one) for one in marks]
    told += [f"no noise: {noiseless:.3f}"] if noiseless is not None else []
    told += [f"always the commoner answer: {commonest:.3f}"] if commonest is not None else []
    words = escape("; ".join(told))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}" aria-label="{escape(title)}: {words}"><title>{escape(title)}</title>'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>'
        f'<text {LOOKS["chart-label"]} x="{_LEFT}" y="22">{escape(title)}</text>'
        f"{_text(_LEFT, 40, 'mean accuracy on held-out rows; bars: one standard deviation of one study', 'start')}"
    )


def _words(one: Mark) -> str:
    return f"epsilon {one.epsilon:g}: {one.accuracy:.3f}, one study strays by {one.spread:.3f}"


def _text(x: float, y: float, text: str, anchor: str = "middle") -> str:
    return f'<text {LOOKS["chart-note"]} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
