"""What the command that exports a torch model answers, and the files that it leaves in the folder it is given."""

from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter

from protocol.ids import Sentence, Strict

GRAPH_FILE: Final = "graph.json"
WEIGHTS_FILE: Final = "weights.safetensors"


class GraphExported(Strict):
    """The files are there. ``difference``: the graph's outputs from the model's, relative, at most."""

    type: Literal["exported"]
    difference: Annotated[float, Field(ge=0)]


class GraphRefused(Strict):
    """There is no graph of this model."""

    type: Literal["refused"]
    reason: Sentence


ANSWER: TypeAdapter[GraphExported | GraphRefused] = TypeAdapter(
    Annotated[GraphExported | GraphRefused, Field(discriminator="type")]
)
