"""What a release of statistics is written as: the confirmed bytes, the answers as JSON and CSV, a report to read."""

import csv
import io
import json
from collections.abc import Sequence

from client.statistics.answers import Answer
from client.statistics.bundle import StatisticsBundle
from client.statistics.values import answer_value, header, notes_of, rows_of
from pages.statistics_words import question_in_words

CONFIRMED = "totals.json"


def answer_files(data: bytes, bundle: StatisticsBundle, answered: Sequence[Answer]) -> dict[str, bytes]:
    """By name: the bytes that the silos confirmed, and the answers."""
    value = {
        "study": bundle.study,
        "silos": list(bundle.silos),
        "minimum_cell": bundle.contract.minimum_cell,
        "answers": [answer_value(one) for one in answered],
    }
    return {
        CONFIRMED: data,
        "answers.json": (json.dumps(value, indent=2) + "\n").encode(),
        "answers.csv": _csv(answered).encode(),
    }


def answer_lines(answered: Sequence[Answer]) -> list[str]:
    """The answers in Markdown: a table a question, and what it means."""
    lines = ["## Answers", ""]
    for one in answered:
        lines += [f"### {one.name}: {question_in_words(one.question)}", ""]
        names = header(one)
        lines += [_row(names), _row(["---"] * len(names)), *(_row(row) for row in rows_of(one)), ""]
        lines += [*(f"- {note}" for note in notes_of(one)), ""]
    return lines


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _csv(answered: Sequence[Answer]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(("query", "cell", "what", "about", "value", "low", "high"))
    for one in answered:
        for line in one.lines:
            cell = "; ".join(f"{axis}={level}" for axis, level in zip(one.axes, line.cell, strict=True))
            told = line.estimate
            shown = ("", "", "") if told is None else (told.value, told.low, told.high)
            writer.writerow((one.name, cell, line.what, line.about, *shown))
    return text.getvalue()
