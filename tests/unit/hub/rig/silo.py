"""A silo that takes part with random levels instead of training: all else, the sealing above all, is real."""

import base64
import hashlib
import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from protocol import canonical
from protocol.rounds import freeze_digest, round_events, round_layout
from protocol.routes import BLOB, CHUNK, SHARES, SUM
from protocol.sealing.envelope import open_envelope, seal_envelope
from protocol.sealing.masks import MaskOffer, MaskSecrets, masks_of_sum, own_masks
from protocol.sealing.secret import StudySecret
from protocol.sealing.sharing import Bundle, SharePair, deal, open_reveal, recover, seal_reveal
from protocol.sealing.term import open_sum, seal, verify_sum
from protocol.signing import Signed
from protocol.study import StudyContract, study_id
from tests.unit.hub.rig.party import Party, Refusal, check


@dataclass(slots=True)
class Unmasking:
    """A served sum on its way to being opened."""

    served: Any
    frozen: Any
    chunks: list[bytes]
    bundles: dict[str, Bundle]
    signed: set[str] = field(default_factory=set)
    revealed: dict[str, list[bytes]] = field(default_factory=dict)
    took_it: bool = False
    spoke: bool = False


def _shares_info(place: dict[str, Any], dealer: str, holder: str) -> bytes:
    value = {"context": "consortia/shares/v1", "sender": dealer, "recipient": holder}
    return canonical.encode({**value, **place})


def _reveal_context(body: Any, sender: str) -> bytes:
    place = {"study": body.study, "round": body.round, "sum": body.sum, "sender": sender}
    return canonical.encode({"context": "consortia/reveal/v1", **place})


class FakeSilo(Party):
    """`run` acts on what the log says until a study is closed. Switches make it late, silent or hostile."""

    def __init__(self, name: str, url: str, card: dict[str, str]) -> None:
        super().__init__(f"silo:{name}", url, card)
        self.contracts: dict[str, StudyContract] = {}
        self.approved: set[str] = set()
        self.secrets: dict[str, StudySecret] = {}
        self.keying: dict[str, tuple[str, ...]] = {}
        self.epoch: dict[str, int] = {}
        self.masks: dict[tuple[str, int, int], tuple[MaskSecrets, SharePair]] = {}
        self.ready: dict[str, Any] = {}
        self.sums: dict[str, Unmasking] = {}
        self.frozen: dict[tuple[str, int, int], tuple[Signed, bytes]] = {}
        self.base: dict[str, str] = {}
        self.sent: dict[tuple[str, int], np.ndarray] = {}
        self.totals: dict[tuple[str, int], np.ndarray] = {}
        self.closed: dict[str, Signed] = {}
        self.peers: dict[str, str] = {}
        self.silent_in: set[tuple[int, str]] = set()
        self.spoil_in: set[int] = set()
        self.reject_in: set[int] = set()
        self.wrong_state_in: set[int] = set()
        self.late_for_void_rounds = False
        self.released: list[bytes] = []
        self.error: BaseException | None = None

    def run(self, until: Any, stop: threading.Event) -> None:
        try:
            while not stop.is_set() and not until(self):
                for _, _, signed in self.poll(wait_s=5):
                    self.act(signed)
        except BaseException as error:
            self.error = error
            raise

    def act(self, signed: Signed) -> None:
        body = signed.body
        action = getattr(self, "on_" + body.type.replace("-", "_"), None)
        if action is None:
            return
        try:
            action(signed, body)
        except Refusal as refusal:
            # A round that is void by now takes no words, and has no sum any more.
            if not (self.late_for_void_rounds and refusal.status in (404, 409)):
                raise

    def on_charter(self, signed: Signed, body: Any) -> None:
        self.peers = {member.silo: member.receiving_key for member in body.charter.members}

    def on_study_proposed(self, signed: Signed, body: Any) -> None:
        self.contracts[study_id(body.contract)] = body.contract

    def on_study_approved(self, signed: Signed, body: Any) -> None:
        if (-1, "accept") in self.silent_in:
            self.say("study-refused", study=body.study, rule="peers", reason="Not with us.", decided_by="policy")
            return
        policy, data = "1" * 64, "2" * 64
        self.say("study-accepted", study=body.study, policy=policy, dataset_commitment=data, decided_by="owner-rule")

    def _info(self, study: str, sender: str, recipient: str, context: str) -> bytes:
        value = {"context": context, "study": study, "sender": sender, "recipient": recipient}
        return canonical.encode({**value, "epoch": self.epoch[study]} if "secret" in context else value)

    def on_study_keying(self, signed: Signed, body: Any) -> None:
        study, silos = body.study, body.silos
        self.keying[study], self.epoch[study] = silos, body.epoch
        self.secrets.pop(study, None)
        if silos[0] != self.name:
            return
        secret = self.secrets[study] = StudySecret.generate()
        statements = []
        for peer in silos[1:]:
            info = self._info(study, self.name, peer, "consortia/secret/v1")
            envelope = seal_envelope(secret.to_bytes(), base64.b64decode(self.peers[peer]), info)
            text = base64.b64encode(envelope).decode()
            fields = {"study": study, "epoch": body.epoch, "recipient": peer, "envelope": text}
            statements.append(self.signed("secret-sealed", **fields))
        self.post(*statements, self._commitment(study))

    def _commitment(self, study: str) -> Signed:
        mine = {"epoch": self.epoch[study], "commitment": self.secrets[study].commitment(b"x").hex()}
        return self.signed("secret-commitment", study=study, **mine)

    def on_secret_sealed(self, signed: Signed, body: Any) -> None:
        if body.recipient != self.name:
            return
        info = self._info(body.study, self.keying[body.study][0], self.name, "consortia/secret/v1")
        raw = open_envelope(base64.b64decode(body.envelope), self.envelope.private, info)
        self.secrets[body.study] = StudySecret.from_bytes(raw)
        self.post(self._commitment(body.study))

    def on_round_opened(self, signed: Signed, body: Any) -> None:
        if self.name not in body.silos or (body.round, "ready") in self.silent_in:
            return
        contract = self.contracts[body.study]
        events = [event.model_dump(mode="json") for event in round_events(contract, self.name, body.round)]
        spend = {
            "study": body.study,
            "round": body.round,
            "domain": "patients",
            "events": events,
            "ledger_head": "3" * 64,
        }
        ready = self.dealt(body)
        if body.attempt == 1:
            self.say("spend-reserved", **spend)
            self.post(self.signed("spend-settled", **spend), ready)
        else:
            self.post(ready)

    def dealt(self, body: Any) -> Signed:
        """Put this attempt's bundle of shares; the ready statement that names it."""
        place = {"study": body.study, "round": body.round, "attempt": body.attempt}
        mine = MaskSecrets.generate()
        holders = {name: base64.b64decode(self.peers[name]) for name in self.keying[body.study]}
        quorum = self.contracts[body.study].schedule.quorum
        bundle, own = deal(mine, self.name, holders, quorum, lambda to: _shares_info(place, self.name, to))
        check(self.put_shares(bundle, **place))
        self.masks[body.study, body.round, body.attempt] = (mine, own)
        offer = {"mask_key": mine.offer.mask_key.hex(), "self_commitment": mine.offer.self_commitment.hex()}
        return self.signed("round-ready", **place, **offer, shares=canonical.digest(bundle))

    def put_shares(self, bundle: bytes, *, silo: str | None = None, **place: Any) -> Any:
        return self._put(SHARES.format(silo=silo or self.name, **place), bundle)

    def on_round_ready(self, signed: Signed, body: Any) -> None:
        self.ready[signed.digest] = body

    def _offers(self, frozen: Any) -> dict[str, MaskOffer]:
        ready = {silo: self.ready[digest] for silo, digest in frozen.ready.items()}
        return {
            silo: MaskOffer(bytes.fromhex(body.mask_key), bytes.fromhex(body.self_commitment))
            for silo, body in ready.items()
        }

    def _bundles(self, frozen: Any) -> dict[str, Bundle]:
        bundles = {}
        for silo, digest in frozen.ready.items():
            path = SHARES.format(study=frozen.study, round=frozen.round, attempt=frozen.attempt, silo=silo)
            data = self.get(path).content
            assert canonical.digest(data) == self.ready[digest].shares
            bundles[silo] = Bundle.parse(data, silo, self.keying[frozen.study])
        return bundles

    def on_round_frozen(self, signed: Signed, body: Any) -> None:
        silos = tuple(sorted(body.ready))
        layout = round_layout(self.contracts[body.study], body.round, len(silos))
        assert body.base == self.base.get(body.study, "0" * 64)
        freeze = freeze_digest(
            study=body.study,
            index=body.round,
            attempt=body.attempt,
            silos=silos,
            ready=body.ready,
            layout=layout,
            base=body.base,
        )
        self.frozen[body.study, body.round, body.attempt] = (signed, freeze)
        if self.name not in silos or (body.round, "upload") in self.silent_in:
            return
        drawn = np.random.default_rng().integers(0, 99, layout.values, dtype=np.uint64)
        drawn[-1] = 0  # nothing was clipped
        levels = self.sent.setdefault((body.study, body.round), drawn)
        mine, _ = self.masks[body.study, body.round, body.attempt]
        masks = own_masks(mine, freeze, self.name, self._offers(body))
        chunks = list(seal(self.secrets[body.study], freeze, self.name, levels, layout, masks))
        if body.round in self.spoil_in:
            chunks[0] = b"\xff" * len(chunks[0])
        for index, chunk in enumerate(chunks):
            check(self.put_chunk(body.study, body.round, body.attempt, index, chunk))
        self.say(
            "upload-complete",
            study=body.study,
            round=body.round,
            attempt=body.attempt,
            freeze=freeze.hex(),
            chunks=[canonical.digest(chunk) for chunk in chunks],
        )

    def put_chunk(self, study: str, round: int, attempt: int, index: int, chunk: bytes, **headers: str) -> Any:
        return self._put(CHUNK.format(study=study, round=round, attempt=attempt, index=index), chunk, **headers)

    def _put(self, path: str, content: bytes, **headers: str) -> Any:
        digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
        given = {"Content-Digest": f"sha-256=:{digest}:", **headers}
        return self.http.put(path, content=content, headers=given, auth=self.auth)

    def on_sum_served(self, signed: Signed, body: Any) -> None:
        self.base[body.study] = signed.digest
        if (body.round, "verify") in self.silent_in or body.study not in self.secrets:
            return
        frozen, freeze = self.frozen[body.study, body.round, body.attempt]
        layout = round_layout(self.contracts[body.study], body.round, len(frozen.body.ready))
        chunks = []
        for index, digest in enumerate(body.chunks):
            path = SUM.format(study=body.study, round=body.round, attempt=body.attempt, index=index)
            chunks.append(self.get(path).content)
            assert canonical.digest(chunks[-1]) == digest
        verify_sum(self.secrets[body.study], freeze, body.survivors, chunks, layout)
        self.sums[signed.digest] = Unmasking(body, frozen.body, chunks, self._bundles(frozen.body))
        if self.name not in body.survivors or (body.round, "sign") in self.silent_in:
            return
        place = {"study": body.study, "round": body.round, "attempt": body.attempt, "sum": signed.digest}
        if body.round in self.reject_in:
            self.say("verification-failed", **place, cause="sum", blamed=[])
        else:
            self.say("survivors-signed", **place)
            self.sums[signed.digest].took_it = True

    def on_survivors_signed(self, signed: Signed, body: Any) -> None:
        if body.sum not in self.sums:
            return  # no key, no part
        one = self.sums[body.sum]
        one.signed.add(body.issuer.removeprefix("silo:"))
        quorum = self.contracts[body.study].schedule.quorum
        if len(one.signed) < quorum or self.name not in one.signed or one.spoke:
            return
        one.spoke = True
        if (body.round, "reveal") in self.silent_in:
            return
        shares = [self._share(one, dealer) for dealer in sorted(one.bundles)]
        sealed = seal_reveal(self.secrets[body.study], _reveal_context(body, self.name), shares)
        place = {"study": body.study, "round": body.round, "attempt": body.attempt, "sum": body.sum}
        self.say("shares-revealed", **place, shares=base64.b64encode(sealed).decode())

    def _share(self, one: "Unmasking", dealer: str) -> bytes:
        place = {"study": one.served.study, "round": one.served.round, "attempt": one.served.attempt}
        if dealer == self.name:
            pair = self.masks[one.served.study, one.served.round, one.served.attempt][1]
        else:
            info = _shares_info(place, dealer, self.name)
            pair = one.bundles[dealer].open(self.name, self.envelope.private, info)
        return pair.self_share if dealer in one.served.survivors else pair.key_share

    def on_shares_revealed(self, signed: Signed, body: Any) -> None:
        if body.sum not in self.sums:
            return
        one, who = self.sums[body.sum], body.issuer.removeprefix("silo:")
        sealed, context = base64.b64decode(body.shares), _reveal_context(body, who)
        one.revealed[who] = open_reveal(self.secrets[body.study], context, sealed, len(one.bundles))
        if len(one.revealed) == self.contracts[body.study].schedule.quorum:
            self._open(one, body.sum)

    def _open(self, one: "Unmasking", digest: str) -> None:
        one.spoke = True  # a quorum of the others revealed: its own shares would come too late
        body, secret = one.served, self.secrets[one.served.study]
        quorum, offers = self.contracts[body.study].schedule.quorum, self._offers(one.frozen)
        seeds = recover(list(one.bundles), body.survivors, offers, one.bundles, one.revealed, quorum)
        freeze = self.frozen[body.study, body.round, body.attempt][1]
        layout = round_layout(self.contracts[body.study], body.round, len(one.bundles))
        masks = masks_of_sum(freeze, body.survivors, offers, seeds)
        total = open_sum(secret, freeze, body.survivors, lambda: one.chunks, layout, masks)
        self.totals[body.study, body.round] = total
        if not one.took_it:
            return
        state = b"wrong" if body.round in self.wrong_state_in else total.tobytes()
        context = canonical.encode({"context": "consortia/state/v1", "study": body.study, "round": body.round})
        mac = secret.state_mac(context, state).hex()
        place = {"study": body.study, "round": body.round, "attempt": body.attempt, "sum": digest}
        self.say("sum-verified", **place, state_mac=mac)

    def on_study_closed(self, signed: Signed, body: Any) -> None:
        self.closed[body.study] = signed

    def on_release_requested(self, signed: Signed, body: Any) -> None:
        self.say("release-approved", study=body.study, commitment="4" * 64)

    def release(self, study: str, person: Party) -> bytes:
        """Seal a bundle for a person, upload it, and say so."""
        info = self._info(study, self.name, person.name, "consortia/release/v1")
        sealed = seal_envelope(b"salt and model", person.envelope.public, info)
        digest = canonical.digest(sealed)
        path = BLOB.format(study=study, digest=digest)
        check(self.http.put(path, content=sealed, auth=self.auth))
        self.say("release-sealed", study=study, recipient=person.name, blob=digest, size=len(sealed))
        return sealed
