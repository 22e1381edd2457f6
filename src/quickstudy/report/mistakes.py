"""Where it fails: the confusion matrix of one large task, and the pairs of classes it takes for each other."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from quickstudy.episode import TaskSpec
from quickstudy.pages.html import Section, escape
from quickstudy.pages.pictures import are_images, letter, picture
from quickstudy.report.measure import Drawn, confusion

_PAIRS = 4


def worst_pairs(counts: list[list[int]]) -> list[tuple[int, int, int]]:
    """(true class, predicted class, how often), most frequent first; every pair of classes in one direction only."""
    found: list[tuple[int, int, int]] = []
    wrong = [(n, t, p) for t, row in enumerate(counts) for p, n in enumerate(row) if n and p != t]
    for n, truth, predicted in sorted(wrong, key=lambda entry: (-entry[0], entry[1:])):
        if not any({truth, predicted} == {t, p} for t, p, _ in found):
            found.append((truth, predicted, n))
    return found[:_PAIRS]


def mistakes(task: Drawn, spec: TaskSpec) -> tuple[Section, dict[str, Any]]:
    """The section about one large task with a single support example of each class, and its numbers."""
    counts = confusion(task)
    ways, asked = len(counts), sum(counts[0])
    names = task.names or [letter(i) for i in range(ways)]
    text = (
        f"One harder task: {ways} new classes, a single example of each, {asked} questions about each; "
        f"{100 * task.accuracy:.0f} % are answered correctly (chance: {100 / ways:.0f} %). Rows are the true class, "
        "columns the answer: blue on the diagonal is right, orange off it is a mistake."
    )
    pairs = worst_pairs(counts)
    body = _matrix(task, counts, names, spec) + _pairs(task, pairs, names, spec, asked)
    numbers = {
        "ways": ways,
        "queries": asked,
        "accuracy": task.accuracy,
        "classes": names,
        "counts": counts,
        "most_confused": [{"true": names[t], "predicted": names[p], "count": n} for t, p, n in pairs],
    }
    return Section("Where it fails", text, body), numbers


def _heads(task: Drawn, spec: TaskSpec, names: list[str]) -> list[str]:
    x, y = task.episode.support.x, task.episode.support.y.tolist()
    if isinstance(x, Tensor) and are_images(spec):
        return [picture(x[y.index(label)], spec, name) for label, name in enumerate(names)]
    return [f'<b title="{escape(name)}">{letter(label)}</b>' for label, name in enumerate(names)]


def _matrix(task: Drawn, counts: list[list[int]], names: list[str], spec: TaskSpec) -> str:
    heads = _heads(task, spec, names)
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
    return f'<div class="matrix" style="--n:{len(counts)}">{"".join(cells)}</div>'


def _pairs(task: Drawn, pairs: list[tuple[int, int, int]], names: list[str], spec: TaskSpec, asked: int) -> str:
    support, query = task.episode
    if not pairs or not isinstance(support.x, Tensor) or not isinstance(query.x, Tensor) or not are_images(spec):
        return ""
    labels, cards = support.y.tolist(), []
    for truth, predicted, count in pairs:
        both = zip(task.truth, task.predicted, strict=True)
        example = next(i for i, (t, p) in enumerate(both) if t == truth and p == predicted)
        images = (
            ("asked", query.x[example], names[truth]),
            ("its class", support.x[labels.index(truth)], names[truth]),
            ("answered", support.x[labels.index(predicted)], names[predicted]),
        )
        figures = "".join(f"<figure>{picture(x, spec, name)}{what}</figure>" for what, x, name in images)
        cards.append(
            f'<div class="pair"><div>{figures}</div>{_readable(names[truth])} taken for '
            f"{_readable(names[predicted])}, {count} of {asked} times.</div>"
        )
    heading = '<p class="note" style="margin-top:22px">The classes it mixes up most, side by side:</p>'
    return f'{heading}<div class="pairs">{"".join(cards)}</div>'


def _readable(name: str) -> str:
    return f"<b>{escape(name.replace('_', ' ').replace('/', ' / '))}</b>"
