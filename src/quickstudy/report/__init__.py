"""The report of a run: one page that says what was learned, how well, and where it fails."""

from quickstudy.report.adapted import AdaptedTask
from quickstudy.report.build import report

__all__ = ["AdaptedTask", "report"]
