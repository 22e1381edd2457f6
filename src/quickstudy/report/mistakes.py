"""Where it fails: the confusion matrix of one large task, and the pairs of classes it takes for each other."""

from __future__ import annotations

from typing import Any

from quickstudy.formats.drawing import Drawing
from quickstudy.pages.html import Section, escape
from quickstudy.pages.matrix import matrix
from quickstudy.pages.pictures import rendered
from quickstudy.report.cards import drawings
from quickstudy.report.measure import Drawn, confusion

_PAIRS = 4


def worst_pairs(counts: list[list[int]]) -> list[tuple[int, int, int]]:
    """(true class, predicted class, how often), most frequent first; every pair of classes in one direction only."""
    pairs: list[tuple[int, int, int]] = []
    wrong = [(n, t, p) for t, row in enumerate(counts) for p, n in enumerate(row) if n and p != t]
    for n, truth, predicted in sorted(wrong, key=lambda entry: (-entry[0], entry[1:])):
        if not any({truth, predicted} == {t, p} for t, p, _ in pairs):
            pairs.append((truth, predicted, n))
    return pairs[:_PAIRS]


def mistakes(task: Drawn) -> tuple[Section, dict[str, Any]]:
    """The section about one large task with a single support example of each class, and its numbers."""
    counts, metric = confusion(task), task.spec.target.metric
    ways, asked, names = len(counts), sum(counts[0]), task.names
    guessed = task.spec.target.score(task.spec.target.baseline(*task.episode), task.episode.query)
    text = (
        f"One harder task: {ways} new classes, a single {task.spec.format.example} of each, {asked} questions about "
        f"each: {task.told} ({task.spec.target.guess}: {metric.number(float(guessed))}). Rows are the true class, "
        "columns the answer: blue on the diagonal is right, orange off it is a mistake."
    )
    pairs = worst_pairs(counts)
    numbers = {
        "ways": ways,
        "queries": asked,
        metric.name: task.value,
        "classes": names,
        "counts": counts,
        "most_confused": [{"true": names[t], "predicted": names[p], "count": n} for t, p, n in pairs],
    }
    examples = _examples(task)
    return Section(
        "Where it fails", text, matrix(counts, names, _heads(task, examples)) + _pairs(task, pairs, examples, asked)
    ), numbers


def _examples(task: Drawn) -> list[Drawing] | None:
    """The support example of each class, drawn."""
    shown, labels = drawings(task.spec.format, task.episode.support.x), task.episode.support.y.tolist()
    return None if shown is None else [shown[labels.index(label)] for label in range(task.spec.ways)]


def _heads(task: Drawn, examples: list[Drawing] | None) -> list[str] | None:
    """Small drawings of the classes, where there are any."""
    if examples is None or not any(one.small for one in examples):
        return None
    return [rendered(one, name) for one, name in zip(examples, task.names, strict=True)]


def _pairs(task: Drawn, pairs: list[tuple[int, int, int]], examples: list[Drawing] | None, asked: int) -> str:
    shown = drawings(task.spec.format, task.episode.query.x)
    if not pairs or examples is None or shown is None:
        return ""
    names, cards = task.names, []
    for truth, predicted, count in pairs:
        both = zip(task.truth, task.predicted, strict=True)
        example = next(i for i, (t, p) in enumerate(both) if t == truth and p == predicted)
        side_by_side = (
            ("asked", shown[example], names[truth]),
            ("its class", examples[truth], names[truth]),
            ("answered", examples[predicted], names[predicted]),
        )
        figures = "".join(f"<figure>{rendered(one, name)}{what}</figure>" for what, one, name in side_by_side)
        kind = "pair" if examples[0].small else "pair wide"
        cards.append(
            f'<div class="{kind}"><div>{figures}</div>{_readable(names[truth])} taken for '
            f"{_readable(names[predicted])}, {count} of {asked} times.</div>"
        )
    heading = '<p class="note" style="margin-top:22px">The classes it mixes up most, side by side:</p>'
    return f'{heading}<div class="pairs">{"".join(cards)}</div>'


def _readable(name: str) -> str:
    return f"<b>{escape(name.replace('_', ' ').replace('/', ' / '))}</b>"
