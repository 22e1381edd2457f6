"""Where tasks come from; importing this package registers every source."""

from quickstudy.tasks.glyphs import glyphs
from quickstudy.tasks.linear import linear
from quickstudy.tasks.omniglot import omniglot
from quickstudy.tasks.sinusoid import sinusoid

__all__ = ["glyphs", "linear", "omniglot", "sinusoid"]
