"""The study contract: one immutable document, named by its digest, with all a data owner has to weigh.

Each kind of study has a contract of its own: the clauses that all share (``protocol.clauses``) and what it computes.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from protocol import canonical
from protocol.errors import Malformed
from protocol.ids import StudyId
from protocol.training_study import TrainingContract

StudyContract = TrainingContract


def parse_contract(value: Mapping[str, Any]) -> StudyContract:
    """The contract in ``value`` (JSON types). Raises ``Malformed`` with every field that is wrong."""
    try:
        return StudyContract.model_validate_json(canonical.encode(value))
    except ValidationError as error:
        raise Malformed("study contract refused: " + explain(error)) from None


def parse_training(value: Mapping[str, Any]) -> TrainingContract:
    """As ``parse_contract``, of a study that trains. Raises ``Malformed`` for one of another kind too."""
    contract = parse_contract(value)
    if not isinstance(contract, TrainingContract):
        raise Malformed(f"study contract refused: kind: {contract.kind}, a study of kind training is needed")
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
