"""What the box of a task holds of this silo: the one dataset that the task is about, the keys for reading it, and
who opted out.

Not the other datasets, nor the silo's own keys, its ledger, journal and studies.
"""

from dataclasses import dataclass
from pathlib import Path

from silo_node.dataset.catalogue import Catalogue
from silo_node.dataset.registration import Dataset, Registration
from silo_node.dataset.sources.description import files_of, needs_network
from silo_node.runner.fetching import Query
from silo_node.runner.tasks import CheckTask, ExtractTask, Task, TraceTask


@dataclass(frozen=True, slots=True)
class View:
    """Files and folders by path, each as it lay there: a path that leads to another file by now is another view.

    ``query`` is what has to be asked of a database first, and ``asked_by`` the files that say how. Those stay outside.
    """

    seen: tuple[tuple[Path, int, int], ...]
    query: Query | None = None
    asked_by: tuple[tuple[Path, int, int], ...] = ()

    @property
    def paths(self) -> tuple[Path, ...]:
        return tuple(path for path, _, _ in self.seen)


def view_of(task: Task, catalogue: Catalogue) -> View:
    """What ``task`` has to see. Raises ``DatasetRefused`` for a dataset that isn't registered."""
    match task:
        case CheckTask():
            return _view(task.registration, (), catalogue)
        case ExtractTask() | TraceTask():
            name = task.dataset
        case _:
            name = task.contract.data.dataset
    return view_of_dataset(catalogue.get(name), catalogue)


def view_of_dataset(dataset: Dataset, catalogue: Catalogue) -> View:
    """What rounds on ``dataset`` have to see."""
    return _view(dataset, (catalogue.file_of(dataset.name),), catalogue)


def _view(registration: Registration, files: tuple[Path, ...], catalogue: Catalogue) -> View:
    source, domain = Path(registration.source), registration.domain
    keys = (catalogue.keys.for_commitments, *catalogue.keys.of_domain(domain))
    own = (*files, *keys, catalogue.opt_outs.file_of(domain))
    if needs_network(source):
        return View(_seen(own), Query(source, registration.declared), _seen(files_of(source)))
    return View(_seen((*own, *files_of(source))))


def _seen(paths: tuple[Path, ...]) -> tuple[tuple[Path, int, int], ...]:
    """Those that are there: a missing one is for the process to report."""
    found = []
    for path in dict.fromkeys(paths):
        try:
            at = path.stat()
        except OSError:
            continue
        found.append((path, at.st_dev, at.st_ino))
    return tuple(found)
