"""The silo's identity: the keys it signs with and receives with. They never leave the node.

Which of its pairs it uses, the charter in force says. The others stay at hand: an older one opens what was sealed for
it, and a newer one is what the hub knows the silo by from the moment that the admins put it into the charter.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protocol.charter import Charter
from protocol.ids import silo_party
from protocol.sealing.envelope import EnvelopeKeys
from silo_node.hub_client.key_files import KeyPair, create_pair, numbers, read_pair


@dataclass(slots=True)
class Identity:
    """``signing`` and ``receiving`` are the keys in use, ``others`` the silo's other pairs, the newest first.

    ``read_new`` gives the pairs that came into the silo's folder since.
    """

    silo: str
    signing: Ed25519PrivateKey = field(repr=False)
    receiving: EnvelopeKeys = field(repr=False)
    others: tuple[KeyPair, ...] = ()
    read_new: Callable[[], tuple[KeyPair, ...]] = field(default=tuple, repr=False)

    @property
    def party(self) -> str:
        return silo_party(self.silo)

    @property
    def pair(self) -> KeyPair:
        """The keys in use."""
        return KeyPair(self.signing, self.receiving)

    @property
    def signing_public(self) -> str:
        return self.pair.signing_public

    @property
    def receiving_public(self) -> str:
        return self.pair.receiving_public

    @property
    def words(self) -> str:
        """Six words that name both public keys in use, to be compared by telephone."""
        return self.pair.words

    @property
    def receiving_keys(self) -> tuple[EnvelopeKeys, ...]:
        """All that something may be sealed for, the ones in use first."""
        return (self.receiving, *(one.receiving for one in self.others))

    def signing_keys(self) -> Iterator[Ed25519PrivateKey]:
        """All that the hub may know this silo by: the one in use first, what came into the folder since last."""
        yield self.signing
        yield from (one.signing for one in self.others)
        yield from (one.signing for one in self._look())

    def use(self, charter: Charter) -> None:
        """From now on the pair that ``charter`` names, if this silo is a member and holds it."""
        named = next((one for one in charter.members if one.silo == self.silo), None)
        if named is None or named.signing_key == self.signing_public:
            return
        chosen = next((one for one in self.others if one.signing_public == named.signing_key), None)
        chosen = chosen or next((one for one in self._look() if one.signing_public == named.signing_key), None)
        if chosen is not None:
            kept = tuple(one for one in self.others if one is not chosen)
            self.others = (self.pair, *kept)
            self.signing, self.receiving = chosen.signing, chosen.receiving

    def _look(self) -> tuple[KeyPair, ...]:
        new = self.read_new()
        self.others = (*new, *self.others)
        return new

    @classmethod
    def create(cls, silo: str, folder: Path, passphrase: bytes | None = None) -> Self:
        """New keys in ``folder``/keys. Keys that are there already are kept: a repeated join is the same silo."""
        if not numbers(folder):
            create_pair(folder, 1, passphrase)
        return cls.load(silo, folder, lambda: passphrase)

    @classmethod
    def load(cls, silo: str, folder: Path, passphrase: Callable[[], bytes | None] = lambda: None) -> Self:
        """The pairs in ``folder``/keys, the newest in use; ``passphrase`` reads its file whenever keys are read.

        Raises ``ConfigRefused`` if there is none, or as ``read_pair`` does.
        """
        seen: set[int] = set()

        def read_new() -> tuple[KeyPair, ...]:
            new = [number for number in numbers(folder) if number not in seen]
            opened = passphrase() if new else None
            found = [read_pair(folder, number, opened) for number in new]
            seen.update(new)
            return tuple(reversed(found))

        newest, *others = read_new() or (read_pair(folder, 1, passphrase()),)
        return cls(silo, newest.signing, newest.receiving, tuple(others), read_new)

    @classmethod
    def renew(cls, silo: str, folder: Path, passphrase: bytes | None = None) -> Self:
        """With a new pair beside those in ``folder``/keys, which must all be fit for use. It is the one in use here."""
        present = numbers(folder)
        for number in present:
            read_pair(folder, number, passphrase)
        create_pair(folder, present[-1] + 1 if present else 1, passphrase)
        return cls.load(silo, folder, lambda: passphrase)
