"""The files of a study at the silo: secrets, updates, states, masks, sealed terms, served sums.

An update is computed once, a term sealed once under a freeze, a release sealed once for a recipient: each is kept here
before it is sent, and sent again from here. An update sealed twice under one freeze would give the hub an equation in
the key. What is half-written when the node dies has no name yet, and counts for nothing.
"""

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

from protocol import canonical
from protocol.canonical import digest
from protocol.spend import Event, parse_events
from silo_node.agent.job_files import JobFiles
from silo_node.private_files import private_folder, sync_folder, write_private, writing_private


class StudyFiles:
    """A folder for each study in ``folder``/studies; every file private, each whole or absent."""

    def __init__(self, folder: Path) -> None:
        self._studies = private_folder(folder / "studies")
        self.jobs = JobFiles(folder)

    def keep_secret(self, study: str, epoch: int, secret: bytes) -> None:
        write_private(self._study(study) / f"secret-{epoch}", secret)

    def secret(self, study: str, epoch: int) -> bytes | None:
        return _read(self._study(study) / f"secret-{epoch}")

    def keep_update(self, study: str, index: int, compute: Callable[[BinaryIO], tuple[Event, ...]]) -> None:
        """The DP update of a round, before anything of it is announced.

        ``compute`` writes the update (little-endian float64) and gives the events that were run for it; if it raises,
        nothing is kept.
        """
        with writing_private(self._round(study, index) / "update") as file:
            events = canonical.encode([event.model_dump(mode="json") for event in compute(file)])
            # Before the update has its name: where there is an update, it is known what it cost.
            write_private(self._round(study, index) / "ran", events)

    def ran(self, study: str, index: int) -> tuple[Event, ...]:
        """The events that were run for a kept update."""
        return parse_events(canonical.decode((self._round(study, index) / "ran").read_bytes()))

    def update(self, study: str, index: int) -> Path | None:
        """The file of a round's kept update."""
        path = self._round(study, index) / "update"
        return path if path.exists() else None

    def keep_state(self, study: str, index: int, write: Callable[[BinaryIO], None]) -> None:
        """Keeps what ``write`` writes as the study's state after round ``index``; if it raises, nothing of it."""
        with writing_private(self._state(study, index)) as file:
            write(file)

    def open_state(self, study: str, index: int) -> BinaryIO | None:
        """The study's state after round ``index`` as a file to read, None if it isn't kept."""
        try:
            return self._state(study, index).open("rb")
        except FileNotFoundError:
            return None

    def state(self, study: str, index: int) -> bytes | None:
        """The study's state after round ``index``, held whole: for its release."""
        return _read(self._state(study, index))

    def keep_same_state(self, study: str, index: int) -> None:
        """A void round: the state after it is the one before it, whatever was kept. Nothing changes if it is so."""
        before, after = self._state(study, index - 1), self._state(study, index)
        # The state before goes once the one after was made the same.
        if not (after.exists() and (not before.exists() or after.samefile(before))):
            aside = after.with_name(f"same-{index}")
            aside.unlink(missing_ok=True)
            aside.hardlink_to(before)
            aside.replace(after)
            sync_folder(after.parent)

    def newest_state(self, study: str) -> int:
        """Index of the last round whose state is kept, -1 before any."""
        names = (path.name.partition("-")[2] for path in self._study(study).glob("state-*"))
        return max((int(name) for name in names if name.isdecimal()), default=-1)

    def deal_once(self, study: str, index: int, attempt: int, make: Callable[[], bytes]) -> bytes:
        """The masks of an attempt, made and kept now if there are none; the file goes with its round."""
        path = self._round(study, index) / f"masks-{attempt}"
        if not path.exists():
            write_private(path, make())
        return path.read_bytes()

    def masks(self, study: str, index: int, attempt: int) -> bytes | None:
        """The masks that ``deal_once`` kept for an attempt."""
        return _read(self._round(study, index) / f"masks-{attempt}")

    def seal_once(self, study: str, index: int, freeze: bytes, make: Callable[[], Iterable[bytes]]) -> list[Path]:
        """The files of a sealed term's chunks, made and kept now unless they were sealed under ``freeze`` before."""
        folder = self._sealed(study, index, freeze)
        done = folder / "digests"
        if not done.exists():
            names = []
            for number, chunk in enumerate(make()):
                write_private(folder / f"{number}", chunk)
                names.append(digest(chunk))
            write_private(done, "\n".join(names).encode())
        return [folder / f"{number}" for number in range(len(done.read_text().split()))]

    def sealed_digests(self, study: str, index: int, freeze: bytes) -> tuple[str, ...]:
        """SHA-256 of each chunk that was sealed under ``freeze``."""
        return tuple((self._sealed(study, index, freeze) / "digests").read_text().split())

    def seal_release_once(self, study: str, recipient: str, make: Callable[[], bytes]) -> bytes:
        """The release sealed for ``recipient``, made and kept now if there is none."""
        path = self._study(study) / f"release-{recipient}"
        if not path.exists():
            write_private(path, make())
        return path.read_bytes()

    def sum_folder(self, study: str, index: int) -> Path:
        """Where the chunks of a served sum are kept while they are checked."""
        return private_folder(self._round(study, index) / "sum")

    def shares_folder(self, study: str, index: int) -> Path:
        """Where the others' bundles of mask shares are kept."""
        return private_folder(self._round(study, index) / "shares")

    def sum_chunks(self, study: str, index: int) -> int:
        """How many chunks of a served sum are kept so far."""
        return sum(path.name.isdecimal() for path in self.sum_folder(study, index).iterdir())

    def forget_rounds(self, study: str, through: int) -> None:
        """Removes updates, sealed terms, masks and sums of the rounds up to ``through``, and the states before it."""
        for folder in self._study(study).glob("round-*"):
            if int(folder.name.partition("-")[2]) <= through:
                shutil.rmtree(folder)
        for state in self._study(study).glob("state-*"):
            index = state.name.partition("-")[2]
            # What isn't decimal is the beginning of a state, left by a node that was killed.
            if not index.isdecimal() or int(index) < through:
                state.unlink()

    def forget_secrets(self, study: str, before: int) -> None:
        """Removes the study secrets of the epochs before ``before``."""
        for secret in self._study(study).glob("secret-*"):
            if int(secret.name.partition("-")[2]) < before:
                secret.unlink()

    def forget_study(self, study: str) -> bool:
        """Removes everything of a study; False if there was nothing."""
        folder = self._studies / study
        if not folder.exists():
            return False
        shutil.rmtree(folder)
        return True

    def _sealed(self, study: str, index: int, freeze: bytes) -> Path:
        return private_folder(self._round(study, index) / f"sealed-{freeze.hex()[:32]}")

    def _study(self, study: str) -> Path:
        return private_folder(self._studies / study)

    def _state(self, study: str, index: int) -> Path:
        return self._study(study) / f"state-{index}"

    def _round(self, study: str, index: int) -> Path:
        return private_folder(self._study(study) / f"round-{index}")


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
