"""The page of measured speed: `python -m benchmarks.page` writes docs/performance.md of benchmarks/results.json."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.figures import LENT, OURS, TARGETS, best_of, comparisons, figures, headline, targets
from quickstudy.storage.atomic import write_atomically
from quickstudy.storage.json import read_json

Figures = dict[str, float]
RESULTS = Path(__file__).parent / "results.json"
HEAD = """<!-- Made by `python -m benchmarks.page` of benchmarks/results.json. Do not edit. -->

# Performance

How fast quickstudy is, and how much memory it needs, beside other ways of doing the same on the same machine. `make
bench` measures, and writes this page. The contestants of a table take turns, and a time is the median over turns; only
in the sections on memory and compiling it is that of a single call. Each contestant of a meta-step has a process of its
own, as its users run it; memory, compiling and start-up are measured in a fresh process each. Nothing here says
anything about other machines, and differences of a few per cent are noise.
"""
HOW = {
    "meta-step": """A meta-step is the exact meta-gradient, averaged over the tasks, and a step of Adam along it, in
float32. Everyone gets the same tasks and the same initial parameters, and nothing is reported unless all give the same
meta-gradient; *difference* is how far from the one by hand rounding takes each, relative. Everyone in PyTorch uses the
fused Adam. JAX is asked in two ways, with nothing else tuned; its compiler is slow at convolutions on CPUs. The plan
that quickstudy's tuner chose by itself is marked, and stands for quickstudy in all comparisons; the other plans are
shown beside it. Compiling is not part of the times; see below.

Each contestant runs in a process of its own; while one computes, the others wait. With its defaults glibc, the C
library of most Linux systems, hands the memory of a large tensor back to the system when the tensor is freed, and the
system clears new pages for the next one. A run of quickstudy on a CPU raises two thresholds of glibc, so that its
process keeps what it frees. With convolutions this is a good part of the time, and quickstudy is not needed for it:
whoever uses another library has the same by starting Python with two variables of the environment,
`MALLOC_MMAP_THRESHOLD_=1073741824` and `MALLOC_TRIM_THRESHOLD_=2147483647`. So everyone in PyTorch is measured twice
there: as it is, and *with our allocator setting*. What is left of quickstudy's lead then is said below the table, and
among the targets, where it has no bound.""",
    "roofline": """What a meta-step with convolutions can come down to. The convolutions of the meta-gradient and their
derivatives, as quickstudy compiles them for all tasks side by side, are timed one by one, as PyTorch's library computes
them, with nothing in between: no normalisation, no copies, no optimizer. The meta-steps beside them are those of the
section above. Only faster convolutions, or fewer, would lead below that; the first line is the time in which the
machine does as much arithmetic in one large product of matrices.""",
    "memory": """Peak resident memory above what the process held before the step, after a small step to warm up, and
the time of the step.""",
    "episodes": """A DataLoader with a data set that gives out one image, a batch sampler that gives out the indices of
one episode, and a collate function. Libraries convert each image, as transforms do; a DataLoader is faster where the
images become floats only after they are stacked, and fastest where the data set can give out all images of an episode
at once, as images in memory allow, but files and transforms of single images do not.""",
    "adaptation": "Learning one new task with a network that was meta-trained, in eager code without gradients.",
    "compiling": """What the first compiled meta-step costs above a later one: tracing, compiling and comparing with
eager code, with an empty cache. A small network is compiled by the plan that the tuner would compile, Conv4 step by
step.""",
    "processes": """The same meta-step by the first process while the second waits, and by both, each with half of the
tasks; in turn.""",
    "start-up": """Medians over fresh processes. `import quickstudy` loads what is public when it is first used, so the
time to load all of it is given too.""",
}
TITLES = {
    "meta-step": "Meta-steps",
    "roofline": "What stands in the way with convolutions",
    "memory": "Memory",
    "episodes": "Episodes",
    "adaptation": "Learning one task",
    "compiling": "Compiling",
    "processes": "Several processes",
    "start-up": "Start-up",
}


def page(stored: Path) -> str:
    """The Markdown page of the results in the file `stored`."""
    if not stored.exists():
        return HEAD + "\nThere are no stored measurements yet.\n"
    results = read_json(stored)
    parts = [HEAD, _targets(results), _verdicts(results)]
    for section, title in TITLES.items():
        if section in results:
            tables = _TABLES[section](results[section]["found"], figures(results))
            parts.append(f"\n## {title}\n\n{HOW[section]}\n\n{tables}\n{_where(results[section]['where'])}\n")
    return "".join(parts)


def _table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    columns = list(columns)
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _where(where: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in where["versions"].items())
    quick = " **A quick run with few repetitions: not to be quoted.**" if where["quick"] else ""
    return (
        f"Measured {where['date']} at commit `{where['commit'] or 'unknown'}` with {where['threads']} threads on "
        f"{where['machine']}; {versions}; load before the run {where['load']:.1f}.{quick}"
    )


def duration(seconds: float) -> str:
    """'1.23 s', '45.6 ms' or '789 µs'."""
    for size, unit in ((1.0, "s"), (1e-3, "ms")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}" if seconds < 1000 else f"{seconds:.0f} s"
    return f"{seconds * 1e6:.3g} µs"


def ratio(value: float) -> str:
    """'2.35', '41.2', '130'."""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


_REACHED = {True: "yes", False: "**no**", None: ""}


def _targets(results: dict[str, Any]) -> str:
    rows = [
        [text, bound, "not measured" if value is None else f"{value:.3g}", _REACHED[met]]
        for text, bound, value, met in targets(results)
    ]
    return f"\n## Targets\n\n{_table(('what', 'target', 'measured', 'reached'), rows)}"


def _verdicts(results: dict[str, Any]) -> str:
    found = list(comparisons(results))
    words = {
        "loses": ("Where quickstudy loses", "quickstudy needs {} times as much"),
        "level": ("Where it makes no difference", "the ratio is {}"),
        "wins": ("Where quickstudy wins", "{} times better"),
    }
    text = ""
    for verdict, (title, phrase) in words.items():
        chosen = sorted((c for c in found if c.verdict == verdict), key=lambda c: c.ratio)
        lines = [
            f"- {c.what}, beside {c.other}: " + phrase.format(ratio(1 / c.ratio if verdict == "loses" else c.ratio))
            for c in chosen
        ]
        text += f"\n## {title}\n\n" + ("\n".join(lines) or "Nowhere in what is measured here.") + "\n"
    return text


def _meta_steps(found: list[dict[str, Any]], _: Figures) -> str:
    text = ""
    for problem in found:
        mine = headline(problem["rows"])
        fastest = min((row for row in problem["rows"] if row["family"] == OURS), key=lambda row: row["seconds"])
        rows = [
            [
                f"**{row['name']}** (chosen)" if row is mine else row["name"],
                duration(row["seconds"]),
                f"{duration(row['low'])} to {duration(row['high'])}",
                ratio(row["seconds"] / mine["seconds"]),
                f"{row['difference']:.0e}",
                str(row["turns"]),
            ]
            for row in sorted(problem["rows"], key=lambda row: row["seconds"])
        ]
        columns = ("who", "a meta-step", "quartiles", "times quickstudy's", "difference", "turns")
        text += f"### {problem['title'].capitalize()}, {problem['tasks']} tasks\n\n{_table(columns, rows)}\n"
        if fastest is not mine:
            part = 1 - fastest["seconds"] / mine["seconds"]
            text += f"The fastest plan, {fastest['name']}, was not chosen; it takes {100 * part:.0f} % less time.\n\n"
        plain, lent = (best_of(problem["rows"], family) for family in ("PyTorch", LENT))
        if plain is not None and lent is not None:
            text += (
                f"The best other way in PyTorch takes {ratio(plain / mine['seconds'])} times quickstudy's time as it "
                f"is, and {ratio(lent / mine['seconds'])} times with our allocator setting.\n\n"
            )
    return text.rstrip("\n") + "\n"


def _roofline(found: list[dict[str, Any]], known: Figures) -> str:
    text = ""
    for problem in found:
        work, step = problem["flops"], f"meta-step/{problem['name']}"
        alone = f"the {problem['calls']} convolutions alone, {work / problem['seconds'] / 1e9:.0f} GFLOP/s"
        rows = [
            (f"{work / 1e9:.1f} GFLOP at {problem['rate'] / 1e9:.0f} GFLOP/s", work / problem["rate"]),
            (alone, problem["seconds"]),
            ("what the target asks for", _asked(f"{step}/best of PyTorch", known)),
            ("the whole meta-step, as chosen", known.get(f"{step}/{OURS}")),
            ("the best other way in PyTorch, with our allocator setting", known.get(f"{step}/best of {LENT}")),
            ("the best other way in PyTorch", known.get(f"{step}/best of PyTorch")),
        ]
        cells = [[what, duration(seconds), ratio(seconds / problem["seconds"])] for what, seconds in rows if seconds]
        text += f"### {problem['title']}\n\n{_table(('what', 'time', 'over the convolutions'), cells)}\n"
    return text.rstrip("\n") + "\n"


def _asked(best: str, known: Figures) -> float | None:
    """Seconds that quickstudy may take so that the best other way takes as many times that as its target says."""
    bound = next((one["at_least"] for one in read_json(TARGETS) if one["over"] == best and "at_least" in one), None)
    return known[best] / bound if bound and best in known else None


def _memory(found: dict[str, Any], _: Figures) -> str:
    steps = sorted({row["steps"] for row in found["rows"]})
    names = list(dict.fromkeys(row["name"] for row in found["rows"]))
    cells = {(row["name"], row["steps"]): _memory_cell(row, found["limit"]) for row in found["rows"]}
    columns = ("who", *(f"{n} inner step{'s' if n > 1 else ''}" for n in steps))
    return f"{found['title']}.\n\n{_table(columns, [[n, *(cells[n, s] for s in steps)] for n in names])}"


def _memory_cell(row: dict[str, Any], limit: float) -> str:
    if "error" in row:
        return f"failed: {row['error']}".replace("|", "\\|")
    if row["bytes"] is None:
        return f"more than {limit / 1e9:.0f} GB"
    return f"{row['bytes'] / 1e9:.2f} GB, {duration(row['seconds'])}"


def _episodes(found: dict[str, Any], _: Figures) -> str:
    mine = next(row for row in found["rows"] if row["name"] == OURS)
    rows = [
        [row["name"], f"{row['per_second']:,.0f}", ratio(mine["per_second"] / row["per_second"])]
        for row in found["rows"]
    ]
    return f"{found['title']}.\n\n{_table(('who', 'episodes/s', 'quickstudy is faster by'), rows)}"


def _seconds(found: dict[str, Any], _: Figures) -> str:
    rows = [[row["name"], row.get("error") or duration(row["seconds"])] for row in found["rows"]]
    return f"{found['title'][0].upper()}{found['title'][1:]}.\n\n{_table(('what', 'time'), rows)}"


def _compiling(found: dict[str, Any], _: Figures) -> str:
    rows = [
        [
            row["name"],
            row.get("error") or duration(row["seconds"]),
            f"{row['difference']:.0e}" if "difference" in row else "",
        ]
        for row in found["rows"]
    ]
    columns = ("what", "time", "difference from eager code, float64")
    return f"{found['title'][0].upper()}{found['title'][1:]}.\n\n{_table(columns, rows)}"


_TABLES: dict[str, Any] = {
    "meta-step": _meta_steps,
    "roofline": _roofline,
    "memory": _memory,
    "episodes": _episodes,
    "adaptation": _seconds,
    "compiling": _compiling,
    "processes": _seconds,
    "start-up": _seconds,
}


def main(arguments: list[str]) -> None:
    """Write the page. arguments: the file of results and the page, if they are not in their usual places."""
    stored, out = (Path(a) for a in (arguments or [str(RESULTS), "docs/performance.md"]))
    write_atomically(out, page(stored).encode())
    print(out)


if __name__ == "__main__":
    main(sys.argv[1:])
