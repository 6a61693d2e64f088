import pytest

from protocol.errors import Malformed
from protocol.period import ALWAYS, Period, parse_period


def test_a_date_at_the_end_belongs_to_the_period_whole():
    period = parse_period("2026-03-01", "2026-03-31")
    assert period == Period("2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z")
    assert "2026-03-01T00:00:00Z" in period
    assert "2026-03-31T23:59:59Z" in period
    assert "2026-04-01T00:00:00Z" not in period
    assert "2026-02-28T23:59:59Z" not in period


def test_a_time_at_the_end_does_not_belong_to_the_period():
    period = parse_period("2026-03-31T12:00:00Z", "2026-03-31T12:00:01Z")
    assert "2026-03-31T12:00:00Z" in period
    assert "2026-03-31T12:00:01Z" not in period


def test_another_zone_is_counted_in_utc_and_none_is_utc():
    assert parse_period("2026-03-31T14:00:00+02:00", None).since == "2026-03-31T12:00:00Z"
    assert parse_period("2026-03-31T12:00", None).since == "2026-03-31T12:00:00Z"


def test_without_ends_everything_is_in_it():
    assert parse_period(None, None) == ALWAYS
    assert "1970-01-01T00:00:00Z" in ALWAYS


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "2026-02-30", "", "2026-03-31T12:00:00.5Z", "9999-12-31"])
def test_what_is_no_date_or_time_is_refused_with_its_name(text):
    with pytest.raises(Malformed, match=r"^from: "):
        parse_period(text, None)


def test_an_end_before_the_beginning_is_refused():
    with pytest.raises(Malformed, match="is empty"):
        parse_period("2026-03-31", "2026-03-30")
    with pytest.raises(Malformed, match="is empty"):
        parse_period("2026-03-31T12:00:00Z", "2026-03-31T12:00:00Z")
