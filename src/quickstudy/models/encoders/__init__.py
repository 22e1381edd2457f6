"""Networks that were trained elsewhere, as registered models."""

from quickstudy.models.encoders.keras import KerasModule
from quickstudy.models.encoders.onnx import onnx
from quickstudy.models.encoders.onnx_sound import onnx_sound
from quickstudy.models.encoders.squeezenet import squeezenet
from quickstudy.models.encoders.timm import timm
from quickstudy.models.encoders.transformers import transformers

__all__ = ["KerasModule", "onnx", "onnx_sound", "squeezenet", "timm", "transformers"]
