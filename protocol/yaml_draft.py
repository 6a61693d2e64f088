"""YAML for drafts: the JSON types of YAML 1.2 and nothing else, so that a file means what it looks like.

PyYAML reads YAML 1.1, where ``no`` is false, ``1e-3`` is text, ``010`` is eight and a date is an object; this
loader reads them as a name, a number, ten and text. Aliases (which can grow without bound), tags and duplicate
keys are refused.
"""

import re
from typing import Any, Final

import yaml

from protocol.errors import DraftRefused

MAX_DRAFT_BYTES: Final = 1024 * 1024


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.constructor.ConstructorError(None, None, "aliases (*name) are not read", None)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value]
        twice = sorted({str(name) for name in names if names.count(name) > 1})
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"{twice[0]} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


_FIRST_OF_NUMBER: Final = list("-+0123456789.")
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(?:null|~|)$"), ["n", "~", ""])
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?[0-9]+$"), _FIRST_OF_NUMBER)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$"),
    _FIRST_OF_NUMBER,
)
_Loader.add_constructor("tag:yaml.org,2002:int", lambda _, node: int(str(node.value)))
_Loader.add_constructor("tag:yaml.org,2002:float", lambda _, node: float(str(node.value)))


def load_yaml(raw: bytes) -> Any:
    """The value of one YAML document of at most 1 MiB. Raises ``DraftRefused`` with the line that is wrong."""
    if len(raw) > MAX_DRAFT_BYTES:
        raise DraftRefused(f"the draft has {len(raw)} bytes, at most {MAX_DRAFT_BYTES} are read")
    try:
        return yaml.load(raw.decode("utf-8"), Loader=_Loader)  # noqa: S506  # a SafeLoader with less in it
    except UnicodeDecodeError:
        raise DraftRefused("the draft is not UTF-8 text") from None
    except RecursionError:
        raise DraftRefused("the draft is nested too deeply") from None
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise DraftRefused(f"the draft is not YAML: {line}{error.problem}") from None
    except (yaml.YAMLError, ValueError):
        raise DraftRefused("the draft is not YAML: a character or number that can't stand there") from None
