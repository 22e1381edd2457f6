"""Kinds of memory for agents that remember."""

from quickstudy.rl.agents.cores.base import Core, Memory, after
from quickstudy.rl.agents.cores.fast import FastWeights
from quickstudy.rl.agents.cores.gated import GatedUnit
from quickstudy.rl.agents.cores.lstm import LongShortTerm

CORES: dict[str, type[Core]] = {"gru": GatedUnit, "lstm": LongShortTerm, "fast": FastWeights}

__all__ = ["CORES", "Core", "FastWeights", "GatedUnit", "LongShortTerm", "Memory", "after"]
