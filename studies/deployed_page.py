"""What leaves the library, for the studies' page: exported graphs, the service, the page in a browser."""

from __future__ import annotations

from statistics import median
from typing import Any

from studies.table import table


def exported(found: dict[str, Any]) -> str:
    text = f"""## Exported graphs

[Exported](export.md) models beside the models themselves, on {found["inputs"]:,} made-up inputs of each format and
networks that nobody has trained. Others: inputs whose likeliest class is another one though it is likelier than the
next by 1e-4. Away: the largest difference of any output but the raw predictions. To the web: asked by the page's own
modules, in WebAssembly; where the page can learn, also after it learned the model's examples anew.

"""
    rows, faster = [], {"onnx": list[float](), "torch": list[float]()}
    for name, one in found["found"].items():
        format, learner, to = name.split()
        if to in faster:
            faster[to].append(one["milliseconds"] / one["eager"])
        taken = [f"{one[what]:.3f}" if what in one else "" for what in ("milliseconds", "eager")]
        where = f"{to}, and learned there" if one.get("learned") else to
        rows.append([format, learner, where, str(one["others"]), f"{one['away']:.0e}", *taken])
    text += table(["format", "learner", "to", "others", "away", "ms for one input", "ms of the model"], rows)
    shares = ", ".join(f"{median(taken):.2f} for {to}" for to, taken in faster.items() if taken)
    return f"{text}\nTime of the graph in that of the model, the median of all: {shares}.\n"


def served(found: dict[str, Any]) -> str:
    ways, shots = found["ways"], found["shots"]
    text = f"""## The service

[The service](serving.md) on loopback: {found["workers"]} processes of one thread, the model of handwriting, tasks of
{ways} classes with {shots} drawings each, PNG files of 105 × 105 pixels. Adapting is a new model of {ways * shots}
drawings with the estimate of its accuracy, on the disk. The load comes from another process on the same cores, whose
share is told; times are as clients see them.

"""
    rows = []
    for name, one in found.items():
        if not isinstance(one, dict) or "statuses" not in one:
            continue
        statuses = ", ".join(f"{count:,} × {status}" for status, count in sorted(one["statuses"].items()))
        memory, late = one["megabytes"], one["p99"]
        rows.append(
            [name, f"{one['a second']:.0f}", "–" if late is None else f"{late:.0f}", statuses, f"{one['server']:.2f}",
             f"{one['generator']:.2f}", f"{memory['first']:.0f} → {memory['peak']:.0f} → {memory['last']:.0f}"]
        )  # fmt: skip
    columns = ["load", "answered a second", "99 % within ms", "answers", "cores of the server", "of the load", "MB"]
    return text + table(columns, rows)


def in_browser(found: dict[str, Any]) -> str:
    classes, each = found["classes"], found["each"]
    text = f"""## In the browser

[Exported to the web](export.md), the model of handwriting learns {classes} classes of {each} drawings in Chromium
{found["chromium"]}, in one thread, {found["times"]} times; the machine was busy (load {found["load"][0]:.0f}).

"""
    steps = {
        "learning: embedding all drawings, and the head": "learning_ms",
        "of which the head": "head_ms",
        "one drawing more": "one_ms",
        "reading all PNG files": "reading_ms",
    }
    rows = [
        [what, *(f"{found[name][part]:.0f}" for part in ("least", "median", "95 %"))] for what, name in steps.items()
    ]
    return text + table(["ms", "least", "median", "95 % within"], rows)
