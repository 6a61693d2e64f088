"""Double masks and their shares: what an exchange of masked terms adds up to, and what each part of it gives away."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.sealing import bfv, packing, term, wire
from protocol.sealing.envelope import generate_keys
from protocol.sealing.errors import EnvelopeRefused, KeyRefused, MasksUnrecoverable, SharesRefused, SumRejected
from protocol.sealing.masks import (
    MaskOffer,
    MaskSecrets,
    MaskStream,
    RecoveredSeeds,
    check_mask_key,
    masks_of_sum,
    own_masks,
)
from protocol.sealing.parameters import PLAIN_MODULUS, RING_DEGREE, Layout
from protocol.sealing.secret import StudySecret
from protocol.sealing.shares import NO_SHARE, PRIME, SHARE_BYTES, combine, split
from protocol.sealing.sharing import Bundle, bundle_bytes, deal, open_reveal, recover, seal_reveal
from tests.unit.protocol.sealing.conftest import layouts, levels_of

FREEZE = bytes(range(32))
VECTORS = Path(__file__).parents[3] / "vectors"
NAMES = ("alpha", "bravo", "charlie", "delta")
KEYS = {name: generate_keys() for name in NAMES}


def info(dealer, recipient):
    return f"{dealer} to {recipient}".encode()


@dataclass
class Group:
    """Silos that dealt their masks; holders are all of them, threshold 3."""

    secrets: dict
    dealt: dict

    @property
    def offers(self):
        return {name: one.offer for name, one in self.secrets.items()}

    @property
    def bundles(self):
        return {name: Bundle.parse(data, name, NAMES) for name, (data, _) in self.dealt.items()}

    def pair(self, dealer, holder):
        if dealer == holder:
            return self.dealt[dealer][1]
        return self.bundles[dealer].open(holder, KEYS[holder].private, info(dealer, holder))

    def reveal(self, holder, survivors):
        pairs = {dealer: self.pair(dealer, holder) for dealer in NAMES}
        return [pairs[name].self_share if name in survivors else pairs[name].key_share for name in NAMES]

    def masks(self, name, freeze=FREEZE):
        return own_masks(self.secrets[name], freeze, name, self.offers)


@pytest.fixture(scope="module")
def group():
    secrets = {name: MaskSecrets.generate() for name in NAMES}
    public = {name: keys.public for name, keys in KEYS.items()}
    dealt = {
        name: deal(secrets[name], name, public, 3, lambda recipient, name=name: info(name, recipient)) for name in NAMES
    }
    return Group(secrets, dealt)


@pytest.mark.parametrize("survivors", [NAMES, NAMES[:3], NAMES[1:], (NAMES[0], NAMES[2], NAMES[3])])
def test_a_masked_exchange_is_exact_for_every_pattern_of_dropouts_that_leaves_the_quorum(group, survivors):
    layout, secret = Layout.single(13_000, 4), StudySecret.generate()
    random = np.random.default_rng(7)
    levels = {
        name: random.integers(0, layout.parts[0].level_max, layout.values, np.uint64, endpoint=True) for name in NAMES
    }
    terms = {name: list(term.seal(secret, FREEZE, name, levels[name], layout, group.masks(name))) for name in NAMES}
    total = [term.add_chunks([terms[name][0] for name in survivors], layout, 0)]
    revealed = {name: group.reveal(name, survivors) for name in survivors}
    seeds = recover(NAMES, survivors, group.offers, group.bundles, revealed, 3)
    masks = masks_of_sum(FREEZE, survivors, group.offers, seeds)
    opened = term.open_sum(secret, FREEZE, survivors, lambda: total, layout, masks)
    np.testing.assert_array_equal(opened, sum(levels[name] for name in survivors))


@settings(deadline=None, max_examples=12)
@given(st.data())
def test_any_number_of_silos_with_any_parts_any_bits_and_any_dropouts_add_up_exactly(data):
    """At the level of slots: sealing and tags are per silo and have tests of their own."""
    silos = data.draw(st.one_of(st.integers(3, 12), st.integers(13, 256)))
    quorum = max(3, math.ceil((silos + 2) / 2))
    names = [f"silo-{number:03}" for number in range(silos)]
    layout = data.draw(layouts(longest=100, terms=silos))
    secrets = {name: MaskSecrets.generate() for name in names}
    offers = {name: one.offer for name, one in secrets.items()}
    dropped = data.draw(st.integers(0, min(silos - quorum, 6)))
    gone = set(data.draw(st.permutations(names))[:dropped])
    survivors = [name for name in names if name not in gone]
    random = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    total = np.zeros((1, RING_DEGREE), dtype=np.int64)
    expected = np.zeros(layout.values, dtype=np.uint64)
    for name in survivors:
        levels = levels_of(layout, random)
        slots = packing.pack(levels, layout)
        own_masks(secrets[name], FREEZE, name, offers).add_to(slots, 0)
        total = (total + slots) % PLAIN_MODULUS
        expected += levels
    self_seeds = {name: secrets[name].self_seed for name in survivors}
    seeds = RecoveredSeeds(self_seeds, {name: secrets[name].key_seed for name in gone})
    masks_of_sum(FREEZE, survivors, offers, seeds).remove_from(total, 0)
    np.testing.assert_array_equal(packing.unpack(total, layout, len(survivors)), expected)


@pytest.mark.parametrize("update", ["zeros", "ones", "top", "alternating"])
def test_an_insider_with_the_key_sees_uniform_slots_whatever_the_update_was(group, update):
    layout, secret = Layout.single(4095 * 3 * 2, 4), StudySecret.generate()
    made = {"zeros": 0, "ones": 1, "top": layout.parts[0].level_max, "alternating": 0}
    levels = np.full(layout.values, made[update], dtype=np.uint64)
    if update == "alternating":
        levels[::2] = layout.parts[0].level_max
    (chunk,) = term.seal(secret, FREEZE, "bravo", levels, layout, group.masks("bravo"))
    records, first = wire.parse(chunk, 2, seeds=1)
    cipher = bfv.Cipher(secret.bfv_key)
    pairs = zip(first, records, strict=True)
    slots = np.stack([cipher.decrypt(row, [bytes(rec["seeds"][0])]) for row, rec in pairs])
    counts, _ = np.histogram(slots, bins=64, range=(0, PLAIN_MODULUS))
    expected = slots.size / 64
    assert float(((counts - expected) ** 2 / expected).sum()) < 140  # 63 degrees of freedom: p < 1e-7
    assert not (slots[:, -1] == 1).any(), "the count slot is masked too"


def test_without_a_survivors_self_mask_the_rest_of_its_masks_opens_nothing(group):
    """Everyone else's mask keys are known: the self mask alone still hides the term."""
    slots = packing.pack(np.zeros(10, dtype=np.uint64), Layout.single(10, 4))
    group.masks("bravo").add_to(slots, 0)
    masks = group.masks("bravo")
    MaskStream(masks.plus[1:], masks.minus).remove_from(slots, 0)
    counts, _ = np.histogram(slots, bins=16, range=(0, PLAIN_MODULUS))
    assert float(((counts - 256) ** 2 / 256).sum()) < 60


def test_masks_of_another_freeze_open_nothing(group):
    slots = packing.pack(np.zeros(10, dtype=np.uint64), Layout.single(10, 4))
    group.masks("bravo").add_to(slots, 0)
    group.masks("bravo", bytes(32)).remove_from(slots, 0)
    with pytest.raises(SumRejected):
        packing.unpack(slots, Layout.single(10, 4), 1)


def test_masking_needs_the_offer_that_this_silo_made(group):
    offers = {**group.offers, "bravo": MaskSecrets.generate().offer}
    with pytest.raises(KeyRefused, match="another offer"):
        own_masks(group.secrets["bravo"], FREEZE, "bravo", offers)


@pytest.mark.parametrize("weak", [bytes(32), b"\x01" + bytes(31), bytes(31)])
def test_a_mask_key_without_a_secret_behind_it_is_refused(weak):
    with pytest.raises(KeyRefused, match="mask key"):
        check_mask_key(weak)


def test_seeds_show_nothing_of_themselves_and_are_not_pickled():
    import pickle

    made = MaskSecrets.generate()
    assert made.self_seed.hex() not in repr(made)
    with pytest.raises(TypeError):
        pickle.dumps(made)


# -- shares


def test_the_field_is_prime():
    """Miller and Rabin with forty bases."""
    odd, twos = PRIME - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in range(2, 42):
        x = pow(base, odd, PRIME)
        if x in (1, PRIME - 1):
            continue
        assert PRIME - 1 in [pow(x, 2**time, PRIME) for time in range(1, twos)]


@settings(deadline=None, max_examples=40)
@given(st.binary(min_size=32, max_size=32), st.data())
def test_any_quorum_of_shares_gives_the_secret(secret, data):
    holders = data.draw(st.integers(1, 40))
    threshold = data.draw(st.integers(1, holders))
    shares = split(secret, holders, threshold)
    who = data.draw(st.permutations(range(holders)))[:threshold]
    assert combine({place + 1: shares[place] for place in who}) == secret


def test_fewer_shares_than_the_threshold_fit_every_secret():
    """Two of three shares of a threshold of three: a third one exists for any secret whatever."""
    first, second, _ = split(bytes(32), 3, 3)
    x = [int.from_bytes(share, "big") for share in (first, second)]
    for wanted in (0, 1, 2**255):
        third = (wanted - 3 * x[0] + 3 * x[1]) % PRIME
        found = combine({1: first, 2: second, 3: third.to_bytes(SHARE_BYTES, "big")})
        assert found == wanted.to_bytes(32, "big")


def test_a_number_outside_the_field_is_refused():
    shares = split(bytes(32), 3, 2)
    with pytest.raises(SharesRefused, match="share 2"):
        combine({1: shares[0], 2: NO_SHARE})


def test_a_bundle_has_its_exact_size_and_opens_for_its_holder_only(group):
    data, _ = group.dealt["alpha"]
    assert len(data) == bundle_bytes(4)
    with pytest.raises(SharesRefused, match="must be"):
        Bundle.parse(data[:-1], "alpha", NAMES)
    with pytest.raises(EnvelopeRefused):
        group.bundles["alpha"].open("bravo", KEYS["charlie"].private, info("alpha", "bravo"))
    with pytest.raises(EnvelopeRefused):
        group.bundles["alpha"].open("bravo", KEYS["bravo"].private, info("charlie", "bravo"))


def test_an_envelope_that_somebody_else_sealed_does_not_match_the_commitments(group):
    other = MaskSecrets.generate()
    public = {name: keys.public for name, keys in KEYS.items()}
    forged, _ = deal(other, "alpha", public, 3, lambda recipient: info("alpha", recipient))
    data = group.dealt["alpha"][0]
    bundle = Bundle.parse(data[:256] + forged[256:], "alpha", NAMES)
    with pytest.raises(SharesRefused, match="not those committed to"):
        bundle.open("bravo", KEYS["bravo"].private, info("alpha", "bravo"))


def test_a_reveal_opens_for_holders_of_the_study_secret_in_its_context_only(group):
    secret, shares = StudySecret.generate(), group.reveal("alpha", NAMES)
    sealed = seal_reveal(secret, b"round 1", shares)
    assert open_reveal(secret, b"round 1", sealed, 4) == shares
    for other, context, count in (
        (secret, b"round 2", 4),
        (StudySecret.generate(), b"round 1", 4),
        (secret, b"round 1", 3),
    ):
        with pytest.raises(SharesRefused):
            open_reveal(other, context, sealed, count)
    flipped = bytes([sealed[0] ^ 1]) + sealed[1:]
    with pytest.raises(SharesRefused):
        open_reveal(secret, b"round 1", flipped, 4)


def test_a_wrong_share_is_named_and_harmless_while_a_quorum_is_good(group):
    revealed = {name: group.reveal(name, NAMES) for name in NAMES}
    revealed["delta"][1] = revealed["delta"][0]
    seeds = recover(NAMES, NAMES, group.offers, group.bundles, revealed, 3)
    assert seeds.blamed == ("delta",)
    assert seeds.self_seeds == {name: group.secrets[name].self_seed for name in NAMES}


def test_too_few_good_shares_give_nothing_and_name_who_sent_wrong_ones(group):
    revealed = {name: group.reveal(name, NAMES) for name in NAMES}
    revealed["delta"][1] = revealed["delta"][0]
    revealed["charlie"] = [NO_SHARE] * 4
    with pytest.raises(MasksUnrecoverable) as refused:
        recover(NAMES, NAMES, group.offers, group.bundles, revealed, 3)
    assert refused.value.blamed == ("delta",)


def test_a_dealer_whose_shares_give_another_seed_than_it_committed_to_is_named(group):
    offers = {**group.offers, "bravo": MaskOffer(group.offers["bravo"].mask_key, bytes(32))}
    revealed = {name: group.reveal(name, NAMES) for name in NAMES}
    with pytest.raises(MasksUnrecoverable) as refused:
        recover(NAMES, NAMES, offers, group.bundles, revealed, 3)
    assert refused.value.blamed == ("bravo",)


# -- golden vectors


def golden():
    """Masks and shares from fixed seeds, as `sealing_masks.json` holds them."""
    names = ("east", "north", "west")
    secrets = {name: MaskSecrets(bytes([at]) * 32, bytes([at + 16]) * 32) for at, name in enumerate(names, 1)}
    offers = {name: one.offer for name, one in secrets.items()}
    shares = {x: ((7 * x + 5) * 2**200 + x).to_bytes(SHARE_BYTES, "big") for x in (1, 2)}
    found = {
        "offers": {name: [one.mask_key.hex(), one.self_commitment.hex()] for name, one in offers.items()},
        "masks": {},
        "combined": combine(shares).hex(),
        "reveal": seal_reveal(stored_secret(), b"golden", [shares[1], shares[2]]).hex(),
    }
    for name in names:
        slots = np.zeros((2, RING_DEGREE), dtype=np.int64)
        own_masks(secrets[name], FREEZE, name, offers).add_to(slots, 3)
        found["masks"][name] = [slots[:, at].tolist() for at in (0, 1, RING_DEGREE - 1)]
    return found


def stored_secret():
    import base64

    stored = json.loads((VECTORS / "sealing_exchange.json").read_text())
    return StudySecret.from_bytes(base64.b64decode(stored["secret"]))


def test_masks_shares_and_reveals_reproduce_the_golden_ones():
    assert golden() == json.loads((VECTORS / "sealing_masks.json").read_text())


def test_the_stored_bundle_still_opens():
    import base64

    stored = json.loads((VECTORS / "sealing_bundle.json").read_text())
    bundle = Bundle.parse(base64.b64decode(stored["bundle"]), "east", stored["holders"])
    pair = bundle.open("north", base64.b64decode(stored["private"]), stored["info"].encode())
    assert pair.to_bytes().hex() == stored["shares"]
