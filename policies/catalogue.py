"""The policy sets that ship with the platform: their Cedar text, their schema, and a limits file to start from."""

from importlib.resources import files
from importlib.resources.abc import Traversable

_POLICY = "policy.cedar"
_LIMITS = "limits.toml"
_SCHEMA = "consortia.cedarschema"


def names() -> tuple[str, ...]:
    """The names of all shipped policy sets, sorted."""
    return tuple(sorted(folder.name for folder in _root().iterdir() if (folder / _POLICY).is_file()))


def policy_text(name: str) -> str:
    """The Cedar text of a shipped policy set. Raises LookupError for a name that none of them has."""
    return (_folder(name) / _POLICY).read_text(encoding="utf-8")


def limits_text(name: str) -> str:
    """The limits file that ships with a policy set, as TOML. Raises LookupError for an unknown name."""
    return (_folder(name) / _LIMITS).read_text(encoding="utf-8")


def schema_text() -> str:
    """The Cedar schema that every policy set is validated against."""
    return (_root() / _SCHEMA).read_text(encoding="utf-8")


def _root() -> Traversable:
    return files("policies")


def _folder(name: str) -> Traversable:
    # Compared with the list, never joined to a path first: a name is no way out of the package.
    if name not in names():
        raise LookupError(f"there is no policy set named {name!r}; there are: {', '.join(names())}")
    return _root() / name
