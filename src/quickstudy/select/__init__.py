"""Algorithm selection: which of several algorithms to run on an instance, learned from what they did on others.

import quickstudy as qs
scenario = qs.select.read_scenario("SAT11-HAND.zip")
selection = qs.select.fit("survival", scenario)
selection.choose(features)
"""

from __future__ import annotations

from quickstudy.select import warm
from quickstudy.select.aslib import read_scenario
from quickstudy.select.base import Selector
from quickstudy.select.best import SingleBest
from quickstudy.select.ensemble import Ensemble
from quickstudy.select.in_context import InContext
from quickstudy.select.neighbours import Neighbours
from quickstudy.select.pairwise import Pairwise
from quickstudy.select.plan import Plan, planned
from quickstudy.select.regression import Regression
from quickstudy.select.rows import Rows, read_rows
from quickstudy.select.scenario import Scenario, Step
from quickstudy.select.schedule import Slice, played, presolvers
from quickstudy.select.scores import FoldScore, Measured, measure
from quickstudy.select.selection import Selection, fit
from quickstudy.select.shared import SharedForest
from quickstudy.select.survival import Survival

__all__ = [
    "Ensemble",
    "FoldScore",
    "InContext",
    "Measured",
    "Neighbours",
    "Pairwise",
    "Plan",
    "Regression",
    "Rows",
    "Scenario",
    "Selection",
    "Selector",
    "SharedForest",
    "SingleBest",
    "Slice",
    "Step",
    "Survival",
    "fit",
    "measure",
    "planned",
    "played",
    "presolvers",
    "read_rows",
    "read_scenario",
    "warm",
]
