"""Whether a dataset's persons stand in another privacy domain of this silo: what can be checked of an owner's word.

New rows of the same persons draw on the domain they have; a domain beside it is for other persons alone. Where a column
names the subjects, their keyed hashes are compared, at every registration and renewal, with all that the other domains
ever held. What comes of it is for the owner's eyes: it is in no statement, and no count of it in the journal.
"""

from dataclasses import dataclass

from silo_node.agent.silo import Silo
from silo_node.dataset.persons import TAG_BYTES, in_both
from silo_node.dataset.registration import Checked, Dataset, Registration
from silo_node.errors import DatasetRefused, RunnerFailed


@dataclass(frozen=True, slots=True)
class Compared:
    """The other domains: those whose persons were compared, and those that nobody can compare by machine."""

    compared: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def compare_persons(silo: Silo, asked: Registration, checked: Checked) -> Compared:
    """Raises ``DatasetRefused`` where a person of the dataset stands in another domain already."""
    others = [domain.name for domain in silo.ledger.domains() if domain.name != asked.domain]
    if not checked.persons:
        return Compared(unknown=tuple(others))
    unknown = []
    for name in others:
        held, complete = _persons_of(silo, name)
        shared = in_both(held, checked.persons)
        if shared:
            raise DatasetRefused(
                f"dataset {asked.name}: at least {shared} of its {len(checked.persons) // TAG_BYTES} subjects stand in "
                f"domain {name} already, and their budget is that domain's: register it with --domain {name}, or "
                "leave them out. This count is for your eyes; it is kept nowhere"
            )
        if not complete:
            unknown.append(name)
    return Compared(tuple(name for name in others if name not in unknown), tuple(unknown))


def note_other_persons(silo: Silo, asked: Registration, reason: str | None, compared: Compared) -> None:
    """The owner's decision, in the journal before the ledger takes it; nothing where the domain is known or alone."""
    known = [domain.name for domain in silo.ledger.domains()]
    if reason is None or not known or asked.domain in known:
        return
    by_machine = f"compared by their subject ids: {', '.join(compared.compared) or 'none'}"
    unknown = f"; not comparable: {', '.join(compared.unknown)}" if compared.unknown else ""
    what = f"owner: domain {asked.domain} is of other persons than {', '.join(known)}: {reason} ({by_machine}{unknown})"
    silo.voice.note("decision", what, None)


def _persons_of(silo: Silo, domain: str) -> tuple[bytes, bool]:
    """The tags of all whom the domain is known to have held, and whether those are all.

    Of a dataset that is older than registers, those it holds now; what it held before, or holds under no ids, nobody
    knows.
    """
    datasets = [one for one in silo.catalogue.list() if one.domain == domain]
    known = silo.catalogue.persons.load(domain, expected=any(one.lists_persons for one in datasets))
    older = [_read_now(silo, one) for one in datasets if not one.lists_persons]
    return known + b"".join(one for one in older if one is not None), bool(datasets) and not older


def _read_now(silo: Silo, dataset: Dataset) -> bytes | None:
    if dataset.declared.subject is None:
        return None
    registration = Registration(**{field: getattr(dataset, field) for field in Registration.model_fields})
    try:
        return silo.runner.check(registration).persons
    except (DatasetRefused, RunnerFailed):
        return None
