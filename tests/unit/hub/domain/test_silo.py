"""Invitations: the right code, for the right silo, once, in time."""

import hashlib

import pytest

from hub.domain.silo import Invitation, admit, check_invitation
from hub.errors import Conflict, Expired, Forbidden

CODE = "correct-horse"
GOOD = Invitation("i" * 64, "ada", hashlib.sha256(CODE.encode()).hexdigest(), 2000, None)


def test_the_right_code_lets_the_named_silo_in() -> None:
    assert admit([GOOD], "ada", CODE, 1999) == GOOD


@pytest.mark.parametrize("silo,code", [("bern", CODE), ("ada", "battery-staple"), ("ada", "")])
def test_another_name_or_code_is_refused(silo: str, code: str) -> None:
    with pytest.raises(Forbidden):
        admit([GOOD], silo, code, 1000)


def test_an_invitation_ends_at_its_time() -> None:
    with pytest.raises(Expired):
        admit([GOOD], "ada", CODE, 2000)


def test_a_used_invitation_is_refused_and_a_second_one_still_serves() -> None:
    used = Invitation("u" * 64, "ada", GOOD.code, 2000, "e" * 64)
    with pytest.raises(Conflict):
        admit([used], "ada", CODE, 1000)
    assert admit([used, GOOD], "ada", CODE, 1000) == GOOD


@pytest.mark.parametrize("expires_at", [1000, 999, 1000 + 24 * 3600 + 61])
def test_an_invitation_lasts_a_day_at_most(expires_at: int) -> None:
    with pytest.raises(Conflict):
        check_invitation(expires_at, 1000)
    check_invitation(1000 + 24 * 3600, 1000)
