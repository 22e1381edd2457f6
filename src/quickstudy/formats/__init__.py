"""How records become tensors and how they are shown, one kind a file: what an image is, is known here alone."""

from quickstudy.formats.array import Array
from quickstudy.formats.audio import Audio
from quickstudy.formats.base import Format
from quickstudy.formats.drawing import Curve, Drawing, Picture, Row, Text
from quickstudy.formats.image import Image
from quickstudy.formats.ink import Ink
from quickstudy.formats.layout import Leaf
from quickstudy.formats.records import Records, Stored
from quickstudy.formats.series import Series
from quickstudy.formats.steps import Steps
from quickstudy.formats.table import Table
from quickstudy.formats.text import Tokens

__all__ = [
    "Array",
    "Audio",
    "Curve",
    "Drawing",
    "Format",
    "Image",
    "Ink",
    "Leaf",
    "Picture",
    "Records",
    "Row",
    "Series",
    "Steps",
    "Stored",
    "Table",
    "Text",
    "Tokens",
]
