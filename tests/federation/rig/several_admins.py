"""A consortium of which two of three admins decide, before a hub that writes into its log what its own rules forbid."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hub.store import silos as silo_store
from protocol import canonical
from protocol.charter import Charter, charter_digest
from protocol.membership_statements import CharterPublished
from protocol.signing import Signed
from protocol.study import study_id
from protocol.study_statements import StudyAccepted, StudyKeying
from protocol.succession import CharterSignature, sign_charter
from silo_node.errors import HubDistrusted
from tests.federation.rig.cheating import CheatingHub
from tests.federation.rig.cheating_log import SplitLog
from tests.federation.rig.cheating_silos import Group, founded_group, small_contract
from tests.sample_study import SILOS
from tests.unit.hub.rig.party import Party

ADMINS = ("ines", "bea", "cid")


@dataclass(frozen=True, slots=True)
class Several:
    """The silos' group with ``admins`` by name, of whom two must sign."""

    group: Group
    admins: dict[str, Party]

    @property
    def hub(self) -> CheatingHub:
        return self.group.hub

    @property
    def charter(self) -> Charter:
        assert self.group.people.charter is not None
        return self.group.people.charter

    # -- charters

    def next_charter(self, **changes: Any) -> Charter:
        """The charter that would come after the one in force."""
        value = self.charter.model_dump(mode="json")
        value |= {"version": self.charter.version + 1, "previous": charter_digest(self.charter), **changes}
        return Charter.model_validate_json(canonical.encode(value))

    def signatures(self, charter: Charter, *names: str) -> list[CharterSignature]:
        return [sign_charter(charter, name, self.admins[name].key) for name in names]

    def publication(self, charter: Charter, signatures: list[CharterSignature], issuer: Party) -> Signed:
        shown = [one.model_dump(mode="json") for one in signatures]
        return issuer.signed("charter", charter=charter.model_dump(mode="json"), signatures=shown)

    def amend(self, *names: str, **changes: Any) -> Charter:
        """The next charter, signed by these admins and taken by the hub's own rules."""
        newer = self.next_charter(**changes)
        issuer = self.admins[names[0]]
        issuer.post(self.publication(newer, self.signatures(newer, *names), issuer))
        self.group.people.charter = newer
        return newer

    def person(self, name: str, role: str) -> dict[str, Any]:
        party = self.admins[name]
        keys = {"signing_key": party.public, "receiving_key": party.receiving, "decision_key": None}
        return {"person": name, "role": role, **keys}

    def charters_held(self) -> list[Charter]:
        """The charter that each node takes for the one in force."""
        return [self.held_by(silo) for silo in SILOS]

    def held_by(self, silo: str) -> Charter:
        follower = self.group.nodes[silo].silo.tasks.follower()
        assert follower is not None
        return follower.in_force

    # -- what the hub does

    def force(self, signed: Signed, in_force: bool = False) -> None:
        """Into the log, unasked. Of a charter the hub may say from then on that it is ``in_force``."""
        with self.hub.services.recorder.transaction() as recording:
            body = signed.body
            if in_force and isinstance(body, CharterPublished):
                digest = charter_digest(body.charter)
                silo_store.add_charter(recording.connection, body.charter.version, digest, signed.digest)
            recording.record(signed)

    def begin_keying(self, study: str) -> None:
        """The hub says that the study was accepted by everybody, and asks for its key."""
        self.hub.say(StudyKeying, study=study, epoch=1, silos=SILOS)

    # -- studies

    def propose(self, **changes: Any) -> str:
        agreed = small_contract(**changes)
        self.group.people.lead.say("study-proposed", contract=agreed.model_dump(mode="json"))
        self.group._contracts[study_id(agreed)] = agreed
        return study_id(agreed)

    def relay_study(self, split: SplitLog) -> str:
        """A study that two admins approve, told to one silo only."""
        agreed = small_contract()
        study = study_id(agreed)
        split.record(self.group.people.lead.signed("study-proposed", contract=agreed.model_dump(mode="json")))
        for name in ("ines", "bea"):
            split.record(self.admins[name].signed("study-approved", study=study, assertion=None))
        return study

    def approve(self, study: str, *names: str) -> None:
        for name in names:
            self.admins[name].say("study-approved", study=study, assertion=None)

    def nothing_left(self, study: str) -> bool:
        """Nothing left any silo for the study: no word of it, no key, no chunk, no charge."""
        self.group.rest()
        nodes = self.group.nodes.values()
        quiet = not self.group.words(StudyAccepted, study) and not any(node.charges(study) for node in nodes)
        return quiet and not any(node.sent(study, 0) for node in nodes)

    def assert_distrusted(self, why: str) -> None:
        """Every node ends by itself with such a reason, which stands in its journal."""
        nodes = self.group.nodes.values()
        self.group.run_to(lambda: all(node.ended is not None for node in nodes))
        for node in nodes:
            assert isinstance(node.ended, HubDistrusted)
            assert why in str(node.ended)
            assert why[:40] in node.notes()


@contextmanager
def several_admins(folder: Path) -> Iterator[Several]:
    """Four nodes that follow a charter by which two of three admins decide."""
    with founded_group(folder) as group:
        people = group.people
        others = {name: Party(f"person:{name}", people.url, people.card) for name in ADMINS[1:]}
        made = Several(group, {"ines": people.admin, **others})
        old = made.charter.model_dump(mode="json")["people"]
        made.amend(*ADMINS, people=[*old, *(made.person(name, "admin") for name in others)], threshold=2)
        group.rest()
        yield made


def forged_party(name: str, several: Several) -> Party:
    """Somebody of that name with a key of their own: an admin of another consortium, say."""
    party = Party(f"person:{name}", several.group.people.url, several.group.people.card)
    party.key = Ed25519PrivateKey.generate()
    return party
