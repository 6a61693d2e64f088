"""When what the witnesses saw lets a silo work."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.charter import charter_digest
from protocol.cosignature import cosign, merge
from protocol.translog import Checkpoint, TreeHead, sign_checkpoint
from protocol.witnesses import MAX_AGE, reason_to_wait, silo_witness, witnesses_of
from tests.sample_study import consortium

GROUP = consortium()
CHARTER = GROUP.charter(4, GROUP.charter(0))
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SILOS = [one.silo for one in CHARTER.members]


def checkpoint(key: Ed25519PrivateKey = GROUP.log, **changes: Any) -> str:
    given = {"origin": CHARTER.log_origin, "charter": charter_digest(CHARTER), **changes}
    stamped = Checkpoint.stamped(given["origin"], TreeHead(7, bytes(32)), given["charter"], NOW)
    return sign_checkpoint(stamped, CHARTER.log_origin, key)


def cosigned(note: str, silos: list[str], at: datetime = NOW) -> str:
    lines = [
        cosign(note, silo_witness(CHARTER.log_origin, silo), GROUP.silos[silo].signing, int(at.timestamp()))
        for silo in silos
    ]
    return merge(note, lines, witnesses_of(CHARTER).keys)


def test_more_than_half_of_the_members_make_a_quorum() -> None:
    assert len(SILOS) == 4 and witnesses_of(CHARTER).quorum == 3
    assert witnesses_of(GROUP.charter(0)).quorum == 1


def test_work_goes_on_under_a_fresh_quorum() -> None:
    assert reason_to_wait(cosigned(checkpoint(), SILOS[:3]), CHARTER, NOW) is None


@pytest.mark.parametrize(
    ("note", "reason"),
    [
        ("", "was seen yet"),
        ("junk", "no evidence"),
        (checkpoint(), "these have: none"),
        (cosigned(checkpoint(), SILOS[:2]), f"3 witnesses must .* these have: .*{SILOS[0]}, .*{SILOS[1]}$"),
        (cosigned(checkpoint(charter="0" * 64), SILOS), "names the charter in force"),
        (cosigned(checkpoint(charter=None), SILOS), "names the charter in force"),
        (cosigned(checkpoint(Ed25519PrivateKey.generate()), SILOS), "no signature by key"),
        (cosigned(checkpoint(origin="another/log"), SILOS), "is of log another/log"),
        (cosigned(checkpoint(), SILOS, NOW - MAX_AGE - timedelta(seconds=1)), "these have: none"),
        (cosigned(checkpoint(), SILOS, NOW + timedelta(hours=1)), "these have: none"),
    ],
)
def test_work_waits_and_says_why(note: str, reason: str) -> None:
    said = reason_to_wait(note, CHARTER, NOW)
    assert said is not None and re.search(reason, said), said


def test_a_withheld_charter_is_noticed_after_a_day_at_the_latest() -> None:
    """The hub shows an old log, with its old cosignatures, which are all it can get."""
    held = cosigned(checkpoint(), SILOS)
    assert reason_to_wait(held, CHARTER, NOW + MAX_AGE) is None
    assert reason_to_wait(held, CHARTER, NOW + MAX_AGE + timedelta(seconds=1)) is not None


@settings(max_examples=300)
@given(members=st.integers(0, 256), liars=st.integers(0, 100))
def test_two_quorums_share_more_witnesses_than_may_lie(members: int, liars: int) -> None:
    quorum = (members + liars) // 2 + 1
    assert 2 * quorum - members > liars
