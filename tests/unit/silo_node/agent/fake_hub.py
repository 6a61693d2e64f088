"""A hub in memory: a real log of signed statements, honest until a test tells it otherwise."""

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hub.audit.merkle import MerkleTree
from protocol.canonical import digest
from protocol.chain import study_of
from protocol.charter import charter_digest
from protocol.cosignature import cosign, merge
from protocol.errors import ProtocolError
from protocol.follow import Verified
from protocol.journal import EMPTY
from protocol.membership_statements import CharterPublished
from protocol.routes import Follow, LoggedEntry
from protocol.signing import sign
from protocol.translog import Checkpoint, LogEntry, sign_checkpoint
from protocol.witnesses import silo_witness, witnesses_of
from silo_node.agent.studies import Studies
from silo_node.errors import HubRefused
from silo_node.journal.chain import Journal
from tests.sample_study import NOW

ORIGIN = "test.example/log"


class Nodes(dict):
    def get_nodes(self, places):
        return {place: self[place] for place in places if place in self}

    def put_nodes(self, nodes):
        self.update(nodes)


class FakeHub:
    """Has the methods of ``HubSession``. ``journal``: the silo's, looked at whenever something arrives."""

    def __init__(self, group, journal: Path):
        self.group, self.journal = group, journal
        self.tree, self.leaves, self._nonces = MerkleTree(Nodes(), 0), [], itertools.count(1)
        self.posted, self.chunks, self.sums, self.blobs = [], {}, {}, {}
        self.bundles = {}
        self.waits, self.fetched, self.asked = [], [], []
        self.claimed: Callable[[tuple], tuple] = lambda held: held
        self.named_charter = None
        self.refusing: Exception | None = None
        self.polling: Callable[[], None] = lambda: None
        self.step: Callable[[str], None] = lambda what: None
        self.entries_per_poll = 200
        self.cosignatures = []
        self.pretending = False
        """Whether the hub only says that it records what it is sent."""
        self.candidate: str | None = None
        """What the witnesses are shown; None for what an honest hub would show, cosigned by all other silos."""
        self.clock: Callable[[], datetime] = lambda: datetime(2026, 11, 22, 12, tzinfo=UTC)
        self._witnessed: tuple[str, datetime, str] | None = None

    # -- what the others say

    def signed(self, kind, issuer, **fields):
        opening = {"issuer": issuer, "issued_at": NOW, "nonce": f"{next(self._nonces):032x}", "journal_head": None}
        name = kind.model_fields["type"].annotation.__args__[0]
        return sign(kind(type=name, **fields, **opening), self._key(issuer))

    def say(self, kind, issuer="hub", **fields):
        return self.record(self.signed(kind, issuer, **fields))

    def record(self, signed):
        body = signed.body
        leaf = LogEntry(
            kind=body.type,
            digest=signed.digest,
            issuer=body.issuer,
            study=study_of(body),
            round=None,
            recorded_at=NOW,
        )
        self.tree = self.tree.append([leaf.leaf_hash()])
        self.leaves.append((leaf, signed))
        return signed

    @property
    def studies(self):
        """What an honest reader makes of the log."""
        return Studies(Verified(at, NOW, signed) for at, (_, signed) in enumerate(self.leaves))

    def logged(self, kind, issuer="silo:alpha"):
        bodies = [signed.body for _, signed in self.leaves]
        return [body for body in bodies if isinstance(body, kind) and body.issuer == issuer]

    # -- what a silo asks

    def poll(self, after, wait_s, candidate=""):
        self.waits.append(wait_s)
        self.polling()
        charters = [signed.body.charter for _, signed in self.leaves if isinstance(signed.body, CharterPublished)]
        named = self.named_charter or charter_digest(charters[-1])
        now, size = datetime(2026, 11, 22, tzinfo=UTC), self.tree.size
        checkpoint = Checkpoint.stamped(ORIGIN, self.tree.head(), named, now)
        end = min(size, after + self.entries_per_poll)
        return Follow(
            checkpoint=sign_checkpoint(checkpoint, ORIGIN, self.group.log),
            consistency=tuple(node.hex() for node in self.tree.consistency_proof(after)) if after < size else (),
            entries=tuple(self._entry(at) for at in range(after, end)),
            next=end,
            candidate=self._witnessed_note(charters[-1]) if self.candidate is None else self.candidate,
        )

    def _witnessed_note(self, charter):
        """A candidate for each charter and hour, with the cosignatures of all members but alpha."""
        now, named = self.clock(), charter_digest(charter)
        if self._witnessed is None or self._witnessed[0] != named or now - self._witnessed[1] > timedelta(hours=1):
            checkpoint = Checkpoint.stamped(ORIGIN, self.tree.head(), named, now)
            note = sign_checkpoint(checkpoint, ORIGIN, self.group.log)
            lines = [
                cosign(note, silo_witness(ORIGIN, silo), self.group.silos[silo].signing, int(now.timestamp()))
                for silo in charter.silos
                if silo != "alpha"
            ]
            self._witnessed = (named, now, merge(note, lines, witnesses_of(charter).keys))
        return self._witnessed[2]

    def consistency(self, first, second):
        if second != self.tree.size:
            raise ProtocolError("the test's hub keeps the newest tree only")
        return tuple(node.hex() for node in self.tree.consistency_proof(first)) if first < second else ()

    def post(self, statements):
        for signed in statements:
            self._stands_in_the_journal(signed.wire, signed.body.journal_head)
        self.step("post")
        if self.refusing is not None:
            raise self.refusing
        self.posted += statements
        known = [signed.digest for _, signed in self.leaves]
        for signed in statements:
            if signed.digest not in known and not self.pretending:
                self.record(signed)
        self.step("posted")
        known = [signed.digest for _, signed in self.leaves]
        return tuple(known.index(signed.digest) if signed.digest in known else len(known) for signed in statements)

    def post_cosignature(self, line):
        self._stands_in_the_journal(line.encode())
        self.step("cosignature")
        if self.refusing is not None:
            raise self.refusing
        self.cosignatures.append(line)

    def put_chunk(self, study, index, attempt, chunk, data):
        self._stands_in_the_journal(data)
        self.step("chunk")
        if self.refusing is not None:
            raise self.refusing
        self.chunks.setdefault((index, attempt), {}).setdefault(chunk, []).append(data)
        self.step("chunk arrived")

    def received_chunks(self, study, index, attempt):
        self.asked.append((index, attempt))
        if self.refusing is not None:
            raise self.refusing
        return self.claimed(self.held(index, attempt))

    def held(self, index, attempt):
        """The digests by position, as long as the round's layout is."""
        record = next(iter(self.studies.records.values()))
        arrived = self.chunks.get((index, attempt), {})
        total = record.layout(record.current).chunks
        return tuple(digest(arrived[at][0]) if at in arrived else None for at in range(total))

    def get_sum(self, study, index, attempt, chunk, limit):
        self.fetched.append((index, attempt, chunk))
        if (index, attempt) not in self.sums:
            raise HubRefused("the hub answered 404", 404)
        return self.sums[index, attempt][chunk]

    def put_shares(self, study, index, attempt, bundle):
        self._stands_in_the_journal(bundle)
        self.step("shares")
        if self.refusing is not None:
            raise self.refusing
        assert self.bundles.setdefault((index, attempt, "alpha"), bundle) == bundle, "masks were dealt twice"

    def get_shares(self, study, index, attempt, silo, limit):
        if (index, attempt, silo) not in self.bundles:
            raise HubRefused("the hub answered 404", 404)
        return self.bundles[index, attempt, silo]

    def put_blob(self, study, data):
        self._stands_in_the_journal(data)
        self.blobs[digest(data)] = data
        return digest(data)

    def close(self):
        """Nothing is open."""

    def _entry(self, index):
        leaf, signed = self.leaves[index]
        proof = tuple(node.hex() for node in self.tree.inclusion_proof(index))
        return LoggedEntry(index=index, leaf=leaf.leaf_bytes().decode(), statement=signed.wire.decode(), proof=proof)

    def _key(self, issuer):
        kind, _, name = issuer.partition(":")
        people = {"ada": self.group.admin, "rosa": self.group.researcher}
        match kind:
            case "hub":
                return self.group.hub
            case "silo":
                return self.group.silos[name].signing
            case _:
                return people[name].signing

    def _stands_in_the_journal(self, data, head=None):
        """An entry with these bytes' digest is there, right after the head that a statement carries."""
        journal = Journal(self.journal)
        before, found = EMPTY, []
        for entry in journal.entries():
            if entry.event.digest == digest(data) and entry.event.size == len(data):
                found.append(before)
            before = entry.hash
        journal.close()
        assert found, "it arrived before it stood in the journal"
        assert head is None or found == [head], "a statement's head is not the entry before its own"
