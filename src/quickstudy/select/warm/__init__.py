"""Searches for hyperparameters that start from experience: what was tried on past tasks.

from quickstudy.select import warm
found = warm.minimise(objective, space, trials=25, experience=warm.Experience.load("past.jsonl"))
found.best.values
"""

from __future__ import annotations

from quickstudy.select.warm.ensemble import RankingEnsemble
from quickstudy.select.warm.evolution import Evolution
from quickstudy.select.warm.experience import Experience, PastTask
from quickstudy.select.warm.learned import PastSurfaces, PriorMean
from quickstudy.select.warm.likings import Likings
from quickstudy.select.warm.loop import Objective, minimise
from quickstudy.select.warm.meta import Meta
from quickstudy.select.warm.pool import Pool
from quickstudy.select.warm.portfolio import as_optuna, portfolio
from quickstudy.select.warm.predicted import Experienced, Predicted
from quickstudy.select.warm.processes import GaussianProcess, Portfolio, PortfolioProcess
from quickstudy.select.warm.search import Search, Trial
from quickstudy.select.warm.strategy import Random, Strategy, Tried

__all__ = [
    "Evolution",
    "Experience",
    "Experienced",
    "GaussianProcess",
    "Likings",
    "Meta",
    "Objective",
    "PastSurfaces",
    "PastTask",
    "Pool",
    "Portfolio",
    "PortfolioProcess",
    "Predicted",
    "PriorMean",
    "Random",
    "RankingEnsemble",
    "Search",
    "Strategy",
    "Trial",
    "Tried",
    "as_optuna",
    "minimise",
    "portfolio",
]
