"""Learners that read: against exact posteriors, against classical methods on real tables, and while they read."""

from __future__ import annotations

import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

import quickstudy as qs
from quickstudy.episode import Episode, Examples
from quickstudy.evaluation.calibration import LEVELS, calibration, distributions
from quickstudy.learners.reader import ReaderLearner
from quickstudy.registry import formats, recipes, targets
from quickstudy.spec import TaskSpec
from quickstudy.targets.distribution import Distribution
from quickstudy.tasks.gaussian_process import GaussianProcessSource
from studies.common import interval, store

POINTS, FUNCTIONS, QUERIES = (0, 1, 5, 10, 20, 30, 50), 500, 50
SPLITS, ROWS = 100, 64
SEQUENCES = 400


def trained(name: str) -> qs.Run:
    """The run of a recipe under runs/, trained if there is none."""
    folder = Path("runs") / name
    return qs.Run(folder) if folder.exists() else qs.train(recipes[name](), out=folder)


def reader(run: qs.Run) -> ReaderLearner:
    """The run's learner, which reads."""
    learner = run.learner
    assert isinstance(learner, ReaderLearner)
    return learner


def gp() -> None:
    """Surprise in nats a point, beside the exact posterior of the same functions."""
    run = trained("gp-incontext")
    rows, shown = [], {}
    for points in POINTS:
        source = run.parts.source.sampled(qs.Sampling(1, max(points, 1), QUERIES))
        assert isinstance(source, GaussianProcessSource)
        indices = torch.arange(FUNCTIONS)
        episodes, (mean, spread) = source.episodes("test", indices), source.posterior("test", indices)
        if not points:  # nothing is known but the prior
            support = episodes.support._replace(mask=torch.zeros_like(episodes.support.mask))
            episodes = Episode(support, episodes.query)
            mean, spread = torch.zeros_like(mean), torch.full_like(spread, (1 + source.noise**2) ** 0.5)
        said = distributions(run.parts.engine, run.params, episodes)
        assert said is not None
        wanted, (means, spreads) = episodes.query.y, said
        ours, best = (
            source.spec.target.surprise(Distribution(m.flatten(0, 1), s.flatten(0, 1)), wanted.flatten(0, 1))
            .view(FUNCTIONS, -1)
            .mean(1)
            for m, s in ((means, spreads), (mean, spread))
        )
        rows.append({
            "points": points, "ours": interval(ours.tolist()), "exact": interval(best.tolist()),
            "more": interval((ours - best).tolist()),
        })  # fmt: skip
        print(rows[-1], flush=True)
        if points == 10:
            shown = {"ours": calibration(means, spreads, wanted),
                     "exact": calibration(mean, spread, wanted)}  # fmt: skip
    told = {"seed": run.parts.source.seed, "functions": FUNCTIONS, "queries": QUERIES, "run": run.kept["commit"]}
    store("gp", told | {"rows": rows, "levels": LEVELS, "calibration": shown})


def real_tables() -> dict[str, tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """The real data sets for classification that scikit-learn carries."""
    from sklearn import datasets

    names = {"iris": "load_iris", "wine": "load_wine", "breast cancer": "load_breast_cancer", "digits": "load_digits"}
    return {name: getattr(datasets, loader)(return_X_y=True) for name, loader in names.items()}


def tables() -> None:
    """Accuracy on the rest of real data sets after 64 rows, beside classical methods with default settings."""
    from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    run = trained("tables-incontext")
    made = reader(run)
    rivals = {
        "logistic regression": lambda: LogisticRegression(),
        "logistic regression, scaled": lambda: make_pipeline(StandardScaler(), LogisticRegression()),
        "random forest": lambda: RandomForestClassifier(random_state=0),
        "gradient boosting": lambda: GradientBoostingClassifier(random_state=0),
    }
    rows: dict[str, dict[str, list[float]]] = {}
    for name, (x, y) in real_tables().items():
        spec = TaskSpec(formats.make("array", shape=(x.shape[1],)), targets.make("classes", ways=int(y.max()) + 1))
        learner = made.at(spec)
        rows[name] = {"in context": [], **{rival: [] for rival in rivals}}
        for split in range(SPLITS):
            order = np.random.RandomState(split).permutation(len(y))
            known, rest = order[:ROWS], order[ROWS:]
            support = Examples(
                torch.tensor(x[known], dtype=torch.float32), torch.tensor(y[known]), torch.ones(ROWS, dtype=torch.bool)
            )
            with torch.no_grad():
                state = learner.adapt(run.params, support)
                said = learner.predict(run.params, state, torch.tensor(x[rest], dtype=torch.float32)).argmax(1)
            rows[name]["in context"].append(float((said.numpy() == y[rest]).mean()))
            for rival, make in rivals.items():
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # that a fit by default settings did not converge
                    rows[name][rival].append(float(make().fit(x[known], y[known]).score(x[rest], y[rest])))
        print(name, {method: round(float(np.mean(values)), 4) for method, values in rows[name].items()}, flush=True)
    methods = list(next(iter(rows.values())))
    mean = {m: interval([float(np.mean([rows[n][m][s] for n in rows])) for s in range(SPLITS)]) for m in methods}
    found = {name: {method: interval(values) for method, values in row.items()} for name, row in rows.items()}
    told = {"splits": SPLITS, "rows each": ROWS, "seed": run.config.seed, "run": run.kept["commit"]}
    store("tables", told | {"rows": found, "mean": mean})


def online() -> None:
    """Accuracy while reading sequences of 50 characters of five classes, in random order."""
    rows, told = {}, {}
    for name in ("omniglot-mann", "omniglot-lstm"):
        run = trained(name)
        result = run.evaluate(episodes=SEQUENCES, compare_supports=False)
        rows[name] = {figure.rpartition(" ")[2]: asdict(one) for figure, one in result.figures.items()}
        told = {"seed": result.seed, "run": run.kept["commit"]}
        print(name, rows[name], flush=True)
    store("online", told | {"sequences": SEQUENCES, "rows": rows})
