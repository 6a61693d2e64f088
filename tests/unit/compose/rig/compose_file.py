"""Compose files read as `docker compose -f A -f B config` would: variables filled in, later files laid over earlier.

Only what ours use, and whatever else stands there is an error: a key that this reader passes over could be one that
Docker passes over too.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

VARIABLE = re.compile(r"\$\{(?P<name>[A-Z_]+):-(?P<default>[^}]*)\}")
TOP = {"name", "services", "secrets", "volumes", "networks"}
SERVICE = {
    *("image", "build", "entrypoint", "command", "environment", "secrets", "volumes", "ports", "networks"),
    *("healthcheck", "restart", "stop_grace_period", "init", "user", "read_only", "tmpfs", "cap_drop"),
    *("security_opt", "mem_limit", "cpus", "pids_limit", "ulimits", "logging", "depends_on", "shm_size"),
}
HEALTHCHECK = {"test", "interval", "timeout", "retries", "start_period"}


class NotCompose(Exception):
    """A file that is not what Docker would take, or has more in it than this reader knows."""


class _Unique(yaml.SafeLoader):
    """YAML's own loader takes the last of two equal keys without a word."""


def _mapping(loader: _Unique, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    names = [loader.construct_object(key, deep=deep) for key, _ in node.value]  # type: ignore[no-untyped-call]
    if len(set(names)) != len(names):
        raise NotCompose(f"{node.start_mark}: a key stands twice")
    return {name: loader.construct_object(value, deep=True) for name, (_, value) in zip(names, node.value, strict=True)}  # type: ignore[no-untyped-call]


_Unique.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


@dataclass(frozen=True, slots=True)
class Service:
    """One service of a project, with the files of its secrets on the host."""

    name: str
    entry: dict[str, Any]
    secrets: dict[str, Path]

    @property
    def words(self) -> list[str]:
        """The command line that the container runs."""
        return [*self.entrypoint, *self.entry["command"]]

    @property
    def entrypoint(self) -> list[str]:
        return list(self.entry.get("entrypoint", []))

    @property
    def environment(self) -> dict[str, str]:
        return dict(self.entry.get("environment", {}))

    @property
    def health(self) -> list[str]:
        """The words of its health check, which must be a command and no line for a shell."""
        kind, *words = self.entry["healthcheck"]["test"]
        if kind != "CMD":
            raise NotCompose(f"{self.name}: healthcheck must be [CMD, ...]")
        return words

    @property
    def mounts(self) -> dict[str, dict[str, Any]]:
        """Volumes and folders of the host, by their path in the container."""
        return {one["target"]: one for one in self.entry.get("volumes", [])}


def read_project(files: Sequence[Path], environment: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Service]]:
    """The merged project and its services. Raises ``NotCompose``."""
    project: dict[str, Any] = {}
    for file in files:
        text = VARIABLE.sub(lambda found: environment.get(found["name"]) or found["default"], file.read_text())
        if "${" in text:
            raise NotCompose(f"{file}: a variable without a default")
        value = yaml.load(text, _Unique)  # noqa: S506 - a SafeLoader
        _known(str(file), value, TOP)
        project = _over(project, value)
    services = {}
    for name, entry in project["services"].items():
        _known(name, entry, SERVICE)
        _known(f"{name}.healthcheck", entry.get("healthcheck", {}), HEALTHCHECK)
        declared = {one: Path(project["secrets"][one]["file"]) for one in entry.get("secrets", [])}
        services[name] = Service(name, entry, declared)
    return project, services


def _known(place: str, value: Mapping[str, Any], names: set[str]) -> None:
    if set(value) - names:
        raise NotCompose(f"{place}: unknown {sorted(set(value) - names)}")


def _over(below: Any, above: Any) -> Any:
    """Compose's merge: mappings by key, lists one after the other; commands and checks are replaced."""
    if isinstance(below, dict) and isinstance(above, dict):
        merged = {name: _over(below[name], value) if name in below else value for name, value in above.items()}
        return {**below, **merged}
    if isinstance(below, list) and isinstance(above, list):
        return [*below, *above]
    return above
