"""When a step may be taken: windows of the week, in the wall clock of a time zone."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.windows import next_opening, window_from

OFFICE = "Mon-Fri 09:00-17:00 Europe/Berlin"
NIGHT = "Sat,Sun 22:00-04:00 UTC"


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("windows", "now", "opens"),
    [
        ([], "2026-01-05T03:00", None),
        ([OFFICE], "2026-01-05T08:00", None),  # Monday, 09:00 in Berlin
        ([OFFICE], "2026-01-05T07:59", "2026-01-05T08:00"),
        ([OFFICE], "2026-01-05T15:59", None),
        ([OFFICE], "2026-01-05T16:00", "2026-01-06T08:00"),
        ([OFFICE], "2026-01-09T16:00", "2026-01-12T08:00"),  # over the weekend
        ([OFFICE], "2026-07-06T07:00", None),  # in summer, Berlin is two hours ahead
        ([NIGHT], "2026-01-10T22:00", None),  # Saturday
        ([NIGHT], "2026-01-11T03:59", None),
        ([NIGHT], "2026-01-11T04:00", "2026-01-11T22:00"),
        ([NIGHT], "2026-01-12T03:59", None),  # Sunday's goes on into Monday
        ([NIGHT], "2026-01-12T22:00", "2026-01-17T22:00"),
        ([OFFICE, NIGHT], "2026-01-09T16:00", "2026-01-10T22:00"),
        (["Sat-Mon 00:00-24:00 UTC"], "2026-01-13T00:00", "2026-01-17T00:00"),
        (["daily 06:00-07:00 Asia/Kolkata"], "2026-01-05T00:30", None),
        # The clocks of Berlin go from 02:00 to 03:00 on 29 March, and from 03:00 back to 02:00 on 25 October.
        (["Sun 02:00-04:00 Europe/Berlin"], "2026-03-29T00:59", "2026-03-29T01:00"),
        (["Sun 02:15-02:45 Europe/Berlin"], "2026-03-28T12:00", "2026-04-05T00:15"),  # there is no 02:15 that day
        (["Sun 02:30-05:00 Europe/Berlin"], "2026-10-25T00:45", "2026-10-25T01:30"),  # the second 02:30
        (["Sun 00:00-02:30 Europe/Berlin"], "2026-10-25T00:30", "2026-10-31T23:00"),  # until the first 02:30
    ],
)
def test_a_step_waits_for_the_next_opening(windows, now, opens):
    assert next_opening(windows, utc(now)) == (utc(opens) if opens else None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must be days, hours and a time zone"),
        ("mon-fri 09:00-17:00 UTC", "must be days"),
        ("Mon 9:00-17:00 UTC", "must be days"),
        ("Mon 09:00-17:00", "must be days"),
        ("Mon 09:00-24:01 UTC", "24:01 is no time of day"),
        ("Mon 09:60-10:00 UTC", "09:60 is no time of day"),
        ("Mon 09:00-09:00 UTC", "begins when it ends"),
        ("Mon 24:00-09:00 UTC", "begins when it ends"),
        ("Mon 09:00-17:00 ../etc/passwd", "must be days"),
        ("Mon 09:00-17:00 Europe", "Europe is no time zone"),
        ("Mon 09:00-17:00 Europe/Atlantis", "Europe/Atlantis is no time zone"),
    ],
)
def test_what_is_no_window_is_refused_with_the_form(text, said):
    with pytest.raises(ValueError, match=said):
        window_from(text)


def test_the_time_zones_are_there_where_the_system_has_none():
    code = "from chalicelib.domain.windows import window_from; print(window_from('Mon 09:00-17:00 Europe/Berlin').zone)"
    found = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONTZPATH": ""}, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "Europe/Berlin"


zones = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"])
clocks = st.tuples(st.integers(0, 23), st.integers(0, 59)).map(lambda t: f"{t[0]:02}:{t[1]:02}")
day_names = st.sampled_from(["daily", "Mon-Fri", "Sun", "Sat-Mon", "Tue,Thu", "Wed-Wed"])
windows = st.tuples(day_names, clocks, clocks, zones).filter(lambda w: w[1] != w[2])
moments = st.datetimes(datetime(2025, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - naive bounds


def written(window) -> str:
    days, begin, end, zone = window
    return f"{days} {begin}-{end} {zone}"


@given(windows, moments)
def test_while_it_is_open_the_wall_clock_stands_within_the_window(window, now):
    _, begin, end, zone = window
    if next_opening([written(window)], now) is None:
        wall = f"{now.astimezone(ZoneInfo(zone)):%H:%M}"
        assert begin <= wall < end if begin < end else (wall >= begin or wall < end)


@given(windows, moments)
def test_the_next_opening_lies_ahead_within_two_weeks_and_is_open(window, now):
    opens = next_opening([written(window)], now)
    if opens:
        assert now < opens <= now + timedelta(days=15)
        assert next_opening([written(window)], opens) is None


@given(windows, moments, st.floats(0, 1))
def test_it_stays_closed_until_it_opens(window, now, part):
    opens = next_opening([written(window)], now)
    if opens and (between := now + (opens - now) * part * 0.999) < opens:
        assert next_opening([written(window)], between) == opens


@given(st.lists(windows, min_size=1, max_size=3), moments)
def test_of_several_windows_the_first_that_opens_counts(several, now):
    each = [next_opening([written(window)], now) for window in several]
    together = next_opening([written(window) for window in several], now)
    assert together == (None if None in each else min(each))
