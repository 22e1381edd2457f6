"""The report of a run: one page that says what was learned, how well, and where it fails."""

from quickstudy.train.report.adapted import AdaptedTask
from quickstudy.train.report.build import report

__all__ = ["AdaptedTask", "report"]
