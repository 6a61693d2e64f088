"""Who each row is about: by the subject's column, else by the record's, else by all that the row holds."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from silo_node.dataset.problems import Problems
from silo_node.dataset.schema import Schema
from silo_node.dataset.split import content_identities, named_identities


@dataclass(slots=True)
class IdentityReader:
    """Reads identities batch after batch; what is wrong with them is noted in ``problems``."""

    schema: Schema
    problems: Problems
    _seen: "Counter[bytes]" = field(default_factory=Counter)

    @property
    def role(self) -> str | None:
        """What a named row is: "subject" or "record"; None where rows are not named."""
        return "subject" if self.schema.subject else "record" if self.schema.record_id else None

    def names(self, frame: pl.DataFrame, before: int) -> list[str] | None:
        """The id of each row, as text without spaces around it; None where no column names rows."""
        name = self.schema.subject or self.schema.record_id
        if name is None:
            return None
        series = frame[name]
        if not (series.dtype.is_integer() or series.dtype in (pl.String, pl.Null)):
            said = f"column {name} identifies the {self.role}: it must hold integers or texts, not {series.dtype}"
            self.problems.note_column(name, said)
            return [""] * len(series)
        text, missing = series.cast(pl.String), series.is_null()
        if series.dtype == pl.String:
            text = text.str.strip_chars()
            missing |= (text == "").fill_null(False)
        self.problems.note(name, "a missing value", missing, before)
        return text.fill_null("").to_list()

    def identities(self, names: list[str] | None, values: NDArray[np.float64]) -> list[bytes]:
        """One identity a row; ``values`` float64 (n, d) are all declared columns, unclamped."""
        if names is None or self.role is None:
            return content_identities(values[:, np.argsort(self.schema.names)], self._seen)
        return named_identities(self.role, names)
