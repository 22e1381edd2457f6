"""Real tables that packages carry: what is asked of each, and which columns stand beside the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MOST = 300
"""Rows of each split that are asked about, at most."""


@dataclass(frozen=True)
class TableSet:
    """read: the data frame. label: what is asked. classes: it is a class, not a number. drop: columns that are names of
    rows, or the answer in other words. categories: columns whose numbers name things."""

    read: Callable[[], Any]
    label: str
    classes: bool = False
    drop: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()

    def rows(self) -> tuple[Any, list[Any]]:
        """The rows without the answer, as a data frame, and the answers."""
        frame = self.read()
        frame = frame[frame[self.label].notna()].reset_index(drop=True)
        answers = frame[self.label].tolist()
        columns = frame.drop(columns=[self.label, *self.drop])
        for name in self.categories:
            columns[name] = columns[name].map(lambda cell: f"{cell:g}" if isinstance(cell, float) else str(cell))
        return columns, [str(one) for one in answers] if self.classes else [float(one) for one in answers]


def of_sklearn(loader: str) -> Callable[[], Any]:
    def read() -> Any:
        from sklearn import datasets

        return getattr(datasets, loader)(
            as_frame=True, **({"scaled": False} if loader == "load_diabetes" else {})
        ).frame

    return read


def of_statsmodels(name: str, **made: Callable[[Any], Any]) -> Callable[[], Any]:
    """A data set of statsmodels; made: columns that are computed from the others."""

    def read() -> Any:
        import statsmodels.api

        return getattr(statsmodels.api.datasets, name).load_pandas().data.assign(**made)

    return read


def beside_tests(path: str) -> Callable[[], Any]:
    """A file of data that statsmodels carries with its tests."""

    def read() -> Any:
        import pandas
        import statsmodels

        frame = pandas.read_csv(Path(statsmodels.__file__).parent / path)
        return frame.drop(columns=[name for name in frame if name.startswith("Unnamed")])

    return read


_BIRTHS = "genmod/tests/results/stata_lbw_glm.csv"
_SMOKING = "treatment/tests/results/cataneo2.csv"
_REPEATED = ("mbsmoke_", "mmarried_", "fbaby_", "prenatal1_", "mage2", "fbaby", "prenatal1")

SETS: dict[str, TableSet] = {
    "iris": TableSet(of_sklearn("load_iris"), "target", classes=True),
    "wine": TableSet(of_sklearn("load_wine"), "target", classes=True),
    "breast cancer": TableSet(of_sklearn("load_breast_cancer"), "target", classes=True),
    "digits": TableSet(of_sklearn("load_digits"), "target", classes=True),
    "vote": TableSet(of_statsmodels("anes96"), "vote", classes=True, drop=("logpopul",)),
    "affairs": TableSet(
        of_statsmodels("fair", any=lambda frame: frame["affairs"] > 0), "any", classes=True, drop=("affairs",),
        categories=("occupation", "occupation_husb"),
    ),
    "travel": TableSet(
        of_statsmodels("modechoice"), "choice", classes=True, drop=("individual",), categories=("mode",)
    ),
    "low birth weight": TableSet(beside_tests(_BIRTHS), "low", classes=True, drop=("id", "bwt")),
    "framing": TableSet(
        beside_tests("stats/tests/results/framing.csv"), "cong_mesg", classes=True, categories=("cond",)
    ),
    "smoking mothers": TableSet(beside_tests(_SMOKING), "mbsmoke", classes=True, drop=(*_REPEATED, "msmoke")),
    "diabetes": TableSet(of_sklearn("load_diabetes"), "target", categories=("sex",)),
    "investment": TableSet(of_statsmodels("grunfeld"), "invest"),
    "schools": TableSet(
        of_statsmodels("star98", share=lambda f: f["NABOVE"] / (f["NABOVE"] + f["NBELOW"])), "share",
        drop=("NABOVE", "NBELOW"),
    ),
    "visits to doctors": TableSet(of_statsmodels("randhie"), "mdvis"),
    "birth weight": TableSet(beside_tests(_BIRTHS), "bwt", drop=("id", "low")),
    "birth weight, Pennsylvania": TableSet(beside_tests(_SMOKING), "bweight", drop=(*_REPEATED, "lbweight")),
    "car prices": TableSet(beside_tests("gam/tests/results/autos.csv"), "price"),
    "pigs": TableSet(beside_tests("regression/tests/results/dietox.csv"), "Weight", categories=("Pig", "Litter")),
    "seizures": TableSet(beside_tests("genmod/tests/results/epil.csv"), "y", drop=("lbase", "lage", "subject")),
}  # fmt: skip
"""The four of the study before, and every table of mixed columns, with 128 rows or more and no series in time, that
scikit-learn and statsmodels carry. seaborn carries none: it downloads."""
