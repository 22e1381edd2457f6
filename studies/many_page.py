"""The section of the page on many domains."""

from __future__ import annotations

from functools import partial
from typing import Any

from studies.many import DRESSED, HELD, QUERIES, SHOTS, TRAINED_ON, WAYS
from studies.table import percent, table


def _row(first: list[str], one: dict[str, Any]) -> list[str]:
    return [*first, percent(one["val"]), *(percent(one["domains"][name]) for name in HELD), percent(one["test"])]


def _validation(rows: dict[str, Any], one: tuple[str, str]) -> float:
    return float(rows[one[0]][one[1]]["val"]["mean"])


def many(found: dict[str, Any]) -> str:
    """Encoders, alone and together, on domains that nothing was trained on."""
    every = [(features, name) for features, each in found["rows"].items() for name in each]
    shown = {(features, name) for features, name in every if name == TRAINED_ON}
    for encoder in dict.fromkeys(features.split(", as ")[0] for features, _ in every if DRESSED[0] in features):
        own = [(features, name) for features, name in every if features.startswith(encoder) and name != TRAINED_ON]
        plain = [(features, name) for features, name in own if DRESSED[0] in features]
        shown |= {plain[0], *(max(some, key=partial(_validation, found["rows"])) for some in (plain, own))}
    rows = [
        _row(
            [f"**{features}**" if [features, name] == list(found["chosen"]) else features, name],
            found["rows"][features][name],
        )
        for features, name in every
        if (features, name) in shown
    ]
    return (
        "## Many domains\n\n"
        "Trained on Omniglot, photographs (Tiny ImageNet), emoji and icons; tried on traffic signs, of which no track "
        f"is in both support and query, CIFAR-10 and flaws of steel. {WAYS}-way {SHOTS}-shot tasks, {QUERIES} queries "
        "of each class in test. The encoders are frozen; they were trained on ImageNet, which has CIFAR-10's classes. "
        f"Of {len(every)} ways the best of each encoder on validation are shown, and prototypes. Features are of "
        "length 1, as they are, of their roots, or of these less the training classes' mean. Accuracy in %; what is in "
        "bold was chosen by validation, which is on classes of the training domains that were held out; for what is "
        "meta-trained, of each domain after training on the others.\n\n"
        + table(["encoder", "learner", "validation", *HELD, "mean of the three"], rows)
        + f"\nOver {found['episodes']} test tasks of each domain, seed {found['seed']}.\n"
    )


def others(title: str, words: str) -> Any:
    """A section of further rows."""

    def section(found: dict[str, Any]) -> str:
        rows = [_row([name], one) for name, one in found["rows"].items()]
        columns = ["learner", "validation", *HELD, "mean of the three"]
        told = f"\nOver {found['episodes']} test tasks of each domain, seed {found['seed']}.\n"
        return f"### {title}\n\n{words}\n\n" + table(columns, rows) + told

    return section


many_scratch = others("From scratch", "A network that has seen the four training domains alone, as prototypes.")
many_adapters = others("Parts of the encoder, for each task", "SqueezeNet with `tsa` and `film`, by their rates.")
