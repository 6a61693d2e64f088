"""What the box of a task holds of this silo: the one dataset that the task is about, the keys for reading it, and
who opted out.

Not the other datasets, nor the silo's own keys, its ledger, journal and studies.
"""

from dataclasses import dataclass
from pathlib import Path

from silo_node.dataset.catalogue import Catalogue, Dataset, Registration
from silo_node.dataset.sources.description import files_of
from silo_node.runner.tasks import CheckTask, ExtractTask, RoundTask, Task, TraceTask


@dataclass(frozen=True, slots=True)
class View:
    """Files and folders by path, each as it lay there: a path that leads to another file by now is another view."""

    seen: tuple[tuple[Path, int, int], ...]

    @property
    def paths(self) -> tuple[Path, ...]:
        return tuple(path for path, _, _ in self.seen)


def view_of(task: Task, catalogue: Catalogue) -> View:
    """What ``task`` has to see. Raises ``DatasetRefused`` for a dataset that isn't registered."""
    if isinstance(task, CheckTask):
        return _seen(_for_checking(task.registration, catalogue))
    return _seen(tuple(path for name in _datasets(task) for path in _for_reading(catalogue.get(name), catalogue)))


def view_of_dataset(dataset: Dataset, catalogue: Catalogue) -> View:
    """What rounds on ``dataset`` have to see."""
    return _seen(_for_reading(dataset, catalogue))


def _datasets(task: ExtractTask | TraceTask | RoundTask) -> tuple[str, ...]:
    match task:
        case ExtractTask():
            return (task.dataset,)
        case TraceTask():
            return tuple(one.dataset for one in task.asked)
    return (task.contract.data.dataset,)


def _for_reading(dataset: Dataset, catalogue: Catalogue) -> tuple[Path, ...]:
    return catalogue.file_of(dataset.name), *_for_checking(dataset, catalogue)


def _for_checking(registration: Registration, catalogue: Catalogue) -> tuple[Path, ...]:
    domain = registration.domain
    keys = (catalogue.keys.for_commitments, *catalogue.keys.of_domain(domain))
    return (*keys, catalogue.opt_outs.file_of(domain), *files_of(Path(registration.source)))


def _seen(paths: tuple[Path, ...]) -> View:
    """Those that are there: a missing one is for the process to report."""
    found = []
    for path in dict.fromkeys(paths):
        try:
            at = path.stat()
        except OSError:
            continue
        found.append((path, at.st_dev, at.st_ino))
    return View(tuple(found))
