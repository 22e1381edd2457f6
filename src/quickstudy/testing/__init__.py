"""Conformance suites: hand them your own part, and they say what it breaks of the contract it must keep."""

from quickstudy.testing.data import check_format, check_target
from quickstudy.testing.parts import check_learner, check_source

__all__ = ["check_format", "check_learner", "check_source", "check_target"]
