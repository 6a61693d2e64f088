"""Names for the nodes of an exported graph: of the module that holds the parameters, or of the operator."""

import re
from dataclasses import dataclass, field

_LONGEST = 50


@dataclass(slots=True)
class NodeNames:
    """Gives each name once."""

    _taken: set[str] = field(default_factory=lambda: {"features"})

    def of_parameter(self, parameter: str) -> str:
        """``head.0.weight`` is of node ``head_0``."""
        return self._free(re.sub("[^a-z0-9]+", "_", parameter.rpartition(".")[0].lower()).strip("_"))

    def of_operator(self, operator: str) -> str:
        """``relu``, then ``relu_1``."""
        return self._free(operator)

    def _free(self, wanted: str) -> str:
        stem = wanted[:_LONGEST] if re.match("[a-z]", wanted) else f"layer_{wanted[:_LONGEST]}".rstrip("_")
        name, number = stem, 0
        while name in self._taken:
            number += 1
            name = f"{stem}_{number}"
        self._taken.add(name)
        return name
