"""A silo's pairs of keys in its folder, and which of them it uses."""

import pytest

from protocol.ids import moment
from silo_node.agent.joining import renew_keys
from silo_node.config import SiloConfig, save
from silo_node.errors import ConfigRefused, HubUnreachable, JournalDamaged
from silo_node.hub_client.identity import Identity
from silo_node.hub_client.key_files import read_pair, reseal
from silo_node.journal.chain import FILE, Journal
from tests.sample_study import NOW, Party, consortium

FIRST, SECOND = b"the first passphrase", b"the second passphrase"
CODE = f"AAAA-AAAA-AAAA-AAAA-AAAA.{'0' * 64}"


def naming(pair):
    group = consortium()
    group.silos["alpha"] = Party("alpha", pair.signing, pair.receiving)
    return group.charter(4)


def test_a_new_pair_lies_beside_the_old_ones_and_the_charter_says_which_is_used(tmp_path):
    old = Identity.create("alpha", tmp_path)
    running = Identity.load("alpha", tmp_path)
    new = Identity.renew("alpha", tmp_path)
    assert new.words != old.words
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "keys").iterdir()} == {0o600}
    assert [key.private_bytes_raw() for key in running.signing_keys()] == [
        one.signing.private_bytes_raw() for one in (old, new)
    ], "a node that runs finds the new pair when the old one is refused"
    for identity in (running, Identity.load("alpha", tmp_path)):
        identity.use(naming(old.pair))
        assert identity.words == old.words
        identity.use(naming(new.pair))
        assert identity.words == new.words
        assert {keys.private for keys in identity.receiving_keys} == {old.receiving.private, new.receiving.private}


def test_a_running_node_takes_a_pair_into_use_that_came_since_and_only_one_that_the_charter_names(tmp_path):
    running = Identity.create("alpha", tmp_path)
    old, new = running.pair, Identity.renew("alpha", tmp_path).pair
    Identity.renew("alpha", tmp_path)
    running.use(naming(new))
    assert (running.words, len(running.others)) == (new.words, 2)
    running.use(consortium().charter(4))
    assert running.words == new.words
    running.use(naming(old))
    assert running.words == old.words


def test_new_keys_are_sealed_as_the_old_ones_are(tmp_path):
    Identity.create("alpha", tmp_path, FIRST)
    with pytest.raises(ConfigRefused, match="sealed by a passphrase"):
        Identity.renew("alpha", tmp_path)
    with pytest.raises(ConfigRefused, match="passphrase is wrong"):
        Identity.renew("alpha", tmp_path, SECOND)
    assert len(list((tmp_path / "keys").iterdir())) == 2
    words = Identity.renew("alpha", tmp_path, FIRST).words
    reseal(tmp_path, FIRST, SECOND)
    assert read_pair(tmp_path, 2, SECOND).words == words
    assert read_pair(tmp_path, 1, SECOND).words != words


def test_keys_that_were_lost_are_made_anew(tmp_path):
    lost = Identity.create("alpha", tmp_path, FIRST).words
    for path in (tmp_path / "keys").iterdir():
        path.unlink()
    made = Identity.renew("alpha", tmp_path, SECOND)
    assert (made.words != lost, made.others) == (True, ())


def test_what_is_asked_for_stands_in_the_journal_first_and_a_wrong_invitation_makes_no_keys(tmp_path):
    save(SiloConfig(silo="alpha", hub_url="http://127.0.0.1:1", charter="0" * 64), tmp_path)
    Identity.create("alpha", tmp_path)
    with pytest.raises(JournalDamaged, match="missing"):
        renew_keys(tmp_path, CODE, moment(NOW))
    Journal(tmp_path / FILE).close()
    for wrong in (CODE[:-1], CODE.replace("0", "1")):
        with pytest.raises(ConfigRefused, match="of this silo's consortium"):
            renew_keys(tmp_path, wrong, moment(NOW))
    assert len(list((tmp_path / "keys").iterdir())) == 2
    with pytest.raises(HubUnreachable):
        renew_keys(tmp_path, CODE, moment(NOW))
    journal = Journal(tmp_path / FILE)
    assert [entry.event.what for entry in journal.entries()] == ["enrolment"]
    journal.close()
