"""Independent calls of a function on workers that are kept: here, on threads, in processes, or on a Ray cluster."""

from quickstudy.workers.fanout import Outcome, Where, Workers

__all__ = ["Outcome", "Where", "Workers"]
