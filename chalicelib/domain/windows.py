"""Maintenance windows: when a step may be taken, as `Mon-Fri 09:00-17:00 Europe/Berlin`.

A window is read for each day anew and becomes two moments, so that a change of the clocks is no special case. Where a
wall clock shows a time twice or never, the later reading of the beginning and the earlier of the end count: by no
reading is a step taken outside. `zoneinfo` reads the time zones from files; they are a table of constants, like those
of `unicodedata`: the same names and moments give the same answer for as long as the table is the same.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DAY = timedelta(days=1)
_AHEAD = 16  # days: a weekly window whose hour a change of the clocks takes away is there a week later
_DAY_NAMES = "|".join(_DAYS)
_FORM = re.compile(
    rf"(?P<days>daily|(?:{_DAY_NAMES})(?:[-,](?:{_DAY_NAMES}))*) "
    r"(?P<begin>\d\d:\d\d)-(?P<end>\d\d:\d\d) (?P<zone>[A-Za-z][\w+-]*(?:/[\w+-]+){0,2})",
    re.ASCII,
)
RULE = "days, hours and a time zone, such as Mon-Fri 09:00-17:00 Europe/Berlin"


@dataclass(frozen=True)
class Window:
    """On each of the days (0 is Monday) from `begin` until `end`, both since that day's midnight."""

    days: frozenset[int]
    begin: timedelta
    end: timedelta  # past a day for what goes on after midnight
    zone: ZoneInfo


@lru_cache(maxsize=256)
def window_from(text: str) -> Window:
    """Read a window; raises ValueError with what is wrong."""
    found = _FORM.fullmatch(" ".join(text.split()))
    if not found:
        raise ValueError(f"must be {RULE}")
    begin, end = _clock(found["begin"]), _clock(found["end"])
    if begin == end or begin >= _DAY:
        raise ValueError("begins when it ends: for a whole day say 00:00-24:00")
    return Window(_days(found["days"]), begin, end if end > begin else end + _DAY, _zone(found["zone"]))


def next_opening(windows: Sequence[str], now: datetime) -> datetime | None:
    """Return when the next window opens; None while one is open, and where there are none."""
    spans = [span for text in windows for span in _spans(window_from(text), now)]
    if not windows or any(begin <= now < end for begin, end in spans):
        return None
    return min(begin for begin, _ in spans if begin > now)


def _spans(window: Window, now: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Yield beginning and end of each time that it is open, from yesterday's on."""
    today = now.astimezone(window.zone).date()
    for day in (today + n * _DAY for n in range(-1, _AHEAD)):
        begin = max(_readings(day, window.begin, window.zone))
        end = min(_readings(day, window.end, window.zone))
        if day.weekday() in window.days and begin < end:
            yield begin, end


def _readings(day: date, after: timedelta, zone: ZoneInfo) -> list[datetime]:
    """Return the one or two moments at which a day's clocks show a time."""
    wall = datetime.combine(day, time()) + after
    return [wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)]


def _clock(text: str) -> timedelta:
    hours, minutes = (int(part) for part in text.split(":"))
    after = timedelta(hours=hours, minutes=minutes)
    if minutes >= 60 or after > _DAY:  # noqa: PLR2004 - minutes of an hour
        raise ValueError(f"{text} is no time of day: give 00:00 to 24:00")
    return after


def _days(text: str) -> frozenset[int]:
    if text == "daily":
        return frozenset(range(7))
    return frozenset(day for part in text.split(",") for day in _from_to(part))


def _from_to(text: str) -> Iterator[int]:
    """Yield the days of `Mon` or `Fri-Mon`."""
    first, *last = (_DAYS.index(name) for name in text.split("-"))
    for n in range(((last[-1] if last else first) - first) % 7 + 1):
        yield (first + n) % 7


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"{name} is no time zone that is known here: give one such as Europe/Berlin or UTC") from error
