"""The section of the page on the published samples of intents."""

from __future__ import annotations

from typing import Any

from studies.samples import USUAL
from studies.samples_run import MIXED, WORDS
from studies.table import percent, table

TARGETS = {
    "BANKING77": {"5": 83.0, "10": 87.5},
    "HWU64": {"5": 80.0, "10": 85.5},
    "CLINC150": {"5": 89.5, "10": 92.0},
}
_KINDS = {"single": "one encoder", "averaged": "mean of the tries"}


def _verdict(figure: float, target: float) -> str:
    return f"{target:g}, reached" if 100 * figure >= target else f"{target:g}, missed"


def _chosen(found: dict[str, Any]) -> list[list[str]]:
    rows = []
    for name, of_shots in found["chosen"].items():
        for shots, one in of_shots.items():
            if one is None:
                continue
            ways = found["rows"][name][shots]
            base = [percent(ways[way][USUAL]["single"]["test"]) if way in ways else "" for way in (WORDS, "frozen")]
            kind = _KINDS["averaged" if one["way"] == MIXED else one["kind"]]
            how = f"{one['way']}; {one['head']}; {kind}"
            verdict = _verdict(one["test"]["mean"], TARGETS[name][shots])
            rows.append([f"{name}, {shots}", *base, percent(one["test"]), verdict, how])
    return rows


def _tried(found: dict[str, Any]) -> list[list[str]]:
    """Each way with the usual head, over its tries; and their mean, where there are several."""
    columns = [(name, shots) for name, of_shots in found["rows"].items() for shots in of_shots]
    ways = list(dict.fromkeys(way for name, shots in columns for way in found["rows"][name][shots]))

    def cell(way: str, name: str, shots: str) -> str:
        row = found["rows"][name][shots].get(way, {}).get(USUAL)
        if row is None:
            return ""
        single = f"{100 * row['single']['test']['mean']:.1f}"
        return f"{single} ({100 * row['averaged']['test']['mean']:.1f})" if "averaged" in row else single

    return [[way, *(cell(way, *column) for column in columns)] for way in ways]


def _others(found: dict[str, Any]) -> str:
    parts = [
        f"for {name} {one['texts']:,} texts of {one['classes']} classes ({one['left out']} left out)"
        for name, one in found["others"].items()
    ]
    return ", ".join(parts)


def samples(found: dict[str, Any]) -> str:
    """All classes at once, from five or ten examples of each."""
    columns = [f"{name}, {shots}" for name, of_shots in found["rows"].items() for shots in of_shots]
    return (
        "## Intents from five or ten examples\n\n"
        "All classes of a data set at once, from the published samples of five or ten texts of each class (Zhang et "
        "al. 2021), on its test texts. The baselines are logistic regression on tf-idf of runs of two to five letters, "
        "and on MiniLM as it is. What is measured is, of all that was tried, what is best on the validation texts of "
        "the *other two* data sets: of a data set's own validation and test texts nothing was chosen. (The encoders "
        "that are compared there may have been trained on this one's training texts, as the other way round.) "
        "MiniLM's authors may have trained it on such questions.\n\n"
        + table(
            ["data set, examples", "tf-idf, %", "MiniLM, %", "chosen, %", "to reach, %", "what was chosen"],
            _chosen(found),
        )
        + "\nIntervals are over test texts. What was tried, with logistic regression "
        f"(λ = 0.1); in brackets the mean of the answers of {found['seeds']} tries:\n\n"
        + table(["way", *columns], _tried(found))
        + "\n*others*: MiniLM is first meta-trained, by prototypes and cosines, on the training texts of the other two "
        "data sets, all their classes, also those that are like classes asked here; of them every text was left out "
        f"whose words are those of a test text: {_others(found)}. *episodes*, *classifier*: then it is trained on the "
        "sample, by tasks over its classes or as a cosine classifier of all of them. *names*: the name of each class "
        "is one more example of it. *tokens dropped*: one in ten is hidden in training. *slowly*, "
        "*longer*: at 2/5 of the rate, in twice the steps. *upper half*: only three of "
        "six layers move; word embeddings never do. *three encoders*: the mean of the answers of three ways, of all "
        "tries.\n"
    )
