"""What a person is to decide on, from verified statements only: in plain words, to the letter, and who said what."""

from collections.abc import Mapping
from dataclasses import dataclass

from pages.charts import Bar
from pages.contract import Section, SiloLine, in_words, silo_lines
from protocol import accounting, canonical
from protocol.membership_statements import DatasetRegistered
from protocol.study import StudyContract, contract_value, study_cost, study_id


@dataclass(frozen=True, slots=True)
class Standing:
    """Where it stands by the verified log: who approved, who objects and why, how many approvals are needed."""

    approved_by: tuple[str, ...]
    objected: tuple[tuple[str, str], ...]
    threshold: int


@dataclass(frozen=True, slots=True)
class Matter:
    """``exact`` is the canonical text; ``name`` says what its digest is, e.g. "Study id".

    What can't be objected to (a charter, which is signed or not) has no such button.
    """

    title: str
    name: str
    exact: str
    words: tuple[Section, ...]
    standing: Standing
    silos: tuple[SiloLine, ...] = ()
    bars: tuple[Bar, ...] = ()
    may_object: bool = True

    @property
    def digest(self) -> str:
        """Computed from the text that is shown, so it can't name another."""
        return canonical.digest(self.exact.encode())


def study_matter(contract: StudyContract, standing: Standing, datasets: Mapping[str, DatasetRegistered]) -> Matter:
    """A study. ``datasets`` holds, by silo, the registration of the contract's dataset: its owner's cap."""
    return Matter(
        title=contract.title,
        name="Study id",
        exact=canonical.encode(contract_value(contract)).decode(),
        words=in_words(contract, study_id(contract)),
        standing=standing,
        silos=silo_lines(contract),
        bars=tuple(_bar(contract, silo, datasets.get(silo)) for silo in contract.silo_names),
    )


def _bar(contract: StudyContract, silo: str, registered: DatasetRegistered | None) -> Bar:
    privacy = contract.privacy
    cap, delta, order, whose = privacy.epsilon, privacy.delta, privacy.order, "the contract's own bound"
    if registered is not None:
        cap, delta, order = registered.epsilon, registered.delta, registered.order
        whose = f"its owner's cap for {registered.domain}, all studies together"
    epsilon = accounting.epsilon_at(study_cost(contract, silo, order), delta, order)
    return Bar(silo, epsilon, cap, f"epsilon {epsilon:.3f} of {cap:g} at delta {delta:g}, {whose}")
