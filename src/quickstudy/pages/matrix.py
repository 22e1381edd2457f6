"""The confusion matrix of a page: true classes down, answers across."""

from __future__ import annotations

from collections.abc import Sequence

from quickstudy.pages.html import escape
from quickstudy.pages.pictures import letter

_WIDEST, _CELL = 620, 64  # pixels: of all, and of a class at most


def matrix(counts: Sequence[Sequence[int]], names: Sequence[str], heads: Sequence[str] | None = None) -> str:
    """Row: the true class; column: the answer; entries: how often. Blue is right, orange is a mistake.

    heads: HTML that stands for each class, such as a drawing; a letter if not given.
    """
    heads = heads or [f'<b title="{escape(name)}">{letter(label)}</b>' for label, name in enumerate(names)]
    cells = ["<span></span>"] + [f"<span>{head}</span>" for head in heads]
    for truth, row in enumerate(counts):
        cells.append(f"<span>{heads[truth]}</span>")
        for predicted, count in enumerate(row):
            share = count / max(1, sum(row))
            title = escape(f"{names[truth]} answered as {names[predicted]}: {count} of {sum(row)}")
            if not count:
                cells.append(f'<i class="zero" title="{title}"></i>')
                continue
            paint = "var(--accent)" if truth == predicted else "#e08a00"
            kind = "dark" if share > 0.6 and truth == predicted else ""
            cells.append(f'<i class="{kind}" style="--v:{share:.2f};--c:{paint}" title="{title}">{count}</i>')
    wide = min(_WIDEST, _CELL * (len(counts) + 1))
    return f'<div class="matrix" style="--n:{len(counts)};max-width:{wide}px">{"".join(cells)}</div>'
