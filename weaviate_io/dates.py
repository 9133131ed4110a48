"""Dates and times of any common type to the RFC 3339 text that Weaviate keeps, to the nanosecond.

A time without a zone is refused unless a zone is given for such times. A local time that a clock shows twice
is the earlier one, unless its ``fold`` says otherwise (PEP 495).
"""

from __future__ import annotations

import re
from datetime import date, datetime, time, timezone, tzinfo
from typing import Any, Optional

import numpy as np
from apache_beam.utils.timestamp import Timestamp

_TEXT = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[Tt ](\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)?)?", re.ASCII
)
_NAIVE = "a date with a time zone; {} has none (set timezone= to say which is meant)"
_CALENDAR = "a time within the years 1 to 9999, in UTC and in its zone, not {}"
_NANOSECOND = np.timedelta64(1, "ns")


def rfc3339(value: Any, zone: Optional[tzinfo]) -> Optional[str]:
    """The text of a date or time, or ``None`` for a value that is neither.

    Args:
      value: RFC 3339 text, ``datetime``, ``date`` (its midnight), pandas or Beam ``Timestamp``, or
        ``numpy.datetime64``.
      zone: the zone of a value that names none.

    Raises ``ValueError`` saying what the value should have been.

    >>> rfc3339(datetime(2024, 5, 1, 12, 30), timezone.utc)
    '2024-05-01T12:30:00Z'
    """
    try:
        if isinstance(value, str):
            return _from_text(value, zone)
        if isinstance(value, np.datetime64):
            return _from_numpy(value, zone)
        if isinstance(value, Timestamp):
            return _from_datetime(value.to_utc_datetime(has_tz=True), zone)
        if isinstance(value, datetime):
            return _from_datetime(value, zone)
        if isinstance(value, date):
            return _from_datetime(datetime.combine(value, time()), zone)
    except OverflowError:  # moved out of the calendar by its zone
        raise ValueError(_CALENDAR.format(f"{value!s:.60}")) from None
    return None


def _from_text(text: str, zone: Optional[tzinfo]) -> str:
    match = _TEXT.fullmatch(text)
    if match is None:
        raise ValueError(f"an RFC 3339 time with its zone (2024-05-01T12:00:00Z), not {text!r:.60}")
    day, clock, fraction, offset = match.groups()
    fraction = fraction or ""
    if len(fraction.rstrip("0")) > 9:
        raise ValueError(f"a time to the nanosecond at most, not {text!r:.60}")
    if offset is None:
        moment = _existing(text, day, clock or "00:00:00")
        if zone is None:
            raise ValueError(_NAIVE.format(f"{text!r:.60}"))
        return _from_datetime(moment, zone, int(fraction[:9].ljust(9, "0")))
    # The server knows the year 0, Python does not; both are leap years.
    _existing(text, day.replace("0000-", "2000-", 1) if day.startswith("0000") else day, clock)
    return text if text[10] == "T" and not text.endswith("z") else text[:10] + "T" + text[11:].upper()


def _existing(text: str, day: str, clock: str) -> datetime:
    try:
        if clock >= "24":  # a way to write midnight that the server refuses
            raise ValueError
        return datetime.fromisoformat(f"{day}T{clock}")
    except ValueError:
        raise ValueError(f"a date and time that exist, not {text!r:.60}") from None


def _from_numpy(value: np.datetime64, zone: Optional[tzinfo]) -> str:
    second = value.astype("datetime64[s]")
    rest = value - second
    if rest % _NANOSECOND:
        raise ValueError(f"a time to the nanosecond at most, not {value}")
    moment = second.item()
    if not isinstance(moment, datetime):
        raise ValueError(_CALENDAR.format(value))
    return _from_datetime(moment, zone, int(rest // _NANOSECOND))


def _from_datetime(value: datetime, zone: Optional[tzinfo], nanoseconds: int = 0) -> str:
    """The text of a datetime of a whole second and nanoseconds, or of a datetime alone."""
    pandas: Any = value
    if hasattr(pandas, "to_pydatetime"):
        nanoseconds, value = pandas.nanosecond, pandas.to_pydatetime(warn=False)
    if nanoseconds >= 1_000:
        value = value.replace(microsecond=nanoseconds // 1_000)
    if value.utcoffset() is None:
        if zone is None:
            raise ValueError(_NAIVE.format(value))
        value = value.replace(tzinfo=zone)
    offset = value.utcoffset()
    if offset is None or offset.total_seconds() % 60:  # RFC 3339 has no seconds in offsets
        value = value.astimezone(timezone.utc)
    text = value.isoformat(timespec="seconds")
    fraction = f"{value.microsecond:06d}{nanoseconds % 1_000:03d}".rstrip("0")
    suffix = "Z" if text[19:] == "+00:00" else text[19:]
    return f"{text[:19]}.{fraction}{suffix}" if fraction else f"{text[:19]}{suffix}"
