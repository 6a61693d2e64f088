"""Units of systemd, read strictly: sections, settings that may stand more than once, specifiers."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

LINE = re.compile(r"(?P<name>[A-Z][A-Za-z]+)=(?P<value>.*)")


class NotAUnit(Exception):
    """A line that is neither a section, a comment nor a setting."""


@dataclass(frozen=True, slots=True)
class Unit:
    """Every setting of a unit as (section, name) -> its values in order."""

    settings: dict[tuple[str, str], list[str]]

    def one(self, section: str, name: str) -> str:
        (value,) = self.settings[section, name]
        return value

    def service(self, name: str) -> list[str]:
        return self.settings.get(("Service", name), [])

    def environment(self, specifiers: Mapping[str, str]) -> dict[str, str]:
        """``Environment=`` lines of one assignment each, specifiers such as %d filled in."""
        made = {}
        for line in self.service("Environment"):
            name, _, value = line.partition("=")
            made[name] = fill_in(value, specifiers)
        return made

    def credentials(self) -> dict[str, Path]:
        """The file on the host that each credential is read from."""
        return {name: Path(path) for name, _, path in (one.partition(":") for one in self.service("LoadCredential"))}


def read_unit(file: Path) -> Unit:
    settings: dict[tuple[str, str], list[str]] = {}
    section = ""
    for line in file.read_text().splitlines():
        found = LINE.fullmatch(line)
        if re.fullmatch(r"\[[A-Z][a-z]+\]", line):
            section = line[1:-1]
        elif found is not None and section:
            settings.setdefault((section, found["name"]), []).append(found["value"])
        elif line and not line.startswith("#"):
            raise NotAUnit(f"{file.name}: {line}")
    return Unit(settings)


def fill_in(value: str, specifiers: Mapping[str, str]) -> str:
    """``value`` with its specifiers replaced; raises ``KeyError`` for one that isn't given."""
    return re.sub(r"%(.)", lambda found: specifiers[found[1]], value)
