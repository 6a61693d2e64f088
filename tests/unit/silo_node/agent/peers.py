"""The hub and the other silos of a study, moved step by step by a test; they seal, add and open for real."""

import io

import numpy as np

from protocol.canonical import digest
from protocol.keying import next_holders
from protocol.round_statements import (
    RoundClosed,
    RoundFrozen,
    RoundOpened,
    RoundReady,
    RoundVoided,
    SharesRevealed,
    SpendReserved,
    SumServed,
    SumVerified,
    SurvivorsSigned,
    UploadComplete,
    VerificationFailed,
)
from protocol.rounds import plan_round, round_events
from protocol.sealing.addition import add_chunks
from protocol.sealing.masks import own_masks
from protocol.sealing.secret import StudySecret
from protocol.sealing.sharing import Bundle
from protocol.study import study_id
from protocol.study_statements import (
    ReleaseApproved,
    ReleaseRequested,
    SecretCommitment,
    SecretSealed,
    StudyAccepted,
    StudyApproved,
    StudyClosed,
    StudyKeying,
    StudyProposed,
)
from silo_node.agent.progress import apply_total, segments_of
from silo_node.sealing import keys, masking
from silo_node.sealing.sealer import OpenedTotal, seal_update
from tests.sample_study import SILOS

OTHERS = SILOS[1:]
DUE = "2026-11-23T00:00:00Z"


def vector(index, values, silo):
    """The fixed update of a peer."""
    draws = np.random.default_rng([index, SILOS.index(silo)])
    return draws.uniform(-0.5, 0.5, values)


class Peers:
    """Everybody but silo alpha, in the study of ``contract``."""

    def __init__(self, hub, contract):
        self.hub, self.contract, self.study = hub, contract, study_id(contract)
        self.secret = None
        self.totals, self.steps, self.states, self.terms, self.reserved = {}, {}, {}, {}, set()
        self.dealt, self.clipped = {}, {}

    def before(self, index):
        """The file of where the study stands before a round: behind the last one that wasn't void."""
        applied = [done for done in self.states if done < index]
        return io.BytesIO(self.states[max(applied)] if applied else b"")

    @property
    def record(self):
        studies = self.hub.studies
        assert studies.broken == {}
        return studies.records[self.study]

    def say(self, kind, issuer="hub", **fields):
        return self.hub.say(kind, issuer, study=self.study, **fields)

    def propose(self, approved=True):
        self.hub.say(StudyProposed, "person:rosa", contract=self.contract)
        if approved:
            self.say(StudyApproved, "person:ada", assertion=None)

    def accept(self, *names):
        word = {"policy": "1" * 64, "dataset_commitment": "2" * 64, "decided_by": "owner-rule"}
        for name in names or OTHERS:
            self.say(StudyAccepted, f"silo:{name}", **word)

    def key(self):
        self.say(StudyKeying, epoch=1, silos=tuple(self.record.accepted))

    def key_again(self):
        """The hub asks for another secret, as it must after a void round and when a holder left."""
        record = self.record
        silent = {keying.key_silo for keying in record.keyings if not keying.made}
        holders = next_holders(record.keyed, record.gone, record.current.uploads, silent)
        self.say(StudyKeying, epoch=record.keying.epoch + 1, silos=holders)

    def share(self):
        """The others open what alpha sealed; or, where another is first, it makes and seals the secret."""
        record = self.record
        if record.keying.key_silo == "alpha":
            opened = {name: self.open_envelope(record, name) for name in record.keyed if name != "alpha"}
            self.secret = next(iter(opened.values()))
            assert all(secret == self.secret for secret in opened.values())
        else:
            self.secret = StudySecret.generate()
            self.seal_secret("alpha")
        for name in record.keyed:
            if name != "alpha":
                self.commit(name)

    def open_envelope(self, record, name):
        receiving, keying = self.hub.group.silos[name].receiving, record.keying
        envelope = keying.envelopes[name].envelope
        return keys.open_secret(envelope, self.study, keying.epoch, "alpha", name, receiving)

    def seal_secret(self, recipient, owner=None, context=None):
        """The secret for ``recipient``; a lying test names whose key it is sealed under, and for whom."""
        keying = self.record.keying
        sender, public = keying.key_silo, self.hub.group.silos[owner or recipient].public["receiving_key"]
        envelope = keys.seal_secret(self.secret, self.study, keying.epoch, sender, context or recipient, public)
        self.say(SecretSealed, f"silo:{sender}", epoch=keying.epoch, recipient=recipient, envelope=envelope)

    def commit(self, name, secret=None):
        epoch = self.record.keying.epoch
        commitment = keys.commitment(secret or self.secret, self.study, epoch)
        self.say(SecretCommitment, f"silo:{name}", epoch=epoch, commitment=commitment)

    # -- a round

    def open(self, index, attempt=1, silos=SILOS):
        self.say(RoundOpened, round=index, attempt=attempt, silos=silos, due_at=DUE)
        for name in silos:
            if name == "alpha":
                continue
            if (name, index) not in self.reserved:
                self.reserved.add((name, index))
                events = round_events(self.contract, name, index)
                spend = {"domain": "patients", "events": events, "ledger_head": "0" * 64}
                self.say(SpendReserved, f"silo:{name}", round=index, **spend)
            self.ready(index, attempt, name)

    def ready(self, index, attempt, name):
        """A peer deals its masks and says that it is ready."""
        holders = {
            who: self.hub.group.silos[who].receiving.public for who in self.hub.studies.records[self.study].keyed
        }
        quorum = self.contract.schedule.quorum
        dealt = masking.deal_masks(self.study, index, attempt, name, holders, quorum)
        self.dealt[index, attempt, name] = dealt
        self.hub.bundles[index, attempt, name] = dealt.bundle
        offer = {
            "mask_key": dealt.secrets.offer.mask_key.hex(),
            "self_commitment": dealt.secrets.offer.self_commitment.hex(),
            "shares": digest(dealt.bundle),
        }
        self.say(RoundReady, f"silo:{name}", round=index, attempt=attempt, **offer)

    def freeze(self):
        record = self.record
        one = record.current
        base = record.rounds[one.index - 1].served_digest if one.index else "0" * 64
        self.say(RoundFrozen, round=one.index, attempt=one.attempt, ready=one.ready, base=base, due_at=DUE)

    def upload(self, *names):
        """The peers' terms, of all that were frozen if none are named."""
        record = self.record
        one = record.current
        layout, freeze = record.layout(one), record.freeze(one)
        segments = segments_of(self.contract, self.before(one.index), one.index)
        for name in names or sorted(set(one.frozen_ready) - {"alpha"}):
            update = vector(one.index, plan_round(self.contract, one.index).values, name)
            secrets = self.dealt[one.index, one.attempt, name].secrets
            masks = own_masks(secrets, freeze, name, masking.offers_of(one))
            values = io.BytesIO(update.tobytes())
            term = list(seal_update(values, segments, self.secret, freeze, name, layout, masks))
            self.terms[one.index, one.attempt, name] = term
            done = {"freeze": freeze.hex(), "chunks": tuple(digest(chunk) for chunk in term)}
            self.say(UploadComplete, f"silo:{name}", round=one.index, attempt=one.attempt, **done)

    def serve(self, changed=lambda chunk: chunk):
        """Adds what arrived of all who completed their upload; ``changed`` is what a lying hub does to a chunk."""
        one = self.record.current
        layout = self.record.layout(one)
        place, survivors = (one.index, one.attempt), tuple(sorted(one.uploads))
        terms = {name: self.terms[*place, name] for name in survivors if name != "alpha"}
        if "alpha" in survivors:
            arrived = self.hub.chunks[place]
            assert all(len(set(copies)) == 1 for copies in arrived.values()), "a chunk arrived in two versions"
            terms["alpha"] = [arrived[number][0] for number in range(layout.chunks)]
            assert tuple(map(digest, terms["alpha"])) == one.uploads["alpha"].chunks
        added = [add_chunks([terms[name][at] for name in survivors], layout, at) for at in range(layout.chunks)]
        self.hub.sums[place] = [changed(chunk) for chunk in added]
        digests = tuple(digest(chunk) for chunk in self.hub.sums[place])
        self.say(SumServed, round=one.index, attempt=one.attempt, survivors=survivors, chunks=digests, due_at=DUE)

    def sign(self, *names):
        """Survivors sign U3, all peers if none are named."""
        one = self.record.current
        for name in names or sorted(set(one.total_served.survivors) - {"alpha"}):
            self.say(SurvivorsSigned, f"silo:{name}", round=one.index, attempt=one.attempt, sum=one.served_digest)

    def shares_of(self, one, name):
        """What a peer holds of every frozen silo's masks, and gives away for U3."""
        pairs = {}
        for dealer in one.frozen_ready:
            context = masking.share_context(self.study, one.index, one.attempt, dealer, name)
            if dealer == name:
                pairs[dealer] = self.dealt[one.index, one.attempt, name].own
            else:
                private = self.hub.group.silos[name].receiving.private
                pairs[dealer] = self.bundles(one)[dealer].open(name, private, context)
        return masking.choose_shares(one, pairs)

    def bundles(self, one):
        holders = tuple(sorted(one.keying.silos))
        raw = self.hub.bundles
        return {
            dealer: Bundle.parse(raw[one.index, one.attempt, dealer], dealer, holders) for dealer in one.frozen_ready
        }

    def reveal(self, *names, changed=lambda shares: shares):
        """Signers reveal their shares; ``changed`` is what a lying one does to its list."""
        one = self.record.current
        for name in names or sorted(one.signed - {"alpha"}):
            shares = changed(self.shares_of(one, name))
            sealed = masking.seal_shares(self.secret, self.study, one, name, shares)
            word = {"sum": one.served_digest, "shares": sealed}
            self.say(SharesRevealed, f"silo:{name}", round=one.index, attempt=one.attempt, **word)

    def unmask(self, node):
        """The others sign and reveal, alpha in between."""
        self.sign()
        node.go()
        self.reveal()
        node.go()

    def verify(self):
        record = self.record
        one = record.current
        survivors, index = one.total_served.survivors, one.index
        segments = segments_of(self.contract, self.before(index), index)
        chunks = self.hub.sums[index, one.attempt]
        freeze, quorum = record.freeze(one), self.contract.schedule.quorum
        masks = masking.masks_left(self.secret, self.study, one, freeze, self.bundles(one), quorum)
        opened = OpenedTotal(lambda: chunks, segments, self.secret, freeze, survivors, record.layout(one), masks)
        runs, after = list(opened), io.BytesIO()
        apply_total(self.contract, self.study, index, self.before(index), runs, survivors, after)
        self.steps[index] = 2.0 ** (segments[0].exponent + 1) / record.layout(one).parts[0].level_max
        self.totals[index], self.clipped[index] = np.concatenate(runs), opened.clipped
        self.states[index] = after.getvalue()
        mac = keys.state_mac(self.secret, self.study, index, [self.states[index]])
        for name in sorted(set(survivors) - {"alpha"}):
            word = {"sum": one.served_digest, "state_mac": mac}
            self.say(SumVerified, f"silo:{name}", round=index, attempt=one.attempt, **word)

    def fail(self, *names, blamed=()):
        """The others say that the sum failed, all survivors if none are named."""
        one = self.record.current
        word = {"sum": one.served_digest, "cause": "masks" if blamed else "sum", "blamed": blamed}
        for name in names or sorted(set(one.total_served.survivors) - {"alpha"}):
            self.say(VerificationFailed, f"silo:{name}", round=one.index, attempt=one.attempt, **word)

    def void(self, suspended=()):
        one = self.record.current
        word = {"reason": "the sum did not verify", "suspended": suspended}
        self.say(RoundVoided, round=one.index, attempt=one.attempt, **word)

    def close(self):
        one = self.record.current
        self.say(RoundClosed, round=one.index, attempt=one.attempt, agreed=tuple(sorted(one.macs)), suspended=())

    # -- the end

    def finish(self):
        self.say(StudyClosed, outcome="completed", reason="all rounds are done")

    def request(self):
        self.say(ReleaseRequested, "person:rosa")

    def confirm(self, commitment):
        self.say(ReleaseApproved, "silo:bravo", commitment=commitment)
