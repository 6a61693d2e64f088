"""What a released histogram of scores tells, as numbers for a file, lines for a model card, and curves."""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from client.bundle import Bundle
from pages.charts import Point, curve
from protocol.evaluation import ScoredEvaluation, scores_told
from protocol.scores import Difference, Estimate, Scores

SVG: Final = "http://www.w3.org/2000/svg"
UNKNOWN: Final = "not told: the noise that protects the records is as large"


def scores_of(bundle: Bundle) -> tuple[Scores, tuple[str, ...]] | None:
    """The scores and the groups' names; None where the study counted right and wrong alone."""
    evaluation, measured = bundle.contract.evaluation, bundle.evaluation
    if not isinstance(evaluation, ScoredEvaluation):
        return None
    told = scores_told(evaluation, bundle.contract.sealing, np.array(measured.counts), measured.test_silos)
    return told, evaluation.group_names


def figures(scores: Scores, names: tuple[str, ...]) -> dict[str, Any]:
    """All figures as JSON types; an estimate is null where the noise drowned it."""
    return {
        "rows": scores.rows(),
        "accuracy": _value(scores.accuracy()),
        "auc": _value(scores.auc()),
        "roc": [
            {
                "threshold": edge,
                "false_positive_rate": _value(scores.false_positive_rate(edge)),
                "true_positive_rate": _value(scores.true_positive_rate(edge)),
            }
            for edge in scores.edges
        ],
        "calibration": [{"from": low, "to": high, "observed": _value(share)} for low, high, share in _bins(scores)],
        "groups": [_group(scores, place, name) for place, name in enumerate(names)] if len(names) > 1 else [],
    }


def lines(scores: Scores, names: tuple[str, ...]) -> Iterator[str]:
    """Lines of Markdown: the figures for all rows, then by group."""
    yield f"- **AUC**: {_words(scores.auc())}"
    yield f"- **True positives**: {_words(scores.true_positive_rate())} of those who have the target"
    yield f"- **False positives**: {_words(scores.false_positive_rate())} of those who don't"
    told = [(low, high, share) for low, high, share in _bins(scores) if share is not None]
    inside = sum(share.low <= high and low <= share.high for low, high, share in told)
    yield f"- **Calibration**: in {inside} of {len(told)} bins that are told, what was observed fits what was predicted"
    if len(names) == 1:
        return
    yield ""
    yield "| group | rows, noised | AUC | predicted positive | true positives | against the others |"
    yield "|---|---|---|---|---|---|"
    for place, name in enumerate(names):
        chosen = (place,)
        cells = (
            _words(scores.auc(groups=chosen)),
            _words(scores.positive_rate(groups=chosen)),
            _words(scores.true_positive_rate(groups=chosen)),
            _gap(scores.equal_opportunity(place)),
        )
        yield f"| {name} | {scores.rows(groups=chosen):.0f} | " + " | ".join(cells) + " |"


def charts(scores: Scores) -> dict[str, str]:
    """The ROC and the calibration curve as SVG files, by name."""
    rates = [(scores.false_positive_rate(edge), scores.true_positive_rate(edge)) for edge in reversed(scores.edges)]
    known = [(false, true) for false, true in rates if false is not None and true is not None]
    roc = [Point(false.value, true.value, true.low, true.high) for false, true in known]
    observed = [
        Point((low + high) / 2, share.value, share.low, share.high)
        for low, high, share in _bins(scores)
        if share is not None
    ]
    drawn = {
        "roc.svg": curve("ROC", "false positive rate", "true positive rate", roc),
        "calibration.svg": curve("Calibration", "predicted", "observed", observed),
    }
    return {name: chart.replace("<svg ", f'<svg xmlns="{SVG}" ', 1) for name, chart in drawn.items()}


def _bins(scores: Scores) -> Iterator[tuple[float, float, Estimate | None]]:
    ends = (0.0, *scores.edges, 1.0)
    return zip(ends[:-1], ends[1:], scores.calibration(), strict=True)


def _group(scores: Scores, place: int, name: str) -> dict[str, Any]:
    chosen = (place,)
    return {
        "group": name,
        "rows": scores.rows(groups=chosen),
        "accuracy": _value(scores.accuracy(groups=chosen)),
        "auc": _value(scores.auc(groups=chosen)),
        "positive_rate": _value(scores.positive_rate(groups=chosen)),
        "true_positive_rate": _value(scores.true_positive_rate(groups=chosen)),
        "false_positive_rate": _value(scores.false_positive_rate(groups=chosen)),
        "equal_opportunity": _value(scores.equal_opportunity(place)),
        "demographic_parity": _value(scores.demographic_parity(place)),
    }


def _value(found: Estimate | Difference | None) -> dict[str, float] | None:
    if found is None:
        return None
    estimate = found.estimate if isinstance(found, Difference) else found
    told = {
        "value": estimate.value,
        "standard_error": estimate.standard_error,
        "low": estimate.low,
        "high": estimate.high,
    }
    return told | {"p_value": found.p_value} if isinstance(found, Difference) else told


def _words(found: Estimate | None) -> str:
    return UNKNOWN if found is None else f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"


def _gap(found: Difference | None) -> str:
    if found is None:
        return UNKNOWN
    return f"{found.estimate.value:+.3f} (p {found.p_value:.2g})"
