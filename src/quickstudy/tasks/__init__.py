"""Where tasks come from; importing this package registers every source."""

from quickstudy.tasks.arrays import arrays
from quickstudy.tasks.folder import folder
from quickstudy.tasks.glyphs import glyphs
from quickstudy.tasks.linear import linear
from quickstudy.tasks.omniglot import omniglot
from quickstudy.tasks.omniglot_data import omniglot_available
from quickstudy.tasks.oneshot_runs import oneshot_runs
from quickstudy.tasks.sinusoid import sinusoid
from quickstudy.tasks.tables import tables

__all__ = [
    "arrays",
    "folder",
    "glyphs",
    "linear",
    "omniglot",
    "omniglot_available",
    "oneshot_runs",
    "sinusoid",
    "tables",
]
