"""Plain `nn.Module`s: the networks of the literature. Any module of the user's does as well."""

from quickstudy.models.cell_network import searched
from quickstudy.models.cells import cells
from quickstudy.models.columns import columns
from quickstudy.models.context import FiLM, WithContext
from quickstudy.models.conv4 import conv4
from quickstudy.models.convnet import convnet
from quickstudy.models.decoder import Decoder
from quickstudy.models.encoders import onnx, onnx_sound, squeezenet, timm, transformers
from quickstudy.models.lstm import SequenceReader, lstm
from quickstudy.models.mlp import mlp
from quickstudy.models.ngrams import ngrams
from quickstudy.models.resnet8 import resnet8
from quickstudy.models.resnet12 import ResidualBlock, resnet12
from quickstudy.models.second import SetAttention
from quickstudy.models.speech import speech
from quickstudy.models.transcriber import transcriber
from quickstudy.models.unet import UNet, unet

__all__ = [
    "Decoder",
    "FiLM",
    "ResidualBlock",
    "SequenceReader",
    "SetAttention",
    "UNet",
    "WithContext",
    "cells",
    "columns",
    "conv4",
    "convnet",
    "lstm",
    "mlp",
    "ngrams",
    "onnx",
    "onnx_sound",
    "resnet8",
    "resnet12",
    "searched",
    "speech",
    "squeezenet",
    "timm",
    "transcriber",
    "transformers",
    "unet",
]
