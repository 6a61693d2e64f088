"""A study draft (YAML, docs/samples/heart.yaml) as a researcher writes it.

The draft holds every decision of the contract; ``protocol.calibration`` computes what follows from them.
"""

from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, ValidationError

from protocol import canonical
from protocol.draft_model import with_files_read
from protocol.errors import DraftRefused, Malformed
from protocol.statistics_draft import StatisticsDraft, long_form
from protocol.study import explain
from protocol.training_draft import TrainingDraft
from protocol.yaml_draft import MAX_DRAFT_BYTES, load_yaml

Draft = Annotated[TrainingDraft | StatisticsDraft, Field(discriminator="kind")]

_KINDS: Final[dict[str, type[TrainingDraft] | type[StatisticsDraft]]] = {
    "training": TrainingDraft,
    "statistics": StatisticsDraft,
}


def read_draft(path: Path) -> Draft:
    """The draft in a file. Raises ``DraftRefused`` with every field that is wrong."""
    try:
        with path.open("rb") as file:
            return parse_draft(file.read(MAX_DRAFT_BYTES + 1), path.parent)
    except OSError as error:
        raise DraftRefused(f"draft {path} can't be read: {error.strerror}") from None


def parse_draft(raw: bytes, folder: Path | None = None) -> Draft:
    """The draft in YAML bytes. Raises ``DraftRefused`` with every field that is wrong.

    folder: where the files of a model lie that the draft names; without it none is read.
    """
    value = load_yaml(raw)
    if not isinstance(value, dict):
        raise DraftRefused("the draft is not a list of fields; see docs/samples/heart.yaml")
    if folder is not None and "model" in value:
        value["model"] = with_files_read(value["model"], folder)
    kind = _KINDS.get(str(value.get("kind")))
    if kind is None:
        raise DraftRefused(f"draft refused: kind: it must be one of {', '.join(_KINDS)}")
    if kind is StatisticsDraft:
        value = long_form(value)
    try:
        return kind.model_validate_json(canonical.encode(value))
    except Malformed as error:
        raise DraftRefused(f"the draft holds what a contract can't: {error}") from None
    except ValidationError as error:
        raise DraftRefused(f"draft refused: {explain(error)}") from None
