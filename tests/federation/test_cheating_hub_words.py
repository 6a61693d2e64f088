"""A hub that changes what others signed, or signs in their place: the study's key, a commitment, revealed shares.

It logs its own version, so every proof of the log fits; the silo's signature is what doesn't. Such a log is lost, and
so is the trust in this hub: each test founds its own consortium.
"""

import base64
from collections.abc import Iterator

import pytest

from protocol.round_statements import RoundFrozen, SharesRevealed
from protocol.sealing.secret import StudySecret
from protocol.signing import Signed, sign
from protocol.study_statements import SecretCommitment, SecretSealed, StudyKeying
from silo_node.errors import HubDistrusted
from silo_node.sealing import keys
from tests.federation.rig.cheating import Cheat
from tests.federation.rig.cheating_silos import Group, founded_group
from tests.sample_study import SILOS

pytestmark = pytest.mark.slow


@pytest.fixture
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    with founded_group(tmp_path_factory.mktemp("words")) as made:
        yield made


def envelope_of_the_hubs_making(group: Group, body: SecretSealed) -> str:
    """A study secret that the hub knows, sealed for the recipient as the key silo would."""
    secret, receiving = StudySecret.generate(), group.nodes[body.recipient].receiving
    return keys.seal_secret(secret, body.study, body.epoch, "alpha", body.recipient, receiving)


def puts_its_own_key_in_place(group, body):
    return {"envelope": envelope_of_the_hubs_making(group, body)}


def makes_up_a_commitment(group, body):
    return {"commitment": "5" * 64}


def alters_revealed_shares(group, body):
    sealed = bytearray(base64.b64decode(body.shares))
    sealed[0] ^= 1
    return {"shares": base64.b64encode(sealed).decode()}


LIES = {
    puts_its_own_key_in_place: SecretSealed,
    makes_up_a_commitment: SecretCommitment,
    alters_revealed_shares: SharesRevealed,
}


@pytest.mark.parametrize("change", LIES, ids=lambda change: change.__name__.replace("_", " "))
def test_a_silos_word_that_the_hub_changed_ends_all_trust_in_its_log(group: Group, change) -> None:
    lied = []

    def records(signed):
        if not isinstance(signed.body, LIES[change]):
            return signed
        body = signed.body.model_copy(update=change(group, signed.body))
        again = sign(body, group.hub.voice.key)
        # The silo's own signature for one statement, the hub's for the next: neither is the silo's over these bytes.
        if not lied:
            again = Signed(
                body, signed.signature, again.wire.replace(again.signature.encode(), signed.signature.encode())
            )
        lied.append(signed)
        return again

    group.hub.cheat = Cheat(records=records)
    study = group.study()
    group.run_to(lambda: all(node.ended is not None for node in group.nodes.values()))
    assert lied
    assert_distrusted(group, study, "signature does not verify")


def assert_distrusted(group: Group, study: str, why: str) -> None:
    """Every node ended with its reason, which its journal holds; no node has another state than before the lie."""
    for node in group.nodes.values():
        assert isinstance(node.ended, HubDistrusted)
        assert why in str(node.ended)
        assert "halt: the hub's log does not verify" in node.notes()
        assert [node.state(study, index) for index in range(2)] == [None, None]


def test_the_hub_is_no_party_to_a_studys_key(group: Group) -> None:
    """An envelope for every silo in the hub's own name, before the key silo's."""
    study = group.study()
    group.run_to(lambda: bool(group.words(StudyKeying, study)))
    for name in SILOS[1:]:
        envelope = keys.seal_secret(StudySecret.generate(), study, 1, "alpha", name, group.nodes[name].receiving)
        group.hub.say(SecretSealed, study=study, epoch=1, recipient=name, envelope=envelope)
    group.run_to(lambda: all(node.ended is not None for node in group.nodes.values()))
    assert_distrusted(group, study, "secret-sealed")
    assert all(node.silo.secret(study, 1) is None for node in group.nodes.values())


def test_a_freeze_of_fewer_than_three_silos_is_no_statement(group: Group) -> None:
    def says(body):
        return body.model_copy(update={"ready": dict([*body.ready.items()][:2])}) if frozen(body) else body

    def frozen(body):
        return isinstance(body, RoundFrozen)

    group.hub.cheat = Cheat(says=says)
    study = group.study()
    group.run_to(lambda: all(node.ended is not None for node in group.nodes.values()))
    assert_distrusted(group, study, "round-frozen.ready")
    assert all(node.sent(study, 0) == set() for node in group.nodes.values())


def test_keying_in_another_order_does_not_let_a_colluding_silo_make_the_key(group: Group) -> None:
    def says(body):
        return body.model_copy(update={"silos": body.silos[::-1]}) if isinstance(body, StudyKeying) else body

    group.hub.cheat = Cheat(says=says)
    study = group.study()
    why = "rule 3: not the silos that are left of those that accepted, in order"
    group.run_to(lambda: group.all_halted(study, why))
    for node in group.nodes.values():
        assert node.silo.secret(study, 1) is None
        assert node.ended is None
    group.honest().completed(group.study())
