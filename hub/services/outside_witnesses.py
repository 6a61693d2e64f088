"""Asking a witness outside the consortium to cosign the candidate, and keeping only what its key signed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from hub.errors import Refused
from hub.services.candidates import Candidates
from hub.services.log import LogReader
from hub.services.witness_call import WitnessConflict, WitnessFailed
from protocol.cosignature import CosignerKey, timestamps
from protocol.errors import ProtocolError
from protocol.signed_note import read_line, split_note
from protocol.translog import Checkpoint

MAX_TRIES = 3
"""A witness that is asked by others too may have moved on between its answer and the next call."""


class AddCheckpoint(Protocol):
    def add_checkpoint(self, url: str, old: int, proof: Sequence[bytes], note: str) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class OutsideWitnesses:
    """`urls` by key name; the keys are those that the charter in force names."""

    candidates: Candidates
    log: LogReader
    call: AddCheckpoint
    urls: dict[str, str]
    _sizes: dict[str, int] = field(default_factory=dict)
    """What each cosigned last, as far as this process knows: where the proofs begin."""

    def ask(self, name: str) -> bool:
        """Have `name` cosign the candidate, unless it did; says whether it was asked. Raises `WitnessFailed`."""
        held = self.candidates.newest()
        if held is None:
            return False
        key = next((one for one in self.candidates.outside() if one.name == name), None)
        if key is None:
            raise WitnessFailed("the charter in force names no such witness; take it out of witness_urls, or add it")
        if timestamps(held.note, [key]) != [None]:
            return False
        text, _ = split_note(held.note)
        self._take(self._asked(key, held.note, Checkpoint.parse(text).size), key, text)
        return True

    def _asked(self, key: CosignerKey, note: str, size: int) -> list[str]:
        for _ in range(MAX_TRIES):
            old = self._sizes.get(key.name, 0)
            if old > size:
                del self._sizes[key.name]
                raise WitnessFailed(f"it saw a log of {old} leaves, this one has {size}: was the database put back?")
            try:
                lines = self.call.add_checkpoint(self.urls[key.name], old, self._proof(old, size), note)
            except WitnessConflict as conflict:
                if conflict.size == old:
                    raise WitnessFailed(f"it refuses this log's {size} leaves after the {old} it saw") from None
                self._sizes[key.name] = conflict.size
                continue
            self._sizes[key.name] = size
            return lines
        raise WitnessFailed(f"it named another size {MAX_TRIES} times")

    def _proof(self, old: int, size: int) -> list[bytes]:
        """None from nothing: the specification wants it empty there."""
        return [bytes.fromhex(node) for node in self.log.consistency(old, size)] if old else []

    def _take(self, lines: list[str], key: CosignerKey, text: str) -> None:
        try:
            read = map(read_line, lines)
            own = [str(line) for line in read if (line.name, line.key_id) == (key.name, key.key_id)]
            if not own:
                raise WitnessFailed("its answer holds no cosignature by the key that the charter names")
            self.candidates.add(own, key, text)
        except (Refused, ProtocolError) as refusal:
            raise WitnessFailed(f"its cosignature doesn't hold: {refusal}") from None
