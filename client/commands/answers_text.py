"""A statistics study's answers in the terminal."""

from collections.abc import Iterable

from rich.text import Text

from client.commands.options import out, print_table, printable, say
from client.statistics.answers import Answer
from client.statistics.trial import StatisticsTrial
from client.statistics.values import header, notes_of, rows_of
from pages.statistics_words import question_in_words


def print_answers(answered: Iterable[Answer]) -> None:
    """A table a question, and below it what its intervals mean."""
    for one in answered:
        out.print()
        out.print(Text(printable(f"{one.name}: {question_in_words(one.question)}"), style="bold"))
        print_table("", header(one), rows_of(one))
        for note in notes_of(one):
            say(printable(f"  {note}"))


def print_statistics_trial(trial: StatisticsTrial) -> None:
    """What the study would tell, if the rows were those of the trial."""
    out.print(f"[bold]{'TRIAL' if trial.files else 'TRIAL ON MOCK ROWS'}[/bold]: nothing was sent, nobody was asked")
    say(printable(f"  {trial.contract.title}"))
    print_answers(trial.answers)
    privacy = trial.contract.privacy
    say(
        f"\nprivacy cost: epsilon {trial.epsilon:.3f} of {privacy.epsilon:g} at delta {privacy.delta:g}, for each "
        f"{privacy.unit} at each silo"
    )
    if trial.clipped:
        say(f"{trial.clipped} values were beyond the encoding's range; the answers are too small")
