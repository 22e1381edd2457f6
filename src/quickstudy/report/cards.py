"""Cards of one task, example by example: rows of framed drawings by class, or a list with labels and answers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from quickstudy.episode import Features, leaves, map_features
from quickstudy.formats.base import Format
from quickstudy.formats.drawing import Drawing, Picture, Text
from quickstudy.pages.html import escape
from quickstudy.pages.pictures import framed, letter, painted, rendered
from quickstudy.report.measure import Drawn
from quickstudy.targets.distribution import Distribution

_ASKED = 14  # queries of a class that are drawn at most: one row of a page
_GIVEN = 10  # and support examples of it
_LISTED = (4, 7)  # support examples and queries of a list

KEY = (
    '<div class="key"><span><span class="frame"></span>frame: the class it answered</span>'
    '<span><span class="frame wrong"></span>✕ and letter: a mistake, and what it was taken for</span></div>'
)


_BLANK = Text("·")


def drawings(format: Format, x: Features) -> list[Drawing] | None:
    """Every example of x (n, …) drawn, those that cannot be as a point; None where the format draws nothing."""
    drawn = [format.draw(map_features(partial(torch.select, dim=0, index=i), x)) for i in range(len(leaves(x)[0]))]
    return [_BLANK if one is None else one for one in drawn] if any(one is not None for one in drawn) else None


def a_drawing(format: Format, *some: Features) -> Drawing | None:
    """The first example that can be drawn; None where the format draws nothing."""
    drawn = (one for x in some for one in drawings(format, x) or ())
    return next((one for one in drawn if one is not _BLANK), None)


def class_card(task: Drawn, title: str, value: str | None = None) -> str:
    """One row a class: its support examples, then its queries framed by the predicted class."""
    support, query = task.episode
    given, asked = (drawings(task.spec.format, part.x) or [_BLANK] * len(part.y) for part in (support, query))
    predicted, truth, rows = task.predicted, task.truth, []
    labels = support.y.tolist()
    for label, name in enumerate(task.names):
        shown = [framed(one, label, name) for one, y in zip(given, labels, strict=True) if y == label]
        if not shown:
            continue
        more = f'<i class="more">+ {len(shown) - _GIVEN}</i>' if len(shown) > _GIVEN else ""
        answers = []
        for i in [i for i, y in enumerate(truth) if y == label][:_ASKED]:
            note = f"{name}, answered {task.names[predicted[i]]}"
            answers.append(framed(asked[i], predicted[i], note, wrong=predicted[i] != label))
        rows.append(
            f'<div class="row"><div class="given"><i>{letter(label)}</i>{"".join(shown[:_GIVEN])}{more}</div>'
            f'<div class="asked">{"".join(answers)}</div></div>'
        )
    return _card(title, task.told if value is None else value, "".join(rows))


def list_card(task: Drawn, title: str, answers: Sequence[str] | None = None, value: str | None = None) -> str:
    """Some support examples with their labels, and some queries with the truth and the answer.

    answers: to all queries as people read them, and value: of the headline; what `task` says if not given.
    """
    spec, (support, query) = task.spec, task.episode
    if answers is None:
        said = spec.target.answer(Distribution(task.output, task.spread), task.names)
        answers = [said.told(i) for i in range(len(said))]
    said_maps, parts = spec.target.painted(task.output), []
    for part, most in zip((support, query), _LISTED, strict=True):
        places = _evenly(len(part.y), most)
        index = torch.tensor(places, device=part.y.device)
        chosen = map_features(partial(torch.index_select, dim=0, index=index), part.x)
        shown = drawings(spec.format, chosen) or [_BLANK] * len(places)
        labels = spec.target.told(part.y[index], task.names)
        if said_maps is not None:
            shown = [painted(one, ids) for one, ids in zip(shown, part.y[index], strict=True)]
        parts.append([(i, rendered(o, label), label) for i, o, label in zip(places, shown, labels, strict=True)])
    given, asked = parts
    label = f"label ({spec.target.units})" if spec.target.units else "label"
    rows = _heads(f"{_some(len(given), len(support.y))} given", label, "")
    rows += "".join(f"<tr><td>{drawing}</td><td>{escape(label)}</td><td></td></tr>" for _, drawing, label in given)
    rows += _heads(f"{_some(len(asked), len(query.y))} new", "truth", "answer")
    doubts = spec.target.doubted(task.output)
    plain = drawings(spec.format, query.x) if said_maps is not None else None
    mistaken = [p != t for p, t in zip(task.predicted, task.truth, strict=True)] if task.predicted else []
    for i, drawing, label in asked:
        kind = ' class="wrong"' if mistaken and mistaken[i] else ""
        answer = escape(answers[i])
        if said_maps is not None and plain is not None:
            answer = f"{rendered(painted(plain[i], said_maps[i]), answers[i])} {answer}"
            answer += "" if doubts is None else f" {rendered(_grey(doubts[i]), 'where it is unsure')}"
        rows += f"<tr><td>{drawing}</td><td>{escape(label)}</td><td{kind}>{answer}</td></tr>"
    return _card(title, task.told if value is None else value, f'<table class="told">{rows}</table>')


def _grey(values: Tensor) -> Picture:
    """Numbers (height, width) in [0, 1] as a picture, 1 white."""
    return Picture((255 * values[None]).round().to(torch.uint8))


def _evenly(count: int, most: int) -> list[int]:
    """The places of at most `most` of `count` examples, from all over: those of one class may lie together."""
    return [i * count // most for i in range(most)] if count > most else list(range(count))


def _some(shown: int, count: int) -> str:
    return f"{shown} of {count:,}" if shown < count else f"{count:,}"


def _heads(*names: str) -> str:
    return "<tr>" + "".join(f"<th>{escape(name)}</th>" for name in names) + "</tr>"


def _card(title: str, value: str, body: str) -> str:
    return f'<div class="task"><h3>{escape(title)}<span>{escape(value)}</span></h3>{body}</div>'
