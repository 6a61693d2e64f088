"""A whole consortium on this machine: hub and silo nodes as processes, driven by the installed commands.

The demo, the benchmark of a study and the tests that kill processes all stand on this; each step is a command of
the README's tour.
"""

import json
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Final

from compose.heart import HOSPITALS, schema_path, write_hospitals
from compose.processes import Processes, Words, free_port

CONSORTIUM: Final = "Four Hospitals"
ADMIN, RESEARCHER, OFFICER = "ada", "grace", "olga"
CAP_EPSILON, CAP_DELTA = "8", "0.001"
PUBLISHED_ROWS: Final = {"cleveland": "303", "hungarian": "261", "switzerland": "46", "va-long-beach": "130"}
"""What each hospital's owner types as its row count; the UCI repository publishes these."""


@dataclass(slots=True)
class Loopback:
    """The folders, processes and address of one consortium; ``founding`` is the founding charter's digest."""

    folder: Path
    processes: Processes
    url: str
    founding: str = ""

    @classmethod
    def at(cls, folder: Path, processes: Processes) -> "Loopback":
        return cls(folder, processes, f"http://127.0.0.1:{free_port()}")

    def silo(self, name: str) -> Path:
        return self.folder / "silos" / name

    def key(self, person: str) -> Path:
        return self.folder / "people" / f"{person}.key"

    def speaker(self, person: str) -> Words:
        """The options with which ``consortia`` speaks as ``person``."""
        return ["--hub", self.url, "--key", self.key(person), "--charter", self.founding]

    def consortia(self, person: str, *words: str | Path) -> str:
        return self.processes.run(["consortia", *words, *self.speaker(person)])

    def consortia_json(self, person: str, *words: str | Path) -> Any:
        return json.loads(self.consortia(person, *words, "--json"))

    def silo_json(self, name: str, *words: str | Path) -> Any:
        return json.loads(self.processes.run(["consortia-silo", *words, "--folder", self.silo(name), "--json"]))

    def found(self) -> None:
        """Hub keys and service, people's keys, the founding charter, researcher and officer in it."""
        hub, people = self.folder / "hub", self.folder / "people"
        people.mkdir(parents=True, mode=0o700)
        card = people / "hub.card.json"
        card.write_text(self.processes.run(["consortia-hub", "init", "--folder", hub, "--consortium", CONSORTIUM]))
        self.start_hub()
        for name in (ADMIN, RESEARCHER, OFFICER):
            self.processes.run(["consortia", "keys", "new", name, "--out", self.key(name)])
        self.processes.wait_for_health(self.url)
        words: Words = ["admin", "charter", "init", "--hub-card", card, "--consortium", CONSORTIUM, "--json"]
        answer = self.processes.run(["consortia", *words, "--hub", self.url, "--key", self.key(ADMIN)])
        self.founding = json.loads(answer)["charter"]
        for name, role in ((RESEARCHER, "researcher"), (OFFICER, "officer")):
            self.consortia(ADMIN, "admin", "add-person", people / f"{name}.card.json", "--role", role)

    def start_hub(self) -> None:
        port = self.url.rpartition(":")[2]
        self.processes.start("hub", ["consortia-hub", "serve", "--folder", self.folder / "hub", "--port", port])

    def join(self, name: str) -> None:
        """Invited, joined, its six words compared, admitted."""
        invitation = self.consortia_json(ADMIN, "admin", "invite", name)["code"]
        words = self.silo_json(name, "join", self.url, "--code", invitation, "--name", name)["words"]
        # The admin hears the words by telephone; here they are read from what the silo's own command printed.
        self.consortia(ADMIN, "admin", "admit", name, "--words", words)

    def write_data(self) -> None:
        """The four hospitals' tables and their schema, under ``hospitals``."""
        write_hospitals(self.folder / "hospitals")

    def register(self, name: str) -> None:
        """The silo's policy, limits, dataset and privacy budget."""
        folder: Words = ["--folder", self.silo(name)]
        with as_file(files("compose") / "heart_limits.toml") as limits:
            self.processes.run(["consortia-silo", "policy", "use", "baseline", "--limits", limits, *folder])
        hospitals = self.folder / "hospitals"
        source: Words = ["--source", hospitals / f"{name}.csv", "--schema", schema_path(hospitals)]
        terms: Words = ["--rows", PUBLISHED_ROWS[name], "--epsilon", CAP_EPSILON, "--delta", CAP_DELTA]
        self.processes.run(["consortia-silo", "dataset", "add", "heart", *source, *terms, *folder])

    def start_silo(self, name: str) -> None:
        self.processes.start(name, ["consortia-silo", "run", "--folder", self.silo(name)])

    def all_silos(self) -> None:
        """Every hospital joined, registered and running."""
        self.write_data()
        for name in HOSPITALS:
            self.join(name)
            self.register(name)
            self.start_silo(name)

    def propose(self, draft: Path) -> str:
        """The id of the study that a draft became."""
        return str(self.consortia_json(RESEARCHER, "study", "propose", draft)["study"])

    def approve(self, study: str) -> None:
        self.consortia(ADMIN, "admin", "approve", study, "--yes")
