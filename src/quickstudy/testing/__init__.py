"""Conformance suites: hand them your own part, and they say what it breaks of the contract it must keep."""

from quickstudy.testing.formats import check_format
from quickstudy.testing.learners import check_learner
from quickstudy.testing.sources import check_source
from quickstudy.testing.targets import check_target

__all__ = ["check_format", "check_learner", "check_source", "check_target"]
