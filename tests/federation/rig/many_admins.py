"""A consortium of processes that three admins founded, of whom two must sign: all by the installed commands."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compose.loopback import ADMIN, CONSORTIUM, OFFICER, RESEARCHER, Loopback
from compose.processes import CommandFailed, Words

SECOND, THIRD = "bea", "cid"


@dataclass(slots=True)
class ManyAdmins(Loopback):
    """``refusals``: what commands said that came before their second signature."""

    refusals: list[str] = field(default_factory=list)

    @property
    def draft_file(self) -> Path:
        return self.folder / "founding.json"

    def card(self, person: str) -> Path:
        return self.folder / "people" / f"{person}.card.json"

    def found(self) -> None:
        """The founding draft goes from hand to hand in a file; researcher and officer are entered by two admins."""
        hub, people = self.folder / "hub", self.folder / "people"
        people.mkdir(parents=True, mode=0o700)
        card = people / "hub.card.json"
        card.write_text(self.processes.run(["consortia-hub", "init", "--folder", hub, "--consortium", CONSORTIUM]))
        self.start_hub()
        for name in (ADMIN, SECOND, THIRD, RESEARCHER, OFFICER):
            self.processes.run(["consortia", "keys", "new", name, "--out", self.key(name)])
        self.processes.wait_for_health(self.url)
        others: Words = ["--admin", self.card(SECOND), "--admin", self.card(THIRD), "--threshold", "2"]
        init: Words = ["consortia", "admin", "charter", "init", "--hub-card", card, *others, "--out", self.draft_file]
        self.processes.run([*init, "--hub", self.url, "--key", self.key(ADMIN)])
        found: Words = ["consortia", "admin", "charter", "found", self.draft_file, "--hub", self.url, "--json"]
        self.refusals.append(self.refused([*found, "--key", self.key(ADMIN)]))
        sign: Words = ["consortia", "admin", "charter", "sign-file", self.draft_file, "--yes"]
        self.processes.run([*sign, "--key", self.key(SECOND)])
        self.founding = json.loads(self.processes.run([*found, "--key", self.key(ADMIN)]))["charter"]
        for name, role in ((RESEARCHER, "researcher"), (OFFICER, "officer")):
            self.decide("add-person", self.card(name), "--role", role)

    def decide(self, *words: str | Path, first: str = ADMIN, second: str = SECOND) -> None:
        """A change of the charter, by ``first``, that is in force with the signature of ``second``."""
        drafted = self.consortia_json(first, "admin", *words)
        assert (drafted["in_force"], drafted["missing"]) == (False, 1)
        signed = self.sign(drafted["charter"], second)
        assert (signed["in_force"], signed["charter"]) == (True, drafted["charter"])

    def sign(self, draft: str, person: str) -> Any:
        return self.consortia_json(person, "admin", "charter", "sign", draft[:12], "--yes")

    def charter(self, person: str = ADMIN) -> Any:
        return self.consortia_json(person, "admin", "charter", "show")["charter"]

    def join(self, name: str) -> None:
        """Invited by one admin, joined, its words heard; a member with a second admin's signature."""
        invitation = self.consortia_json(ADMIN, "admin", "invite", name)["code"]
        words = self.silo_json(name, "join", self.url, "--code", invitation, "--name", name)["words"]
        self.decide("admit", name, "--words", words)

    def refused(self, command: Words) -> str:
        """What a command says that ends with an error."""
        try:
            printed = self.processes.run(command)
        except CommandFailed as failure:
            return str(failure)
        raise AssertionError(f"{command[:4]} was not refused: {printed}")
