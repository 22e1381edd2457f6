"""The options of the commands of `quickstudy memory`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from quickstudy.cli.parse import Places
from quickstudy.learners.describe import Describe
from quickstudy.learners.memory import Recall
from quickstudy.memory import Codec, Keep, Start

_Bank = tyro.conf.Positional[str]


@dataclass
class Build:
    """Learn many tasks one after another and remember each. Called again, it goes on with further tasks."""

    bank: _Bank
    """The bank: a folder, or an address such as s3://bucket/bank."""
    run: str
    """A run of maml, fomaml, reptile or memory: its network, its tasks and its φ."""
    count: int = 100
    """How many tasks to learn."""
    split: str = "train"
    """Which of the run's tasks."""
    first: int = 0
    """The number of the first task."""
    start: Start = "memory"
    """Where each task starts: from what is remembered so far, from the run's φ, or from a fresh network."""
    untrained: bool = False
    """Take the run's network as it was before training for φ."""
    codec: Codec = "float32"
    """How parameters are stored."""
    keep: Keep = "hash"
    """What of the examples is stored."""
    steps: int | None = None
    """Inner steps for each task; the run's own if not given."""
    shots: int | None = None
    """Support examples per class; the run's own if not given."""
    recall: Recall = "average"
    """Start from the average of the nearest memories, or from the best of them."""
    nearest: int = 5
    """How many memories to recall."""
    describe: Describe = "features"
    """How tasks are described."""
    device: str | None = None
    """Another device than the run's."""
    tasks: Places = field(default_factory=Places)
    """Where the tasks' files lie today."""


@dataclass
class List:
    """List what a bank remembers."""

    bank: _Bank
    """The bank."""
    last: int = 20
    """How many entries to show, the newest."""


@dataclass
class Show:
    """Draw the map of a bank's tasks into a page."""

    bank: _Bank
    """The bank."""
    out: Path = Path("memory.html")
    """The page to write."""


@dataclass
class Search:
    """Find the remembered tasks that are most like a new one."""

    bank: _Bank
    """The bank."""
    support: Path
    """The examples, as the run's format has them; see `quickstudy adapt --help`."""
    task: str | None = None
    """Which task, where the file holds several."""
    nearest: int = 5
    """How many to show."""
    device: str = "auto"
    """Where to compute."""


@dataclass
class Adapt:
    """Learn a new task, starting from what is remembered, and save the model that knows them."""

    bank: _Bank
    """The bank."""
    support: Path
    """The examples, as the run's format has them; see `quickstudy adapt --help`."""
    out: Path
    """Folder to write the adapted model to."""
    even_if_worse: bool = False
    """Start from memories without looking whether that is worse than the run's φ for examples that are left out."""
    remember: bool = False
    """Put what was learned back into the bank."""
    name: str = ""
    """What the task is called there; the folder's or file's name if not given."""
    task: str | None = None
    """Which task, where the file holds several."""
    device: str = "auto"
    """Where to compute."""


@dataclass
class Prune:
    """Make a bank smaller: merge what is nearly the same, then forget what is used least.

    Do it while no other process reads or writes the bank.
    """

    bank: _Bank
    """The bank."""
    count: int | None = None
    """Keep at most so many tasks."""
    megabytes: float | None = None
    """Keep at most so much."""
    merge: Annotated[float | None, tyro.conf.arg(metavar="CLOSENESS")] = None
    """Merge tasks whose descriptions have at least this cosine, such as 0.98."""
    dry: bool = False
    """Only say what would be forgotten; merge nothing."""


@dataclass
class Index:
    """Make an approximate index over the descriptions, for a bank of more than 100,000 tasks."""

    bank: _Bank
    """The bank."""


@dataclass
class Export:
    """Write every entry as safetensors and JSON."""

    bank: _Bank
    """The bank."""
    out: Path
    """An empty folder."""


@dataclass
class Check:
    """Read every entry and compare it with its checksum."""

    bank: _Bank
    """The bank."""
    remove: bool = False
    """Remove those that are damaged."""
