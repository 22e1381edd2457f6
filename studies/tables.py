"""Real tables of mixed columns: a network that has only seen made-up ones, beside methods that are tuned on each.

Every answer is written down as it comes, to `runs/answers-of-tables/SET.jsonl`: the study can be stopped at any time
and goes on from there, and several processes may do different sets at once, `python -m studies.tables 'car prices'
pigs`. All of it takes some three hours of one core, nearly all for tuning. `python -m studies.tables store` keeps what
is known of every split with the results, from where it goes on elsewhere, and the result over the sets that are
complete. What the network says is of the runs that are named there.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

import quickstudy as qs
from quickstudy.storage.json import read_json
from studies.common import RESULTS, interval, store
from studies.reading import trained
from studies.table_sets import MOST, SETS, TableSet

SPLITS, ROWS, TRIALS = 100, 64, 50
WORST = -1.0  # of R² in one split: a method that is off by far is off by far
KEPT = Path("runs/answers-of-tables")
SPLITS_KEPT = RESULTS / "mixed-splits.json"
_FOLDS = 4


def prepared(columns: Any, ordinal: bool) -> Any:
    """What scikit-learn's methods need before them: gaps filled and marked, numbers scaled, categories coded."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

    named = [name for name in columns if columns[name].dtype.kind not in "biuf"]
    rest = [name for name in columns if name not in named]
    unknown = {"handle_unknown": "use_encoded_value", "unknown_value": -1, "encoded_missing_value": -1}
    code = OrdinalEncoder(**unknown) if ordinal else OneHotEncoder(handle_unknown="ignore")
    numbers = make_pipeline(SimpleImputer(add_indicator=True, keep_empty_features=True), StandardScaler())
    return ColumnTransformer([("numbers", numbers, rest), ("categories", code, named)], sparse_threshold=0)


def linear(columns: Any, classes: bool) -> Any:
    """Logistic or ridge regression, of a strength that inner cross-validation chooses."""
    from sklearn.linear_model import LogisticRegression, RidgeCV
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline

    if not classes:
        return make_pipeline(prepared(columns, False), RidgeCV(np.logspace(-2, 4, 25)))
    whole = make_pipeline(prepared(columns, False), LogisticRegression(max_iter=1000))
    return GridSearchCV(whole, {"logisticregression__C": np.logspace(-3, 2, 11).tolist()}, cv=_folds(classes))


def forest(columns: Any, classes: bool) -> Any:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
    from sklearn.pipeline import make_pipeline

    made = RandomForestClassifier if classes else RandomForestRegressor
    return make_pipeline(prepared(columns, True), made(n_estimators=300, random_state=0))


class Boosting:
    """Gradient boosting (LightGBM), tuned by so many trials of random search in inner cross-validation.

    Bins of single rows and leaves of few: with 64 rows that is boosting of exact trees.
    """

    def __init__(self, columns: Any, classes: bool) -> None:
        self.code, self.classes = prepared(columns, True), classes

    def fit(self, x: Any, y: list[Any]) -> Boosting:
        from sklearn.base import clone

        wanted, folds = np.asarray(y), []
        for seen, rest in _folds(self.classes).split(x, y):
            code = clone(self.code).fit(x.iloc[seen])
            folds.append((code.transform(x.iloc[seen]), wanted[seen], code.transform(x.iloc[rest]), wanted[rest]))
        trials = list(self._trials())
        scores = [np.mean([self._made(t).fit(z, a).score(q, b) for z, a, q, b in folds]) for t in trials]
        best = self._made(trials[int(np.argmax(scores))])
        self.best = best.fit(self.code.fit_transform(x), wanted)
        return self

    def predict(self, x: Any) -> Any:
        return self.best.predict(self.code.transform(x))

    def _trials(self) -> Any:
        from scipy.stats import loguniform, randint, uniform
        from sklearn.model_selection import ParameterSampler

        choices = {
            "learning_rate": loguniform(0.01, 0.5), "n_estimators": randint(10, 150), "max_depth": randint(1, 6),
            "min_child_samples": randint(1, 12), "subsample": uniform(0.5, 0.5), "colsample_bytree": uniform(0.2, 0.8),
        }  # fmt: skip
        return ParameterSampler(choices, TRIALS, random_state=0)

    def _made(self, trial: dict[str, Any]) -> Any:
        import lightgbm

        made = lightgbm.LGBMClassifier if self.classes else lightgbm.LGBMRegressor
        fixed = {"num_leaves": 2 ** trial["max_depth"], "subsample_freq": 1, "min_data_in_bin": 1, "verbose": -1}
        return made(**trial, **fixed, min_child_weight=1e-3, num_threads=1, deterministic=True, random_state=0)


def _folds(classes: bool) -> Any:
    from sklearn.model_selection import KFold, StratifiedKFold

    return (StratifiedKFold if classes else KFold)(_FOLDS, shuffle=True, random_state=0)


RIVALS: dict[str, Callable[[Any, bool], Any]] = {
    "logistic or ridge, tuned": linear,
    "random forest": forest,
    "gradient boosting, tuned": Boosting,
}


def split_of(count: int, number: int, answers: list[Any], classes: bool) -> tuple[np.ndarray, np.ndarray]:
    """The rows that are learned from in one split, and those that are asked about. Of classes there are always two."""
    draw = np.random.RandomState(number)
    while True:
        order = draw.permutation(count)
        if not classes or len({answers[i] for i in order[:ROWS]}) > 1:
            return order[:ROWS], order[ROWS : ROWS + MOST]


def score(said: Any, true: list[Any], classes: bool) -> float:
    """The share that is right; or R², of which no split counts less than WORST."""
    if classes:
        return float(np.mean([str(one) == other for one, other in zip(said, true, strict=True)]))
    errors, wanted = np.asarray(said, dtype=float).ravel() - np.asarray(true), np.asarray(true)
    return max(float(1 - (errors**2).mean() / wanted.var()), WORST)


def in_context(run: qs.Run, x: Any, y: list[Any], asked: Any, kind: TableSet) -> list[Any]:
    """What the run says, in one forward pass."""
    told = {"categories": kind.categories} if kind.categories else {}
    answer = run.adapt(x, y, **told).predict(asked)
    return [one[0] for one in answer] if kind.classes else [float(one[0]) for one in answer]


def measured(name: str, splits: int = SPLITS) -> dict[str, list[float]]:
    """The figures of every split of one set by each method, those known before read from its file."""
    kind: TableSet = SETS[name]
    columns, answers = kind.rows()
    KEPT.mkdir(parents=True, exist_ok=True)
    figures = _known(name)
    for number in range(splits):
        seen, rest = split_of(len(answers), number, answers, kind.classes)
        x, y = columns.iloc[seen].reset_index(drop=True), [answers[i] for i in seen]
        asked, true = columns.iloc[rest].reset_index(drop=True), [answers[i] for i in rest]
        for method in ("in context", *RIVALS):
            if (method, number) in figures:
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of classes with fewer rows than folds, and fits that go on for long
                if method == "in context":
                    said = in_context(reader(kind.classes), x, y, asked, kind)
                else:
                    said = RIVALS[method](x, kind.classes).fit(x, y).predict(asked)
            figures[method, number] = score(said, true, kind.classes)
            with (KEPT / f"{name}.jsonl").open("a") as file:
                file.write(json.dumps({"method": method, "split": number, "figure": figures[method, number]}) + "\n")
    found = {method: [figures[method, number] for number in range(splits)] for method in ("in context", *RIVALS)}
    print(name, {method: round(float(np.mean(values)), 4) for method, values in found.items()}, flush=True)
    return found


def _known(name: str) -> dict[tuple[str, int], float]:
    """The figures of one set that are known, by method and split."""
    kept = read_json(SPLITS_KEPT)["figures"].get(name, {}) if SPLITS_KEPT.exists() else {}
    figures = {(method, split): figure for method, row in kept.items() for split, figure in enumerate(row)}
    path = KEPT / f"{name}.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return figures | {(one["method"], one["split"]): one["figure"] for one in lines}


def complete() -> list[str]:
    """The sets of which every figure is known."""
    wanted = {(method, split) for method in ("in context", *RIVALS) for split in range(SPLITS)}
    return [name for name in SETS if wanted <= set(_known(name))]


def keep() -> None:
    """What each method reaches in every split of a set, where that is known, and the result over complete sets."""
    figures: dict[str, dict[str, list[float]]] = {}
    for name in SETS:
        known = _known(name)
        whole = [m for m in ("in context", *RIVALS) if all((m, split) in known for split in range(SPLITS))]
        figures[name] = {m: [round(known[m, split], 5) for split in range(SPLITS)] for m in whole}
    facts = {"splits": SPLITS, "rows each": ROWS, "trials": TRIALS, "runs": commits()}
    store(SPLITS_KEPT.stem, {**facts, "figures": figures})
    if complete():
        mixed(complete())


@cache
def reader(classes: bool) -> qs.Run:
    """The run that reads tables: of classes, or of numbers."""
    return trained("tables" if classes else "tables-numbers")


def commits() -> dict[str, str]:
    """What each run was trained at: as stored, if its figures all are, so that it need not be there any longer."""
    stored = read_json(SPLITS_KEPT) if SPLITS_KEPT.exists() else {"figures": {}}
    if all("in context" in stored["figures"].get(name, {}) for name in SETS):
        known: dict[str, str] = stored["runs"]
        return known
    return {run.config.name: run.kept["commit"] for run in (reader(True), reader(False))}


def mixed(names: Sequence[str] = tuple(SETS)) -> None:
    """Accuracy, or R², on the rest of real tables after 64 rows."""
    logging.disable(logging.WARNING)  # which columns do not vary in a split
    torch.set_num_threads(1)
    rows = {name: measured(name) for name in names}
    methods, means = ["in context", *RIVALS], {}
    for asked in (True, False):
        those = [name for name in names if SETS[name].classes == asked]
        means["classes" if asked else "numbers"] = {
            m: interval([float(np.mean([rows[n][m][s] for n in those])) for s in range(SPLITS)]) for m in methods
        }
    found = {
        name: {"classes": SETS[name].classes, "figures": {m: interval(values) for m, values in row.items()}}
        for name, row in rows.items()
    }
    left = [name for name in SETS if name not in names]
    told = {"left": left, "splits": SPLITS, "rows each": ROWS, "asked": MOST, "trials": TRIALS, "worst": WORST}
    store("mixed", told | {"runs": commits(), "rows": found, "mean": means})


if __name__ == "__main__":
    logging.disable(logging.WARNING)  # which columns do not vary in a split
    torch.set_num_threads(1)
    if sys.argv[1:] == ["store"]:
        keep()
    else:
        for given in sys.argv[1:] or SETS:
            measured(given)
