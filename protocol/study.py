"""The study contract: one immutable document, named by its digest, with all a data owner has to weigh.

Each kind of study has a contract of its own: the clauses that all share (``protocol.clauses``) and what it computes.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import Field, ValidationError

from protocol import canonical
from protocol.errors import Malformed
from protocol.ids import StudyId
from protocol.statistics_study import StatisticsContract
from protocol.training_study import TrainingContract

StudyContract = Annotated[TrainingContract | StatisticsContract, Field(discriminator="kind")]

_KINDS: Final[dict[str, type[TrainingContract] | type[StatisticsContract]]] = {
    "training": TrainingContract,
    "statistics": StatisticsContract,
}


def parse_contract(value: Mapping[str, Any]) -> StudyContract:
    """The contract in ``value`` (JSON types). Raises ``Malformed`` with every field that is wrong."""
    kind = _KINDS.get(str(value.get("kind")))
    if kind is None:
        raise Malformed(f"study contract refused: kind: it must be one of {', '.join(_KINDS)}")
    try:
        return kind.model_validate_json(canonical.encode(value))
    except ValidationError as error:
        raise Malformed("study contract refused: " + explain(error)) from None


def parse_training(value: Mapping[str, Any]) -> TrainingContract:
    """As ``parse_contract``, of a study that trains. Raises ``Malformed`` for one of another kind too."""
    contract = parse_contract(value)
    if not isinstance(contract, TrainingContract):
        raise Malformed(f"study contract refused: kind: {contract.kind}, a study of kind training is needed")
    return contract


def parse_statistics(value: Mapping[str, Any]) -> StatisticsContract:
    """As ``parse_contract``, of a statistics study. Raises ``Malformed`` for one of another kind too."""
    contract = parse_contract(value)
    if not isinstance(contract, StatisticsContract):
        raise Malformed(f"study contract refused: kind: {contract.kind}, a study of kind statistics is needed")
    return contract


def contract_value(contract: StudyContract) -> dict[str, Any]:
    return contract.model_dump(mode="json")


def study_id(contract: StudyContract) -> StudyId:
    """The digest that names a contract: SHA-256 of its canonical JSON."""
    return canonical.digest(canonical.encode(contract_value(contract)))


def study_cost(contract: StudyContract, silo: str, order: int) -> int:
    """What the whole study costs ``silo`` at ``order``, in 1e-12 of Renyi divergence."""
    return contract.cost(silo, order)


def explain(error: ValidationError) -> str:
    """Every failed field of a validation as ``path: reason``, without the values that were given."""
    parts = []
    for item in error.errors(include_url=False, include_input=False, include_context=False):
        path = ".".join(str(piece) for piece in item["loc"]) or "document"
        parts.append(f"{path}: {item['msg']}")
    return "; ".join(parts[:20])
