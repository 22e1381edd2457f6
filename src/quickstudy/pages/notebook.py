"""What objects look like in a notebook: small tables that take the notebook's own colours."""

from __future__ import annotations

from collections.abc import Sequence

from quickstudy.pages.html import escape

_STYLE = (
    "<style>.qs{font-size:13px;line-height:1.4;overflow-x:auto}.qs table{border-collapse:collapse;margin:4px 0}"
    ".qs td,.qs th{text-align:left;padding:3px 14px 3px 0;border:0;vertical-align:middle;background:none}"
    ".qs th{font-weight:500;opacity:.65;white-space:nowrap}.qs tr{background:none;border-top:1px solid #8883}"
    ".qs .px{width:36px;max-width:none;image-rendering:pixelated;background:#fff}.qs .px.wide{width:108px}"
    ".qs .spark{width:52px;height:24px;fill:none;stroke:currentColor}.qs .cells{display:inline-flex;gap:8px}"
    ".qs .cells i{display:block;font-size:11px;opacity:.65}</style>"
)
_LONGEST = 160  # characters of a cell


class Html(str):
    """Text that is HTML already, such as a drawing."""


def card(title: str, rows: Sequence[tuple[str, str]]) -> str:
    """A title, and lines of a name and what it is."""
    lines = "".join(f"<tr><th>{escape(name)}</th><td>{_cell(value)}</td></tr>" for name, value in rows)
    return f'{_STYLE}<div class="qs"><b>{escape(title)}</b><table>{lines}</table></div>'


def grid(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], more: str = "") -> str:
    """A title, columns and rows. more: what is not shown, in words."""
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join(f"<tr>{''.join(f'<td>{_cell(cell)}</td>' for cell in row)}</tr>" for row in rows)
    rest = f"<div>{escape(more)}</div>" if more else ""
    return f'{_STYLE}<div class="qs"><b>{escape(title)}</b><table><tr>{head}</tr>{body}</table>{rest}</div>'


def lines(title: str, rows: Sequence[tuple[str, str]]) -> str:
    """The same as `card`, as text."""
    return "\n".join([title, *(f"  {name}: {' '.join(_short(value).split())}" for name, value in rows)])


def _cell(text: str) -> str:
    return text if isinstance(text, Html) else escape(_short(text))


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
