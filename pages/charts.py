"""Charts as inline SVG, drawn here without script: they print, scale, and say in words what they show.

Colours come from the page's stylesheet by class, so they follow its light and dark themes. Attributes say the light
ones too: they count where no stylesheet reaches into a picture (in PDF).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

LOOKS: Final = {
    "chart-label": 'fill="#17202a" font-size="13" font-family="sans-serif"',
    "chart-note": 'fill="#4d5965" font-size="11" font-family="sans-serif"',
    "chart-cap": 'fill="#d5dde5"',
    "chart-spent": 'fill="#0b5cad"',
    "chart-normalisation": 'fill="#8a5a00"',
    "chart-training": 'fill="#0b5cad"',
    "chart-evaluation": 'fill="#1a6b3c"',
    "chart-frame": 'fill="none" stroke="#d5dde5"',
    "chart-diagonal": 'fill="none" stroke="#4d5965" stroke-dasharray="3 3"',
    "chart-interval": 'stroke="#0b5cad" stroke-width="1"',
    "chart-point": 'fill="#0b5cad"',
    "chart-curve": 'fill="none" stroke="#0b5cad" stroke-width="2"',
    "chart-void": 'fill="none" stroke="#a4262c" stroke-dasharray="3 2"',
}
"""The classes of the stylesheet, as attributes; a rule of a stylesheet goes before them."""
WIDTH = 640
ROW = 34
LABEL = 170
SQUARE = 320
LEFT = 190


@dataclass(frozen=True, slots=True)
class Bar:
    """A budget: what this takes, what others took before, of a cap; all in one unit."""

    label: str
    spent: float
    cap: float
    note: str


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time on a line, in seconds from the chart's beginning."""

    label: str
    start: float
    end: float
    kind: str


def budget_bars(title: str, bars: Sequence[Bar]) -> str:
    """One bar a domain, filled to what is spent of its cap."""
    height = ROW * max(1, len(bars))
    parts = [_open(title, "; ".join(f"{bar.label}: {bar.note}" for bar in bars), height)]
    room = WIDTH - LABEL - 10
    for place, bar in enumerate(bars):
        y = place * ROW
        share = min(1.0, max(0.0, bar.spent / bar.cap)) if bar.cap > 0 else 0.0
        parts.append(f'<text {_look("chart-label")} x="0" y="{y + 20}">{escape(bar.label)}</text>')
        parts.append(f'<rect {_look("chart-cap")} x="{LABEL}" y="{y + 4}" width="{room}" height="12" rx="3"/>')
        filled = room * share
        parts.append(f'<rect {_look("chart-spent")} x="{LABEL}" y="{y + 4}" width="{filled:.1f}" height="12" rx="3"/>')
        parts.append(f'<text {_look("chart-note")} x="{LABEL}" y="{y + 29}">{escape(bar.note)}</text>')
    return "".join([*parts, "</svg>"])


def timeline(title: str, spans: Sequence[Span]) -> str:
    """One line for all spans, in their order; the longest end gives the scale."""
    last = max((span.end for span in spans), default=0.0) or 1.0
    words = "; ".join(f"{span.label}: {span.start:.0f} to {span.end:.0f} s" for span in spans)
    parts = [_open(title, words, 46)]
    for span in spans:
        x = WIDTH * span.start / last
        width = max(1.5, WIDTH * (span.end - span.start) / last - 1)
        parts.append(
            f'<rect {_look(f"chart-{span.kind}")} x="{x:.1f}" y="4" width="{width:.1f}" height="20" rx="2">'
            f"<title>{escape(span.label)}: {span.end - span.start:.0f} s</title></rect>"
        )
    parts.append(f'<text {_look("chart-note")} x="0" y="40">0 s</text>')
    parts.append(f'<text {_look("chart-note")} x="{WIDTH}" y="40" text-anchor="end">{last:.0f} s</text></svg>')
    return "".join(parts)


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a curve in the unit square, and how far its interval reaches up and down."""

    x: float
    y: float
    low: float
    high: float


def curve(title: str, across: str, up: str, points: Sequence[Point]) -> str:
    """Points in the unit square with their intervals, joined in their order, beside the diagonal."""
    words = "; ".join(f"{across} {point.x:.2f}: {up} {point.y:.2f}" for point in points)
    parts = [_open(title, words, SQUARE + 50)]
    parts.append(f'<rect {_look("chart-frame")} x="{LEFT}" y="4" width="{SQUARE}" height="{SQUARE}"/>')
    parts.append(f'<path {_look("chart-diagonal")} d="M{LEFT} {SQUARE + 4}L{LEFT + SQUARE} 4"/>')
    spots = [(LEFT + SQUARE * point.x, 4 + SQUARE * (1 - point.y), point) for point in points]
    for x, y, point in spots:
        top, bottom = (4 + SQUARE * (1 - min(1.0, max(0.0, end))) for end in (point.high, point.low))
        parts.append(f'<path {_look("chart-interval")} d="M{x:.1f} {top:.1f}V{bottom:.1f}"/>')
        parts.append(f'<circle {_look("chart-point")} cx="{x:.1f}" cy="{y:.1f}" r="3"/>')
    if spots:
        parts.append(f'<path {_look("chart-curve")} d="M' + "L".join(f"{x:.1f} {y:.1f}" for x, y, _ in spots) + '"/>')
    middle = LEFT + SQUARE // 2
    for place, share in enumerate(("0", "0.5", "1")):
        x, y = LEFT + place * SQUARE / 2, 8 + SQUARE - place * SQUARE / 2
        parts.append(f'<text {_look("chart-note")} x="{x}" y="{SQUARE + 18}" text-anchor="middle">{share}</text>')
        parts.append(f'<text {_look("chart-note")} x="{LEFT - 6}" y="{y}" text-anchor="end">{share}</text>')
    parts.append(
        f'<text {_look("chart-label")} x="{middle}" y="{SQUARE + 38}" text-anchor="middle">{escape(across)}</text>'
    )
    parts.append(f'<text {_look("chart-label")} x="0" y="16">{escape(up)}</text></svg>')
    return "".join(parts)


def _look(name: str) -> str:
    return f'class="{escape(name)}" {LOOKS.get(name, "")}'


def _open(title: str, words: str, height: int) -> str:
    return (
        f'<svg class="chart" role="img" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'aria-label="{escape(title)}: {escape(words)}"><title>{escape(title)}</title>'
    )
