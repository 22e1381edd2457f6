"""Where tasks come from; importing this package registers every source."""

from quickstudy.tasks.arrays import arrays
from quickstudy.tasks.audio import audio
from quickstudy.tasks.domain_files import domains
from quickstudy.tasks.domains import Domains
from quickstudy.tasks.folder import folder
from quickstudy.tasks.gaussian_process import gaussian_process
from quickstudy.tasks.glyphs import glyphs
from quickstudy.tasks.linear import linear
from quickstudy.tasks.mask_files import masks
from quickstudy.tasks.mixed_tables import mixed_tables
from quickstudy.tasks.networks import networks
from quickstudy.tasks.omniglot import omniglot
from quickstudy.tasks.omniglot_data import omniglot_available
from quickstudy.tasks.oneshot_runs import oneshot_runs
from quickstudy.tasks.recorded import recorded, series_csv
from quickstudy.tasks.records import records, table_csv
from quickstudy.tasks.runtimes import runtimes
from quickstudy.tasks.series import series
from quickstudy.tasks.sinusoid import sinusoid
from quickstudy.tasks.structural import structural
from quickstudy.tasks.tables import tables
from quickstudy.tasks.texts import text
from quickstudy.tasks.tfrecords import tfrecords
from quickstudy.tasks.transcripts import transcripts
from quickstudy.tasks.unlabelled import unlabelled
from quickstudy.tasks.utterances import utterances

__all__ = [
    "Domains",
    "arrays",
    "audio",
    "domains",
    "folder",
    "gaussian_process",
    "glyphs",
    "linear",
    "masks",
    "mixed_tables",
    "networks",
    "omniglot",
    "omniglot_available",
    "oneshot_runs",
    "recorded",
    "records",
    "runtimes",
    "series",
    "series_csv",
    "sinusoid",
    "structural",
    "table_csv",
    "tables",
    "text",
    "tfrecords",
    "transcripts",
    "unlabelled",
    "utterances",
]
