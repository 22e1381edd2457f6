"""Choosing a learner, a network and their numbers for tasks at hand, from experience and by trying.

import quickstudy as qs
found = qs.choose(qs.recipes.photos(), minutes=20)
found.ranking, found.run, found.advice
"""

from __future__ import annotations

from quickstudy.choosing.chosen import Chosen
from quickstudy.choosing.menu import Menu, menu
from quickstudy.choosing.record import Record, Trial, told
from quickstudy.choosing.search import choose, resume

__all__ = ["Chosen", "Menu", "Record", "Trial", "choose", "menu", "resume", "told"]
