"""Networks that read a support set and answer for queries: the learning algorithm itself is what they learn."""

from quickstudy.models.reading.base import Reader
from quickstudy.models.reading.neural_process import NeuralProcess
from quickstudy.models.reading.recurrent import READINGS, MemoryAugmented, Recurrent
from quickstudy.models.reading.snail import Snail
from quickstudy.models.reading.transformer import Labels, Transformer

__all__ = [
    "READINGS",
    "Labels",
    "MemoryAugmented",
    "NeuralProcess",
    "Reader",
    "Recurrent",
    "Snail",
    "Transformer",
]
