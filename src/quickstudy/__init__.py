"""quickstudy: train once over many small tasks, then learn a new one from a handful of examples."""

__version__ = "0.1.0"
