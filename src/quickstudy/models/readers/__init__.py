"""Networks that read a support set and answer for queries: the learning algorithm itself is what they learn."""

from quickstudy.models.readers.axial import Axial
from quickstudy.models.readers.base import Reader
from quickstudy.models.readers.neural_process import NeuralProcess
from quickstudy.models.readers.recurrent import READINGS, MemoryAugmented, Recurrent
from quickstudy.models.readers.snail import Snail
from quickstudy.models.readers.transformer import Labels, Transformer

__all__ = [
    "READINGS",
    "Axial",
    "Labels",
    "MemoryAugmented",
    "NeuralProcess",
    "Reader",
    "Recurrent",
    "Snail",
    "Transformer",
]
