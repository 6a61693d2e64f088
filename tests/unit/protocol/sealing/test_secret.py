import copy
import dataclasses
import pickle

import pytest

from protocol.sealing.errors import KeyRefused
from protocol.sealing.secret import SECRET_BYTES, StudySecret


def test_a_secret_comes_back_from_its_bytes(secret: StudySecret) -> None:
    raw = secret.to_bytes()
    assert len(raw) == SECRET_BYTES
    assert StudySecret.from_bytes(raw) == secret
    assert StudySecret.generate() != secret
    assert secret != raw


def test_bytes_of_another_size_version_or_form_are_refused(secret: StudySecret) -> None:
    raw = secret.to_bytes()
    for wrong in [b"", raw[:-1], raw + b"\0", raw.replace(b"v1", b"v2"), raw[:25] + b"\xaa" * 1024 + raw[-32:]]:
        with pytest.raises(KeyRefused):
            StudySecret.from_bytes(wrong)
    with pytest.raises(KeyRefused, match="authenticator key"):
        StudySecret(secret.bfv_key, bytes(31))


def test_a_secret_shows_nothing_of_itself(secret: StudySecret) -> None:
    shown = f"{secret!r} {secret} {[secret]} {dataclasses.replace(secret)}"
    for part in (secret.bfv_key, secret.mac_key):
        assert part.hex()[:8] not in shown and str(part)[:12] not in shown


def test_a_refused_secret_is_not_quoted_in_the_error(secret: StudySecret) -> None:
    with pytest.raises(KeyRefused) as refused:
        StudySecret.from_bytes(secret.to_bytes()[:-1])
    assert secret.bfv_key.hex()[:8] not in str(refused.value)


def test_a_secret_is_neither_pickled_nor_hashed(secret: StudySecret) -> None:
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        copy.copy(secret)
    with pytest.raises(TypeError):
        hash(secret)


def test_commitments_agree_for_the_same_secret_and_context_only(secret: StudySecret) -> None:
    again = StudySecret.from_bytes(secret.to_bytes())
    other_key = StudySecret(StudySecret.generate().bfv_key, secret.mac_key)
    other_mac = StudySecret(secret.bfv_key, bytes(32))
    assert secret.commitment(b"study, epoch 1") == again.commitment(b"study, epoch 1")
    commitments = {s.commitment(b"study, epoch 1") for s in (secret, other_key, other_mac)}
    assert len(commitments | {secret.commitment(b"study, epoch 2")}) == 4


def test_state_macs_bind_context_and_state_apart(secret: StudySecret) -> None:
    macs = {
        secret.state_mac(b"round 1", b"model"),
        secret.state_mac(b"round 2", b"model"),
        secret.state_mac(b"round 1", b"other"),
        secret.state_mac(b"round 1m", b"odel"),
        secret.commitment(b"round 1model"),
    }
    assert len(macs) == 5 and all(len(mac) == 32 for mac in macs)
    assert StudySecret.from_bytes(secret.to_bytes()).state_mac(b"round 1", b"model") in macs


@pytest.mark.parametrize("size", [1, 2, 3, 63, 64, 65, 1000, 1001])
def test_a_state_that_comes_in_blocks_has_the_mac_of_the_whole_wherever_it_is_cut(
    secret: StudySecret, size: int
) -> None:
    state = bytes(range(250)) * 4
    blocks = (state[at : at + size] for at in range(0, len(state), size))
    assert secret.state_mac_of(b"round 1", blocks) == secret.state_mac(b"round 1", state)
    assert secret.state_mac_of(b"round 1", []) == secret.state_mac(b"round 1", b"")
