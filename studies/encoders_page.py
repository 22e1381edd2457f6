"""The sections of the page on networks of others."""

from __future__ import annotations

from collections import Counter
from typing import Any

from studies.table import percent, table

_WHICH = {"RAW": "raw error", "WRONG": "wrong"}


def _short(outcome: str) -> str:
    return _WHICH.get(outcome, "yes" if outcome.startswith("trains") else outcome)


def networks(found: dict[str, Any]) -> str:
    """Networks with learners."""
    learners = list(next(iter(found["table"].values())))
    rows = []
    for network, row in found["table"].items():
        other = [f"{one}: {_short(cell['outcome'])}" for one, cell in row.items() if _short(cell["outcome"]) != "yes"]
        rows.append([network, f"{len(row) - len(other)} of {len(row)}", ", ".join(other)])
    counts = Counter(_short(cell["outcome"]) for row in found["table"].values() for cell in row.values())
    refused: dict[str, list[str]] = {}
    for network, row in found["table"].items():
        for one, cell in row.items():
            if cell["outcome"] == "refused":
                refused.setdefault(cell["said"].split(". ")[0][:160], []).append(f"{one} on {network}")
    text = f"""## Networks as people have them

Small networks of other libraries, with random weights, trained for {found["steps"]} steps by every learner as they are
(dropout on, BatchNorm by the batch), adapted to a new task and asked twice. *Trains* means that φ has moved and that
both answers are the same bits. {counts["yes"]} of {counts.total()} train, {counts["refused"]} are refused in words,
{counts["raw error"]} end in an error of another library, and {counts["wrong"]} are wrong without a word.
The learners are {", ".join(learners)}.

"""
    text += table(["network", "trains with", "otherwise"], rows)
    if refused:
        text += "\nRefused:\n\n" + "".join(f"- {said}. ({', '.join(where)})\n" for said, where in refused.items())
    exact = [[name, _exact(one)] for name, one in found["exact"].items()]
    text += (
        "\nMAML's meta-gradient after two inner steps in float64, beside plain autograd on the module itself: the "
        "relative difference.\n\n" + table(["network", "difference"], exact)
    )
    auto = Counter(_short(cell["outcome"]) for row in found["auto"].values() for cell in row.values())
    return text + (
        f'\nBy `vectorize="auto"` and `compile="auto"` with {", ".join(next(iter(found["auto"].values())))}: '
        f"{auto['yes']} of {auto.total()} train, {auto['refused']} are refused, {auto['raw error']} end "
        "in a raw error.\n"
    )


def _exact(one: dict[str, Any]) -> str:
    return f"{one['relative']:.1e}" if "relative" in one else f"refused: {one.get('refused', one.get('raw', ''))[:160]}"


def frozen(found: dict[str, Any]) -> str:
    """Frozen parts under many steps."""
    rows = [
        [name, "refused" if "refused" in one else str(one["frozen"]), "" if "refused" in one else str(one["others"])]
        for name, one in found["moved"].items()
    ]
    return (
        f"## Frozen parts\n\nA perceptron whose first layer is frozen, after {found['steps']} outer steps of each "
        "learner: how many numbers of the frozen layer, and of the others, are not what they were.\n\n"
        + table(["learner", "frozen", "others"], rows)
    )


def encoders(found: dict[str, Any]) -> str:
    """Encoders on photographs."""
    text = """## Encoders that were trained elsewhere

Photographs of 64 × 64 pixels of the 200 classes of tiny ImageNet, 30 each: 120 classes to train on, 30 to choose on,
50 to test on. Both encoders were trained on ImageNet, which has these classes and perhaps these photographs: what is
measured is how well its features serve few-shot tasks, and not how well it does on new kinds of things. Accuracy in %
of 5-way tasks with 15 queries a class; every learner works on kept features, and was chosen by its validation classes.
*By hand* is the nearest centroid in plain PyTorch. The change that is meta-trained is a perceptron beside the identity,
zero at first.

"""
    head = ["", *(f"{name}, {shots}-shot" for name in found["rows"] for shots in (1, 5))]
    cells = [(row, f"{shots}-shot") for row in found["rows"].values() for shots in (1, 5)]

    rows = [
        [f"nearest centroid by hand, {how}", *(percent(row[shots]["by hand"][how]["test"]) for row, shots in cells)]
        for how in ("euclidean", "cosine")
    ]
    for name in cells[0][0][cells[0][1]]["learners"]:
        marks = ["**" if row[shots]["chosen"] == name else "" for row, shots in cells]
        rows.append(
            [
                name,
                *(
                    f"{m}{percent(row[s]['learners'][name]['test'])}{m}"
                    for m, (row, s) in zip(marks, cells, strict=True)
                ),
            ]
        )
    counts = cells[0][0][cells[0][1]]["by hand"]["cosine"]["test"]["count"]
    speed = found["speed"]
    return (
        text
        + table(head, rows)
        + f"\nOver {counts} test tasks, seed {found['seed']}. In bold what validation classes chose. On features of "
        f"512 numbers {speed['kept']:,.0f} episodes a second are evaluated; with SqueezeNet run on each image, "
        f"{speed['encoding']:.2f}: {speed['kept'] / speed['encoding']:,.0f} times as many.\n"
    )
