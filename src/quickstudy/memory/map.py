"""The map of a bank: tasks in the plane, their neighbours, and who started from whom, as one page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from quickstudy.errors import DataError
from quickstudy.memory.bank import Bank
from quickstudy.memory.entry import Entry
from quickstudy.memory.health import usefulness
from quickstudy.pages.charts import PALETTE, Points, Trace, line_chart, map_chart, require_matplotlib
from quickstudy.pages.html import Section, chart, charts, escape, header, page, tile, tiled
from quickstudy.storage.atomic import write_text
from quickstudy.targets.metric import Metric, headline

_LISTED, _NEIGHBOURS = 40, 3
_NUMBER = ' style="white-space:nowrap"'


def projected(vectors: Tensor) -> tuple[Tensor, tuple[float, float]]:
    """The two directions of largest variance: coordinates (n, 2), and the shares of the variance that they hold."""
    centred = vectors - vectors.mean(0)
    left, sizes, _ = torch.linalg.svd(centred, full_matrices=False)
    places = F.pad(left * sizes, (0, max(0, 2 - len(sizes))))[:, :2]
    shares = F.pad(sizes.square() / sizes.square().sum().clamp(min=1e-30), (0, 2))
    return places, (float(shares[0]), float(shares[1]))


def group_of(entry: Entry) -> str:
    """What a task's name says before its number, such as its alphabet."""
    return entry.name.rpartition(" ")[0] or entry.name


def neighbours(vectors: Tensor, count: int = _NEIGHBOURS, first: int | None = None) -> list[list[tuple[int, float]]]:
    """For each of the `first` of n vectors (all, if not given) the `count` nearest others, by cosine."""
    unit = F.normalize(vectors, dim=1)
    cosines = unit[:first] @ unit.T
    cosines.fill_diagonal_(-torch.inf)
    values, rows = cosines.topk(min(count, len(unit) - 1), dim=1)
    return [list(zip(r, v, strict=True)) for r, v in zip(rows.tolist(), values.tolist(), strict=True)]


def write_map(bank: Bank, path: str | Path) -> Path:
    """Write the page. Raises DataError for a bank of fewer than two entries, MissingExtra without matplotlib."""
    require_matplotlib()
    entries = bank.entries()
    if len(entries) < 2:
        raise DataError(f"A map needs at least two tasks, and the bank at {bank.uri} has {len(entries)}.")
    vectors = torch.stack([entry.descriptor for entry in entries])
    places, shares = projected(F.normalize(vectors, dim=1))
    sizes = Counter(group_of(entry) for entry in entries)
    groups = [name for name, _ in sizes.most_common()]
    number = {entry.id: index for index, entry in enumerate(entries)}
    known = [[number[parent] for parent in entry.parents if parent in number] for entry in entries]
    arrows = [(i, parents[0]) for i, parents in enumerate(known) if parents]
    points = Points(places[:, 0].tolist(), places[:, 1].tolist(), [groups.index(group_of(e)) for e in entries])
    labels = [f"direction {i + 1} ({100 * share:.0f} % of the variance)" for i, share in enumerate(shares)]
    drawn = map_chart(points, groups, arrows, *labels)
    top = header("Memory of tasks", Path(bank.uri).name or bank.uri, "", tiled(_tiles(entries)))
    sections = [
        Section(
            "Map of the tasks",
            "Each point is a task; near points are described alike. A line leads from a task to the nearest of those "
            "that it started from. Colours are groups of tasks by name.",
            charts(chart(drawn), wide=True),
        ),
        *_growth(entries),
        Section("Nearest neighbours", _listed(len(entries)), _table(entries, vectors)),
    ]
    path = Path(path)
    signatures = ", ".join(sorted({entry.signature for entry in entries}))
    facts = [("bank", bank.uri), ("φ", ", ".join(bank.phi.ids())), ("signatures", signatures)]
    write_text(path, page("Memory of tasks", top, sections, facts, "Written by quickstudy."))
    return path


def _tiles(entries: Sequence[Entry]) -> str:
    tiles = tile("remembered tasks", f"{len(entries):,}", main=True)
    tiles += tile("started from memories", f"{sum(bool(e.parents) for e in entries):,}", "of these tasks")
    return tiles + tile("stored", f"{sum(e.size for e in entries) / 1e6:,.1f} MB", f"as {entries[-1].codec}")


def _metric(entries: Sequence[Entry]) -> Metric | None:
    """The headline that the entries have, if there is one."""
    return headline({name: value for entry in entries for name, value in entry.metrics.items()})


def _growth(entries: Sequence[Entry]) -> list[Section]:
    """How well each task was learned, in the order in which they came; running means over a tenth of them."""
    metric = _metric(entries)
    if metric is None or sum(metric.name in entry.metrics for entry in entries) < 10:
        return []
    values = torch.tensor(
        [metric.scale * entry.metrics[metric.name] for entry in entries if metric.name in entry.metrics]
    )
    width = max(3, len(values) // 10)
    means = values.unfold(0, width, 1).mean(1).tolist()
    places = [float(width + i) for i in range(len(means))]
    traces = [
        Trace("each task", [float(i + 1) for i in range(len(values))], values.tolist(), faint=True),
        Trace(f"mean of {width}", places, means, colour=PALETTE[1]),
    ]
    drawn = line_chart(
        traces, "task", metric.axis, top=104 if metric.percent else None, bottom=min(0.0, float(values.min())),
        description=metric.words,
    )  # fmt: skip
    return [
        Section(
            "Task after task", "How well each task was learned, in the order of their coming.", charts(chart(drawn))
        )
    ]


def _listed(count: int) -> str:
    return "Which remembered tasks are most alike, by the cosine of their descriptions." + (
        f" The first {_LISTED} of {count:,} tasks." if count > _LISTED else ""
    )


def _table(entries: Sequence[Entry], vectors: Tensor) -> str:
    used, metric = usefulness(entries), _metric(entries)
    rows = (
        "<tr>"
        + "".join(
            f"<td{_NUMBER}>{name}</td>" for name in ("task", "nearest", "used by", metric.label if metric else "")
        )
        + "</tr>"
    )
    for entry, near in zip(entries, neighbours(vectors, first=_LISTED), strict=False):
        names = ", ".join(f"{entries[i].name} ({value:.2f})" for i, value in near)
        figure = metric.number(entry.metrics[metric.name]) if metric and metric.name in entry.metrics else ""
        cells = (entry.name, names, f"{used[entry.id]:.1f}", figure)
        styles = ("", "", _NUMBER, _NUMBER)
        rows += "".join(["<tr>", *(f"<td{s}>{escape(c)}</td>" for s, c in zip(styles, cells, strict=True)), "</tr>"])
    return f"<table>{rows}</table>"
