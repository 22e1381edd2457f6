"""Tasks of tuning: the surrogates of YAHPO Gym (Pfisterer et al. 2022), each data set a function on one space."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quickstudy.space import Choice, Range, Space, Values, When
from quickstudy.storage.json import read_json

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Scenario:
    """One algorithm on many data sets. target: what is maximised, `column` of the surrogate's outputs. instance: the
    name of the data set among its inputs. fixed: fidelities. numbers: its inputs in their order."""

    name: str
    target: str
    column: int
    instance: str
    fixed: dict[str, float]
    numbers: tuple[str, ...]
    categories: tuple[str, ...]

    @property
    def folder(self) -> Path:
        return Path(os.environ["QUICKSTUDY_DATA"]) / "selection" / "yahpo" / self.name

    @cached_property
    def _config(self) -> dict[str, Any]:
        found: dict[str, Any] = read_json(self.folder / "config_space.json")
        return found

    @cached_property
    def _encoding(self) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = read_json(self.folder / "encoding.json")
        return found

    @cached_property
    def _session(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        return onnxruntime.InferenceSession(str(self.folder / "model.onnx"), options)

    @cached_property
    def sets(self) -> tuple[str, ...]:
        """The data sets, in the configuration's order."""
        (one,) = [h for h in self._config["hyperparameters"] if h["name"] == self.instance]
        return tuple(one["choices"])

    @cached_property
    def space(self) -> Space:
        """What is tuned; options that others depend on come first."""
        axes: dict[str, Range | Choice] = {}
        for one in sorted(self._config["hyperparameters"], key=lambda h: h["type"] != "categorical"):
            if one["name"] in (self.instance, *self.fixed):
                continue
            if one["type"] == "categorical":
                axes[one["name"]] = Choice(*one["choices"])
            else:
                axes[one["name"]] = Range(one["lower"], one["upper"], log=one["log"])
        when = {
            c["child"]: When(c["parent"], tuple(c.get("values") or (c["value"],))) for c in self._config["conditions"]
        }
        return Space(axes, when)

    @cached_property
    def _ends(self) -> dict[str, tuple[float, float]]:
        with (self.folder.parent / "target_statistics.csv").open() as file:
            rows = [r for r in csv.DictReader(file) if r["scenario"] == self.name and r["metric"] == self.target]
        ends = {(r["instance"], r["statistic"]): float(r["value"]) for r in rows}
        return {one: (ends[one, "min"], ends[one, "max"]) for one in self.sets}

    def said(self, data_set: str, points: Sequence[Values]) -> Floats:
        """What the surrogate says of the target, (n,). An option without effect is told as missing: the category #na#,
        and 0 for a number, as YAHPO Gym fills them."""
        off = [self._off(point) for point in points]
        numbers = [
            [0.0 if name in o else float(self.fixed.get(name, p.get(name, 0.0))) for name in self.numbers]
            for p, o in zip(points, off, strict=True)
        ]
        kinds = [
            [self._encoding[n][data_set if n == self.instance else "#na#" if n in o else p[n]] for n in self.categories]
            for p, o in zip(points, off, strict=True)
        ]
        feed = {"x_cat": np.array(kinds, dtype=np.int32), "x_cont": np.array(numbers, dtype=np.float32)}
        return np.asarray(self._session.run(None, feed)[0][:, self.column], dtype=np.float64)

    def _off(self, point: Values) -> set[str]:
        return {name for name, when in self.space.conditions.items() if point[when.option] not in when.values}

    def regret(self, data_set: str, points: Sequence[Values]) -> Floats:
        """Normalised regret (n,): 0 at the greatest value that the statistics name for the data set, 1 at the least."""
        low, high = self._ends[data_set]
        return (high - self.said(data_set, points)) / (high - low)


LCBENCH = Scenario(
    "lcbench", "val_accuracy", 1, "OpenML_task_id", {"epoch": 52},
    ("epoch", "batch_size", "learning_rate", "momentum", "weight_decay", "num_layers", "max_units", "max_dropout"),
    ("OpenML_task_id",),
)  # fmt: skip
XGBOOST = Scenario(
    "rbv2_xgboost", "acc", 0, "task_id", {"trainsize": 1.0, "repl": 10},
    ("nrounds", "eta", "gamma", "lambda", "alpha", "subsample", "max_depth", "min_child_weight", "colsample_bytree",
     "colsample_bylevel", "rate_drop", "skip_drop", "trainsize", "repl"),
    ("task_id", "booster", "num.impute.selected.cpo"),
)  # fmt: skip
RPART = Scenario(
    "rbv2_rpart", "acc", 0, "task_id", {"trainsize": 1.0, "repl": 10},
    ("cp", "maxdepth", "minbucket", "minsplit", "trainsize", "repl"), ("task_id", "num.impute.selected.cpo"),
)  # fmt: skip
SCENARIOS = {one.name: one for one in (LCBENCH, XGBOOST, RPART)}
