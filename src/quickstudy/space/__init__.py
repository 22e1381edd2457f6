"""What may be chosen: a range of numbers or one of several values for an option, and spaces of such options.

Searches see a space through columns of numbers between 0 and 1, whatever its options are.
"""

from quickstudy.space.axes import Axis, Choice, Range, axis_of, told
from quickstudy.space.listed import Points
from quickstudy.space.whole import LISTED, Array, Describe, Space, Values, When, key

__all__ = [
    "LISTED",
    "Array",
    "Axis",
    "Choice",
    "Describe",
    "Points",
    "Range",
    "Space",
    "Values",
    "When",
    "axis_of",
    "key",
    "told",
]
