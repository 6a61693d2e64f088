"""Fixed windows: so many a minute and an address, then a wait that is told."""

import pytest

from hub.errors import TooOften
from hub.services import limits
from hub.services.limits import FixedWindow, source_of


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_an_address_may_ask_as_often_as_the_limit_says_and_again_in_the_next_minute(clock: Clock) -> None:
    window = FixedWindow(3, clock)
    for _ in range(3):
        window.check("192.0.2.1")
    with pytest.raises(TooOften, match="3 such requests") as refused:
        window.check("192.0.2.1")
    assert refused.value.retry_after_s == 21
    clock.now += refused.value.retry_after_s
    window.check("192.0.2.1")


def test_one_address_does_not_use_up_anothers_limit(clock: Clock) -> None:
    window = FixedWindow(1, clock)
    window.check("192.0.2.1")
    window.check("192.0.2.2")
    with pytest.raises(TooOften):
        window.check("192.0.2.1")


def test_addresses_of_one_ipv6_network_count_as_one() -> None:
    assert source_of("2001:db8::1") == source_of("2001:db8::ffff:1") == "2001:db8::/64"
    assert source_of("2001:db8:0:1::1") != source_of("2001:db8::1")
    assert source_of("::ffff:192.0.2.1") == "192.0.2.1"
    assert source_of("fe80::1%eth0") == "fe80::/64"


def test_many_addresses_take_no_more_memory_and_share_what_is_left(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_ADDRESSES", 10)
    window = FixedWindow(2, clock)
    for number in range(12):
        window.check(f"192.0.2.{number}")
    with pytest.raises(TooOften):
        window.check("192.0.2.99")
    window.check("192.0.2.1")  # known before the flood
    assert len(window._counts) == 11
