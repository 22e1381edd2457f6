"""A run's card: what it was trained on and how, what it reaches, what it may be used for and what it cannot do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NotRequired, TypedDict

from quickstudy.storage.atomic import write_text
from quickstudy.storage.json import read_json, write_json
from quickstudy.targets.metric import Metric
from quickstudy.training.progress import duration

NAME = "card.json"
PAGE = "README.md"


class Data(TypedDict):
    """What a run was trained on."""

    name: str
    licence: str
    source: NotRequired[str]


class Training(TypedDict):
    """How. seconds: of wall-clock time; None where nobody knows them."""

    recipe: str
    commit: str
    machine: str
    step: int
    seconds: float | None


class Figure(TypedDict):
    """One measured figure: the mean, and the half-width `ci95` of its 95 % interval, over `count` tasks.

    metric: what it is of. percent: it is a share. of: who reaches it; left out, the model itself; others are what it is
    held against.
    """

    what: str
    metric: str
    mean: float
    ci95: float
    count: int
    of: NotRequired[str]
    percent: NotRequired[bool]


class Card(TypedDict):
    """What is stored as card.json. licence: of the weights."""

    version: int
    name: str
    summary: str
    licence: str
    takes: str
    answers: str
    parameters: int
    data: list[Data]
    training: Training
    figures: list[Figure]
    limits: list[str]


def read_card(folder: Path) -> Card | None:
    """The card in a folder, None where there is none; CheckpointError for one that is damaged."""
    if not (folder / NAME).exists():
        return None
    card: Card = read_json(folder / NAME, Card)
    return card


def write_card(folder: Path, card: Card) -> None:
    """The card as JSON, and as a page that people, and the hub, read."""
    write_json(folder / NAME, card)
    write_text(folder / PAGE, page(card))


def page(card: Card) -> str:
    """The card as Markdown. What stands before it is what the Hugging Face hub reads."""
    lines = [
        "---", "library_name: quickstudy", *([f"license: {card['licence'].lower()}"] if card["licence"] else []),
        "tags: [meta-learning, few-shot]", "---", "", f"# {card['name']}", "", card["summary"], "",
        f"It takes {card['takes']} and answers with {card['answers']}; {card['parameters']:,} parameters.", "",
        *_used(card), *_trained(card), *_reached(card["figures"]),
        *(["## Limits", "", *(f"- {one}" for one in card["limits"]), ""] if card["limits"] else []),
    ]  # fmt: skip
    return "\n".join(lines)


def _used(card: Card) -> list[str]:
    return [
        "```python", "import quickstudy as qs", "",
        f'run = qs.from_hub("OWNER/{card["name"]}")  # or a folder',
        "model = run.adapt(examples, labels)", "model.predict(others)", "```", "",
    ]  # fmt: skip


def _trained(card: Card) -> list[str]:
    told = card["training"]
    data = "; ".join(
        f"{one['name']} ({one['licence'] or 'licence not said'}{', ' + one['source'] if one.get('source') else ''})"
        for one in card["data"]
    )
    taken = "" if told["seconds"] is None else f", in {duration(told['seconds'])}"
    return [
        "## Training", "", f"Data: {data}." if data else "Data: not said.", "",
        f"By the recipe `{told['recipe']}` at commit {told['commit'] or 'unknown'}{taken}, on {told['machine']}; the "
        f"model of step {told['step']}. Licence of the weights: {card['licence'] or 'not said'}.", "",
    ]  # fmt: skip


def _reached(figures: Sequence[Figure]) -> list[str]:
    if not figures:
        return []
    lines = ["## Figures", "", "With 95 % confidence intervals over tasks.", ""]
    lines += ["| tasks | metric | who | figure | tasks |", "|---|---|---|---|---|"]
    for one in figures:
        who = one.get("of") or "**this model**"
        lines.append(f"| {one['what']} | {one['metric']} | {who} | {shown(one)} | {one['count']} |")
    return [*lines, ""]


def shown(figure: Figure) -> str:
    """A figure with its interval, as its metric reads to people."""
    metric = Metric(figure["metric"], "", "", higher_is_better=True, percent=figure.get("percent", False))
    return metric.interval(figure["mean"], figure["ci95"])
