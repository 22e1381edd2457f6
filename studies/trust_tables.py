"""What the shipped models of tables promise, held against real tables, which had no part in training or in trust."""

from __future__ import annotations

import random
from typing import Any

import torch

import quickstudy as qs
from quickstudy.shipped.places import CLASSES, NUMBERS
from quickstudy.targets.answers.classes import ClassAnswer
from quickstudy.targets.answers.numbers import NumberAnswer
from studies.common import interval
from studies.table_sets import SETS

TABLES = ("vote", "breast cancer", "framing", "diabetes", "car prices", "birth weight")
SHOWN, ASKED, SPLITS, COVERAGE = 64, 150, 16, 0.9


def on_tables() -> dict[str, Any]:
    """For each table, over splits of its rows: how often promises of 90 % were kept."""
    runs = {True: qs.pretrained(CLASSES, device="cpu"), False: qs.pretrained(NUMBERS, device="cpu")}
    found: dict[str, Any] = {}
    for name in TABLES:
        x, y = SETS[name].rows()
        rows = []
        for split in range(SPLITS):
            order = list(range(len(y)))
            random.Random(split).shuffle(order)
            shown, asked = order[:SHOWN], order[SHOWN : SHOWN + ASKED]
            model = runs[SETS[name].classes].adapt(x.iloc[shown], [y[i] for i in shown])
            answer = model.predict(x.iloc[asked], coverage=COVERAGE)
            truth = [y[i] for i in asked]
            rows.append(_classes(model, answer, truth) if SETS[name].classes else _numbers(answer, truth, y))
        found[name] = {key: interval([row[key] for row in rows]) for key in rows[0]}
    return found


def _classes(model: qs.Model, answer: Any, truth: list[str]) -> dict[str, float]:
    """Of classes that were among the examples."""
    assert isinstance(answer, ClassAnswer)
    known, said, sets = [i for i, name in enumerate(truth) if name in model.names], model.estimate, answer.sets
    right = sum(answer.names[i] == truth[i] for i in known) / len(known)
    return {
        "accuracy": right, "said": said.mean, "held": float(said.low - 1e-9 <= right <= said.high + 1e-9),
        "width": said.high - said.low, "covered": sum(truth[i] in sets[i] for i in known) / len(known),
        "size": sum(map(len, sets)) / len(sets),
    }  # fmt: skip


def _numbers(answer: Any, truth: list[float], every: list[float]) -> dict[str, float]:
    """size: the width of intervals, in spreads of all labels of the table."""
    assert isinstance(answer, NumberAnswer)
    (told,) = answer.covered(torch.tensor(truth, dtype=torch.float64)[:, None])
    spread = float(torch.tensor(every, dtype=torch.float64).std())
    return {"covered": float(told.inside.double().mean()), "size": float(told.size.mean()) / spread}
