"""Answers as plain values (JSON) and as lines of text, the same in the terminal, in files and in reports."""

from typing import Any

from client.statistics.answers import Answer, Line
from client.statistics.estimates import CONFIDENCE, Estimate
from pages.statistics_words import question_in_words

ABOUT = {
    "rows": "of the rows that were read: the interval holds the noise",
    "population": "of those whom the rows are a sample of: the interval holds the noise and the sampling",
}


def answer_value(answer: Answer) -> dict[str, Any]:
    """An answer in JSON types; a suppressed cell has no ``value``, and ``suppressed`` is true."""
    value: dict[str, Any] = {
        "query": answer.name,
        "question": question_in_words(answer.question),
        "confidence": CONFIDENCE,
        "noise_deviation": answer.noise_deviation,
        "suppressed_cells": answer.suppressed,
        "lines": [_line(answer, line) for line in answer.lines],
    }
    if answer.independence is not None:
        test = answer.independence
        value["independence"] = {"statistic": test.statistic, "p_value": test.p_value, "why": test.why}
    return value


def header(answer: Answer) -> tuple[str, ...]:
    """The columns of ``rows_of``."""
    return (*answer.axes, "what", "value", "95 % interval")


def rows_of(answer: Answer) -> list[tuple[str, ...]]:
    """Every number of the answer as text."""
    return [(*line.cell, *_text(answer, line)) for line in answer.lines]


def notes_of(answer: Answer) -> list[str]:
    """What has to be said below the numbers: what the intervals are about, what is kept back, the test."""
    kinds = sorted({line.about for line in answer.lines if line.estimate is not None})
    whats = {about: sorted({line.what for line in answer.lines if line.about == about}) for about in kinds}
    several = len(kinds) > 1
    notes = [f"{', '.join(whats[about])}: {ABOUT[about]}" if several else ABOUT[about] for about in kinds]
    if answer.suppressed:
        cells = "1 cell is" if answer.suppressed == 1 else f"{answer.suppressed} cells are"
        notes.append(f"{cells} too small to be shown")
    if answer.independence is not None:
        notes.append(_test(answer))
    return notes


def number(value: float | None) -> str:
    """A number of four significant digits; whole ones from a thousand on."""
    if value is None:
        return "not known"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _line(answer: Answer, line: Line) -> dict[str, Any]:
    cell = dict(zip(answer.axes, line.cell, strict=True))
    if line.estimate is None:
        return {"cell": cell, "what": line.what, "suppressed": True}
    told = line.estimate
    return {
        "cell": cell,
        "what": line.what,
        "about": line.about,
        "value": told.value,
        "low": told.low,
        "high": told.high,
    }


def _text(answer: Answer, line: Line) -> tuple[str, str, str]:
    if line.estimate is None:
        return line.what, "too small", ""
    return line.what, number(line.estimate.value), _interval(line.estimate)


def _interval(told: Estimate) -> str:
    return f"{number(told.low)} to {number(told.high)}"


def _test(answer: Answer) -> str:
    test = answer.independence
    if test is None or test.statistic is None or test.p_value is None:
        return f"independence was not tested: {'' if test is None else test.why}"
    return (
        f"independence: Pearson's statistic {number(test.statistic)}, p = {test.p_value:.4f}, "
        "by tables drawn with the same noise"
    )
