"""Numbers and dates that are written as people write them, and not as they are read: '$1,200', '71,5 m²', '24.12.2024'.

They are not guessed at, since 1,200 is one number in New York and another in Berlin; whoever wrote them is told. Only
where semicolons separate columns is a comma known to be a decimal one, and 24.12.2024 a date.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

_SPACE = " \u00a0\u202f"
_NUMBER = re.compile(
    rf"(?P<before>[^\w.,+-]*)[+-]?(?P<digits>\d{{1,3}}(?:[.,'{_SPACE}]\d{{3}})+(?:[.,]\d+)?|\d+(?:[.,]\d+)?)"
    rf"(?P<after>[{_SPACE}]?[^\d{_SPACE}]*)"
)
_COMMA = re.compile(r"\s*[+-]?(\d+|\d{1,3}(\.\d{3})+),\d+(e[+-]?\d+)?\s*", re.IGNORECASE)
_DATE = re.compile(r"(\d{1,2}[./-]\d{1,2}[./-](\d{2}|\d{4})|\d{4}[./-]\d{1,2}[./-]\d{1,2})(\D.*)?")

_DAY_FIRST = re.compile(r"\d{1,2}\.\d{1,2}\.\d{4}(?P<time>[ T]\d{1,2}:\d{2}(?P<seconds>:\d{2})?)?")


def with_point(cell: str) -> str:
    """A number that is written with a decimal comma, with a point; anything else as it is.

    >>> with_point("-71,5"), with_point("1.234,50"), with_point("a, b")
    ('-71.5', '1234.50', 'a, b')
    """
    if not _COMMA.fullmatch(cell):
        return cell
    return cell.replace(".", "").replace(",", ".")


def year_first(cell: str) -> str:
    """A date that is written day.month.year, perhaps with a time, as ISO 8601 has it; anything else as it is.

    >>> year_first("24.12.2024"), year_first("1.3.2024 9:05"), year_first("31.2.2024")
    ('2024-12-24', '2024-03-01T09:05:00', '31.2.2024')
    """
    text = cell.strip()
    if not (found := _DAY_FIRST.fullmatch(text)):
        return cell
    time = f" %H:%M{':%S' if found['seconds'] else ''}" if found["time"] else ""
    try:
        when = datetime.strptime(text.replace("T", " "), f"%d.%m.%Y{time}")
    except ValueError:  # no day of the calendar
        return cell
    return when.isoformat() if time else when.date().isoformat()


def written_otherwise(texts: Sequence[str]) -> str:
    """What texts look like that are neither read as numbers nor as dates, and how to write them; '' for any others.

    >>> written_otherwise(["$1,200.50", "$850.00"])
    "numbers that are written otherwise, such as '$1,200.50'. Write digits and a decimal point alone, as in 1200.5"
    >>> written_otherwise(["red", "green"])
    ''
    """
    dates = [text for text in texts if _DATE.fullmatch(text)]
    if 2 * len(dates) > len(texts):
        return f"dates that are written otherwise, such as {dates[0]!r:.40}. Write them as 2024-12-31"
    numbers = [(text, found) for text in texts if (found := _NUMBER.fullmatch(text))]
    units = {(found["before"], found["after"]) for _, found in numbers}
    if len(numbers) < len(texts) or len(units) > 1 or len(texts) < 2:
        return ""
    return (
        f"numbers that are written otherwise, such as {numbers[0][0]!r:.40}. Write digits and a decimal point alone, "
        "as in 1200.5"
    )
