"""What a statistics contract asks, and of which columns, in plain words."""

from pages.model import columns_in_words
from pages.training_words import Lines, precision_in_words
from protocol.questions import (
    AnyQuestion,
    Axis,
    Contingency,
    Correlation,
    Count,
    Histogram,
    Mean,
    Missing,
    Quantiles,
    Sum,
    Survival,
    Variance,
)
from protocol.statistics_study import Query, StatisticsContract


def columns_counted(contract: StatisticsContract) -> Lines:
    """The columns that the questions are about."""
    return (
        ("Reads", columns_in_words(contract.data.reads)),
        ("Missing values", "a row without a value adds nothing to the questions that need it"),
    )


def questions_asked(contract: StatisticsContract) -> Lines:
    """Every question, with its noise, and what is kept back of the answers."""
    return (
        *((f"Query {one.question.name}", _query(one)) for one in contract.queries),
        ("Noise", "stands beside what one row can add to a number: at most 1"),
        ("Answers", f"noised totals over all silos, once; a cell of fewer than {contract.minimum_cell} stays unsaid"),
        ("Precision", precision_in_words(contract)),
    )


def question_in_words(question: AnyQuestion) -> str:
    """One question, e.g. ``the mean of age, by sex``."""
    match question:
        case Count():
            what = "how many rows"
        case Sum():
            what = f"the sum of {question.column}"
        case Mean():
            what = f"the mean of {question.column}"
        case Variance():
            what = f"the mean and variance of {question.column}"
        case Histogram():
            what = f"how many rows in each of {len(question.edges) - 1} bins of {question.column}"
        case Quantiles():
            shares = ", ".join(f"{one:g}" for one in question.probabilities)
            what = f"the quantiles {shares} of {question.column}, from {len(question.edges) - 1} bins"
        case Contingency():
            return f"a table of {' against '.join(_axis(axis) for axis in question.by)}, with a test of independence"
        case Missing():
            what = f"the share of rows that have no value, of {', '.join(question.of)}"
        case Correlation():
            what = f"the correlations of {', '.join(question.of)}"
        case Survival():
            times = len(question.edges) - 1
            what = f"the share that outlives each of {times} times of {question.time}, until {question.event}"
    by = ", ".join(_axis(axis) for axis in question.by)
    return f"{what}, by {by}" if by else what


def _axis(axis: Axis) -> str:
    return f"{axis.name} ({len(axis.levels)} levels)" if len(axis.levels) > 2 else axis.name


def _query(query: Query) -> str:
    return f"{question_in_words(query.question)}; noise of deviation {query.deviation:.3g} on each number, at each silo"
