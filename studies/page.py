"""The page of the studies: `python -m studies.page` writes docs/studies.md of studies/results/*.json."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from quickstudy.storage.atomic import write_atomically
from quickstudy.storage.json import read_json
from studies.adaptshot_page import adaptshot
from studies.agents_page import agents, agents_speed
from studies.chosen_page import chosen
from studies.common import RESULTS, interval, slope
from studies.deployed_page import exported, in_browser, served
from studies.encoders_page import encoders, frozen, networks
from studies.experience_page import experience
from studies.growing_page import growing
from studies.lines_page import continued, lines
from studies.many_page import many, many_adapters, many_scratch
from studies.masks_page import masks
from studies.nas_page import nas
from studies.nas_page import picture as fronts
from studies.optimizers_page import curves, optimizers
from studies.reading_page import calibration, gp, mixed, online, tables
from studies.samples_page import samples
from studies.selectors_page import selectors
from studies.sentences_page import connected, scratch, sounds, texts
from studies.shipped_page import shipped
from studies.smaller_page import smaller
from studies.table import percent, table
from studies.trust_page import trust
from studies.unlabelled_page import choosing, unlabelled
from studies.untrained_page import untrained
from studies.warm_page import regret_curves, warm

HEAD = """<!-- Made by `python -m studies.page` of studies/results/*.json. Do not edit. -->

# Studies

What a [memory of tasks, and averaging](memory.md), [learners that read](learners.md#learners-that-read), [learned
optimizers](learners.md#learned-optimizers) and [encoders that were trained
elsewhere](learners.md#encoders-that-were-trained-elsewhere) are worth, and which networks train, measured by the
programs in `studies/`. Intervals are 95 % confidence intervals over tasks, with one seed.
"""


def points(found: dict[str, float], times: float = 1) -> str:
    return f"{times * found['mean']:.1f} ± {times * found['ci95']:.1f}"


def starts(found: dict[str, Any]) -> str:
    settings, rows = found["settings"], found["rows"]
    at = list(rows["memory"])
    text = f"""## Starting from memories

{settings["remembered"]} tasks of Omniglot's background alphabets (five characters of one alphabet, five
drawings each) are
learned one after another, each from the memories so far, and remembered. Then tasks of alphabets never seen
are learned
from several starts, with Adam at {settings["lr"]:g}: accuracy in % after so many gradient steps. The network
is `conv4`
with {settings["width"]} filters and batch statistics (transductive). *Plain average* is the mean of all remembered
parameters, heads included; *head fitted* gives a start the head that memory starts have, fitted to the support set in
closed form. MAML's φ is the bar: trained for
{settings["MAML"]["iterations"]} steps of four tasks of the same alphabets; it takes its own inner steps.

"""
    counts = next(iter(rows["memory"].values()))["count"]
    text += table(["start", *(f"{k} step{'s' if k != '1' else ''}" for k in at)],
                  [[name, *(percent(row[k]) for k in at)] for name, row in rows.items()])  # fmt: skip
    first, last = found["remembered"]
    return text + (
        f"\nOver {counts} test tasks. Of the remembered tasks the first 20 reached {percent(first)} %, the last 20 "
        f"{percent(last)} %.\n\n{verdicts(rows, at)}"
    )


def verdicts(rows: dict[str, Any], at: list[str]) -> str:
    """In words: is memory above the others, and do the intervals overlap?"""
    lines = []
    for other in (name for name in rows if name != "memory"):
        words = []
        for k in at:
            mine, theirs = rows["memory"][k], rows[other][k]
            apart = abs(mine["mean"] - theirs["mean"]) > mine["ci95"] + theirs["ci95"]
            side = "above" if mine["mean"] > theirs["mean"] else "below"
            words.append(f"{side}{'' if apart else ' (intervals overlap)'} after {k}")
        lines.append(f"- Memory beside {other}: " + ", ".join(words) + ".")
    return "\n".join(lines) + "\n"


def lifelong(found: dict[str, Any]) -> str:
    text = f"""## Task after task

Tasks arrive one after another; each is learned with {found["steps"]} steps from what is remembered so far,
and remembered.
Without memory each starts from the same fresh φ, its head fitted. Accuracy in %, and how it changes with the
tasks seen.

"""
    rows = [
        [name, percent(row["first 50"]), percent(row["last 50"]), percent(row["slope per 100 tasks"])]
        for name, row in found["rows"].items()
    ]
    values = [row["values"] for row in found["rows"].values()]
    gain = [100 * (with_memory - without) for with_memory, without in zip(*values, strict=True)]
    ends, change = (interval(gain[:50]), interval(gain[-50:])), slope(gain)
    rows.append(["difference, paired", *(points(end) for end in ends), points(change, 100)])
    text += table(["", "first 50 tasks", "last 50 tasks", "points for each 100 tasks"], rows)
    return text + (
        f"\nOver {len(gain)} tasks. Some of the rise is that of the tasks themselves, which get a little easier in "
        "this order, as the row without memory shows; the paired difference is free of it.\n\n"
        "![Accuracy over tasks](lifelong.svg)\n"
    )


def recall(found: dict[str, Any]) -> str:
    text = f"""## Recall from many entries

Made-up descriptions of length {found["length"]} in 2,000 families; {found["queries"]} questions, one at a
time, each for
the five nearest entries that fit. Up to 100,000 entries the search is exact; beyond, it uses an index.

"""
    return text + table(
        ["entries", "ms", "the slowest tenth, ms", "recall of the five nearest", "to make the index"],
        [
            [f"{int(count):,}", f"{row['milliseconds']:.1f}", f"{row['slowest tenth']:.1f}", f"{row['recall@5']:.3f}",
             "" if row["seconds to index"] is None else f"{row['seconds to index']:.0f} s"]
            for count, row in found["rows"].items()
        ],
    )  # fmt: skip


def writers(found: dict[str, Any]) -> str:
    return f"""## Writers that are killed

Four processes write entries to one bank at once, and two of them are killed with signal 9; {found["rounds"]}
rounds. Of {found["acknowledged"]:,} entries that a writer had been told were stored, {found["lost"]} were missing
or not whole afterwards; of {found["held"]:,} entries in the banks, {found["broken"]} were damaged.
"""


def fedavg(found: dict[str, Any]) -> str:
    text = f"""## Rounds of averaging

20 made-up characters, 15,984 drawings in {found["parts"]} parts, {100 * found["fraction"]:.0f} % of them in a
round. FedAvg trains {found["epochs"]} epochs in batches of {found["batch"]}; one-step averaging (FedSGD)
takes one gradient of each part. Rounds until {100 * found["target"]:.0f} % of drawings held out are right, each
with the best of four rates.

"""
    rows = [
        [name, str(row["rounds"] or f"not in {row['tried']:,}"), f"{row['rate']:g}", f"{100 * row['best']:.1f}"]
        for name, row in found["rows"].items()
    ]
    text += table(["", "rounds", "rate", "best accuracy, %"], rows)
    one, other = found["rows"]["FedAvg, iid"]["rounds"], found["rows"]["FedSGD, iid"]["rounds"]
    if one and other:
        text += f"\nOn iid parts FedAvg needs {other / one:.1f} times fewer rounds.\n"
    return text + "\n![Accuracy over rounds](fedavg.svg)\n"


def soup(found: dict[str, Any]) -> str:
    val, test = found["examples"]
    text = f"""## A greedy soup

16 models fine-tuned from one start, with four rates, two numbers of epochs and two orders of the data;
accuracy in % on
{val:,} drawings for validation and {test:,} for testing. {found["members"]} of the 16 are in the soup.

"""
    text += table(
        ["", "validation", "test"], [[n, f"{100 * v:.2f}", f"{100 * t:.2f}"] for n, (v, t) in found["rows"].items()]
    )
    text += "\nHow far the loss rises on the line between two models, above the straight line between its ends:\n\n"
    return text + table(["between", "barrier"], [[n, f"{row['barrier']:.3f}"] for n, row in found["lines"].items()])


def backends(found: dict[str, Any]) -> str:
    text = f"""## Backends

{found["members"]} members, each a small MLP taking {found["steps"]} steps a round; {found["rounds"]} rounds, on
{found["workers"]} workers that are kept from round to round, each on one core. Opening is what connects to Ray, or
begins it; the first round starts the processes. Other programs ran beside it.

"""
    loop = found["rows"]["loop"]["later rounds"]
    return text + table(
        ["backend", "opening, s", "first round, s", "a later round, s", "times faster than one after another",
         "largest difference of a parameter"],
        [[name, f"{row['opening']:.1f}", f"{row['first round']:.3g}", f"{row['later rounds']:.3g}",
          f"{loop / row['later rounds']:.2g}", f"{row['difference']:.0e}"] for name, row in found["rows"].items()],
    )  # fmt: skip


def domains(found: dict[str, Any]) -> str:
    text = f"""## Alphabets apart

A prototypical network on Omniglot. Each of {found["parts"]} parts is one background alphabet;
{100 * found["fraction"]:.0f} %
of them train in a round, each on 5-way 1-shot tasks of its own alphabet, and are averaged. 200 steps in all;
accuracy in %
on 5-way 1-shot tasks within alphabets that none has seen.

"""
    count = next(iter(found["rows"].values()))["count"]
    text += table(["", "accuracy"], [[name, percent(row)] for name, row in found["rows"].items()])
    return text + f"\nOver {count} tasks.\n"


SECTIONS = {
    f.__name__: f
    for f in (
        starts, lifelong, recall, writers, fedavg, soup, backends, domains, gp, tables, mixed, online, lines,
        optimizers, encoders, networks, frozen, texts, scratch, samples, sounds, connected, masks,
        unlabelled, choosing, many, agents, agents_speed, selectors, warm, experience, chosen, nas, untrained, smaller,
        trust, growing, adaptshot, shipped, exported, served, in_browser,
    )
} | {"many-scratch": many_scratch, "many-adapters": many_adapters}  # fmt: skip


def page(folder: Path = RESULTS) -> str:
    """The Markdown page of what is stored in `folder`."""
    parts = [HEAD]
    for name, section in SECTIONS.items():
        if (folder / f"{name}.json").exists():
            found = read_json(folder / f"{name}.json")
            where = found["where"]
            parts.append(
                f"\n{section(found)}\nMeasured {where['date']} at commit `{where['commit']}` on {where['machine']}, "
                f"{where['threads']} thread{'s' if where['threads'] > 1 else ''}.\n"
            )
    return "".join(parts)


def pictures(folder: Path = RESULTS, out: Path = Path("docs")) -> None:
    """The curves of the page."""
    import matplotlib
    import matplotlib.figure

    def drawn(
        name: str, xlabel: str, ylabel: str, lines: dict[str, tuple[list[float], list[float]]], scale: str = "linear"
    ) -> None:
        figure = matplotlib.figure.Figure(figsize=(7, 3.4), layout="constrained")
        axes = figure.add_subplot()
        for label, (x, y) in lines.items():
            axes.plot(x, y, label=label, linewidth=1.6)
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        axes.set_yscale(scale)
        axes.grid(axis="y", linewidth=0.5)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        with matplotlib.rc_context({"svg.hashsalt": "quickstudy"}):
            figure.savefig(out / f"{name}.svg", metadata={"Date": None})

    if (folder / "lifelong.json").exists():
        lines = {}
        for name, row in read_json(folder / "lifelong.json")["rows"].items():
            values, width = row["values"], 30
            means = [100 * sum(values[i : i + width]) / width for i in range(len(values) - width + 1)]
            lines[name] = ([float(i + width) for i in range(len(means))], means)
        drawn("lifelong", "tasks seen", "accuracy (%), mean of the last 30", lines)
    if (folder / "fedavg.json").exists():
        found = read_json(folder / "fedavg.json")["rows"]
        lines = {
            name: ([1.0 + i * row["every"] for i in range(len(row["curve"]))], [100 * v for v in row["curve"]])
            for name, row in found.items()
        }
        drawn("fedavg", "rounds", "accuracy (%)", lines)

    if (folder / "gp.json").exists():
        calibration(read_json(folder / "gp.json"), out)
    if (folder / "warm.json").exists():
        regret_curves(read_json(folder / "warm.json"), out)
    if (folder / "nas.json").exists():
        fronts(read_json(folder / "nas.json"), out)
    if (folder / "lines.json").exists():
        found = read_json(folder / "lines.json")
        continued(found["variants"]["as they are"]["curves"], found["seen"], out)
    if (folder / "optimizers.json").exists():
        for name, lines in curves(read_json(folder / "optimizers.json")).items():
            drawn(name, "steps", "mean loss", lines, scale="log")


def main(arguments: list[str]) -> None:
    """Write the page and its pictures. arguments: the file, if it is not docs/studies.md."""
    out = Path(arguments[0] if arguments else "docs/studies.md")
    write_atomically(out, page().encode())
    pictures(out=out.parent)
    print(out)


if __name__ == "__main__":
    main(sys.argv[1:])
