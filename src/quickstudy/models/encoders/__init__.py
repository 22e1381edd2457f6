"""Networks that were trained elsewhere, as registered models."""

from quickstudy.models.encoders.onnx import onnx
from quickstudy.models.encoders.squeezenet import squeezenet

__all__ = ["onnx", "squeezenet"]
