"""Small examples of three fields, beside cheap baselines: `python -m studies.fields medicine finance traffic`.

Medicine and finance use data that scikit-learn and statsmodels carry; traffic uses the signs in $QUICKSTUDY_DATA.
What it stores, `python -m studies.fields_page` puts into docs/fields/.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import quickstudy as qs
from studies.common import interval, store

SPLITS, SIZES, ASKED = 20, (10, 20, 40, 80), 150
KNOWN = 10  # years of each firm
SEEN, AHEAD = 13, 4  # quarters
SERIES = ("realgdp", "realcons", "realinv", "realgovt", "realdpi", "cpi", "m1", "pop")
CUTS = (1985, 1995)  # training before, validation between, tests after
SIGNS, EPISODES = 300, 300


def medicine() -> None:
    """Breast cancer: from some labelled patients, the others."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = load_breast_cancer(return_X_y=True)
    run = qs.pretrained("tables-classes")
    rows: dict[str, dict[str, Any]] = {}
    for size in SIZES:
        right: dict[str, list[float]] = {}
        for split in range(SPLITS):
            order = np.random.default_rng(split).permutation(len(y))
            known, asked = order[:size], order[size : size + ASKED]
            model = run.adapt(x[known].tolist(), y[known].tolist(), trust=False, keep=False)
            said = {"quickstudy, `tables`": np.array(model.predict(x[asked].tolist()).names)}
            rival = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
            said["logistic regression"] = rival.fit(x[known], y[known]).predict(x[asked])
            forest = RandomForestClassifier(random_state=split).fit(x[known], y[known])
            said["random forest"] = forest.predict(x[asked])
            said["always the commoner class"] = np.full(len(asked), np.bincount(y[known]).argmax())
            for name, answer in said.items():
                right.setdefault(name, []).append(float((answer.astype(str) == y[asked].astype(str)).mean()))
        for name, values in right.items():
            rows.setdefault(name, {})[str(size)] = interval(values)
        print(size, {name: row[str(size)]["mean"] for name, row in rows.items()}, flush=True)
    store("fields-medicine", {"rows": rows, "splits": SPLITS, "asked": ASKED, "patients": len(y)})


def finance() -> None:
    store("fields-finance", {"firms": firms(), "series": series()})


def firms() -> dict[str, Any]:
    """Grunfeld's firms: what a firm invests, from its value and capital, in the ten years after ten that are known."""
    import statsmodels.api

    data = statsmodels.api.datasets.grunfeld.load_pandas().data
    run = qs.pretrained("tables-numbers")
    errors: dict[str, list[float]] = {}
    for firm, own in data.groupby("firm"):
        known, asked = own[:KNOWN], own[KNOWN:]
        others = data[data.firm != firm]

        def table(frame: Any) -> Any:
            return frame[["firm", "value", "capital"]]

        alone = run.adapt(known[["value", "capital"]], known.invest.tolist(), trust=False, keep=False)
        both = [others, known]
        rows = [one for frame in both for one in table(frame).to_dict("records")]
        told = [one for frame in both for one in frame.invest]
        pooled = run.adapt(rows, told, trust=False, keep=False)
        said = {
            "its mean so far": np.full(len(asked), known.invest.mean()),
            "its last year": np.full(len(asked), known.invest.iloc[-1]),
            "least squares, its ten years": line(known, asked),
            "quickstudy, its ten years": alone.predict(asked[["value", "capital"]]).values.flatten().numpy(),
            "quickstudy, and all years of the others": pooled.predict(table(asked).to_dict("records"))
            .values.flatten()
            .numpy(),
        }
        for name, answer in said.items():
            errors.setdefault(name, []).append(float(np.abs(answer - asked.invest).mean() / asked.invest.mean()))
    print({name: np.mean(values) for name, values in errors.items()}, flush=True)
    return {
        "rows": {name: interval(values) for name, values in errors.items()},
        "known": KNOWN,
        "firms": len(errors["its last year"]),
    }


def line(known: Any, asked: Any) -> Any:
    """Ordinary least squares of investment on value and capital."""

    def design(frame: Any) -> Any:
        return np.column_stack([np.ones(len(frame)), frame.value, frame.capital])

    return design(asked) @ np.linalg.lstsq(design(known), known.invest.to_numpy(), rcond=None)[0]


def series() -> dict[str, Any]:
    """Growth of macroeconomic series of the USA: trained before 1985, asked after 1995."""
    import statsmodels.api

    data = statsmodels.api.datasets.macrodata.load_pandas().data
    growth = 100 * np.log(data[list(SERIES)]).diff()[1:]
    part = np.digitize(data.year[1:], CUTS)  # 0 training, 1 validation, 2 tests
    stretches = {f"{name} {when}": growth[name][part == when].to_numpy() for when in range(3) for name in SERIES}
    source = qs.tasks.recorded(stretches)
    count = len(SERIES)
    splits = {name: torch.arange(count) + count * i for i, name in enumerate(("train", "val", "test"))}
    config = replace(
        qs.recipes.forecast(),
        shots=SEEN - 1,
        queries=AHEAD,
        protocols=(),
        meta_batch=4,
        validation_episodes=50,
        iterations=300,
        name="macro",
    )
    run = qs.train(config, source=replace(source, splits=splits), overwrite=True, quiet=True)
    errors: dict[str, list[float]] = {}
    for name in SERIES:
        values = stretches[f"{name} 2"]
        for start in range(0, len(values) - SEEN - AHEAD + 1, SEEN + AHEAD):
            seen, after = values[start : start + SEEN], values[start + SEEN : start + SEEN + AHEAD]
            tensor = torch.tensor(seen, dtype=torch.float64)
            said = {
                "the mean of what was seen": np.full(AHEAD, seen.mean()),
                "the last value": np.full(AHEAD, seen[-1]),
                "quickstudy, `forecast`": run.adapt(tensor, trust=False)
                .predict(tensor, steps=AHEAD)
                .values.flatten()
                .numpy(),
            }
            for who, answer in said.items():
                errors.setdefault(who, []).append(float(((answer - after) ** 2).mean() / seen.var()))
    print({name: (np.mean(values), np.median(values)) for name, values in errors.items()}, flush=True)
    rows = {name: {**interval(values), "median": float(np.median(values))} for name, values in errors.items()}
    return {
        "rows": rows,
        "tasks": len(errors["the last value"]),
        "series": count,
        "cuts": CUTS,
        "seen": SEEN,
        "ahead": AHEAD,
    }


def traffic() -> None:
    """Traffic signs: five kinds never seen in training, one picture of each; no track on both sides of a task."""
    root = Path(os.environ["QUICKSTUDY_DATA"], "domains", "traffic_signs.zip")
    signs: dict[str, Any] = {"root": str(root), "size": 28, "group": "(track[0-9]+)_", "val": 0.2, "test": 0.4}
    source = qs.registry.sources.part("folder", **signs)
    config = replace(
        qs.recipes.photos(), name="signs", tasks=source, model=qs.registry.models.part("conv4", width=32), shots=1,
        queries=5, iterations=SIGNS, meta_batch=1, average=0.98, validate_every=100, validation_episodes=100,
        protocols=(),
    )  # fmt: skip
    run = qs.train(config, overwrite=True)
    tasks = source.build().sampled(qs.Sampling(ways=5, shots=1, queries=5))
    rows = {"pixels": [pixels(tasks.episodes("test", torch.tensor([i]))) for i in range(EPISODES)]}
    for name, params in (("not trained", run.untrained()), ("trained", run.params)):
        rows[name] = run.evaluate(episodes=EPISODES, params=params, compare_supports=False).values
    facts = {"steps": SIGNS, "classes": {split: len(tasks.classes(split)) for split in ("train", "val", "test")}}
    found = {name: interval(list(map(float, values))) for name, values in rows.items()}
    print(found, facts, flush=True)
    store("fields-traffic", {"rows": found, **facts})


def pixels(episode: Any) -> float:
    """Accuracy of the nearest support picture, pixel by pixel, in a batch of one task."""
    support, query = (part.x[0].flatten(1).float() for part in episode[:2])
    nearest = episode.support.y[0][torch.cdist(query, support).argmin(1)]
    return float((nearest == episode.query.y[0]).float().mean())


FIELDS: dict[str, Callable[[], None]] = {"medicine": medicine, "finance": finance, "traffic": traffic}

if __name__ == "__main__":
    torch.set_num_threads(1)
    logging.getLogger("quickstudy").setLevel(logging.ERROR)
    for name in sys.argv[1:] or FIELDS:
        FIELDS[name]()
