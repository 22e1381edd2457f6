"""The official one-shot classification runs of Omniglot (Lake, Salakhutdinov & Tenenbaum 2015)."""

from __future__ import annotations

import io
import re
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import torch

from quickstudy.episode import Episode, Examples, stack
from quickstudy.errors import DataError
from quickstudy.formats.base import Format
from quickstudy.storage.archive import Archive, archive

LABELS = "class_labels.txt"


class OneShotRuns(NamedTuple):
    """episodes: leaves with a leading axis of runs; names: of the runs, such as 'run01'; sorted by name."""

    episodes: Episode
    names: list[str]


def oneshot_runs(path: str | Path, format: Format) -> OneShotRuns:
    """Read the runs from their zip archive: each is one N-way one-shot task within an alphabet (20 runs, N = 20).

    `runNN/class_labels.txt` pairs each test image with the training image of the same character, one pair a line. The
    support set is the training images in order of their names, class ids 0 to N-1; the query set is the test images.
    Support and query x: (runs, N, C, size, size) in [0, 1]. The archive may hold the runs in a folder.

    Raises DataError, naming file and line, if something is missing or does not fit.
    """
    with archive(path) as drawings:
        lists = [name for name in drawings.members if re.search(rf"(^|/)run\d+/{re.escape(LABELS)}$", name)]
        if not lists:
            raise DataError(f"{path} holds no 'runNN/{LABELS}': it is not the archive of the one-shot runs.")
        episodes = [_run(drawings, name, format) for name in lists]
    names = [PurePosixPath(name).parent.name for name in lists]
    ways = {name: len(episode.support.y) for name, episode in zip(names, episodes, strict=True)}
    if len(set(ways.values())) > 1:
        raise DataError(f"The runs must have equally many classes, found {ways}. Fetch the archive again.")
    return OneShotRuns(stack(episodes), names)


def _run(drawings: Archive, labels: str, format: Format) -> Episode:
    root = PurePosixPath(labels).parent.parent  # the lines name files from the folder of the runs
    pairs = []
    for number, line in enumerate(drawings.read(labels).decode("utf-8", "replace").splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        where = f"Line {number} of {labels} ({line.strip()!r})"
        if len(words) != 2:
            raise DataError(f"{where} must be two files, 'test-image training-image'; found {len(words)} words.")
        names = [str(root / word) for word in words]
        for name in names:
            if name not in drawings.members:
                raise DataError(f"{where} names {name}, which is not in the archive. Fetch the archive again.")
        pairs.append(names)
    training = sorted({support for _, support in pairs})
    if not pairs or len(training) != len(pairs):
        raise DataError(
            f"{labels} pairs {len(pairs)} test images with {len(training)} training images; a one-shot run has exactly "
            "one of each for every class. Fetch the archive again."
        )

    def examples(files: list[str], ids: list[int]) -> Examples:
        images = [_named(io.BytesIO(drawings.read(f)), f) for f in files]
        y = torch.tensor(ids, dtype=torch.int64)
        return Examples(format.features(format.store(images).x), y, torch.ones_like(y, dtype=torch.bool))

    return Episode(
        examples(training, list(range(len(training)))),
        examples([test for test, _ in pairs], [training.index(support) for _, support in pairs]),
    )


def _named(file: io.BytesIO, name: str) -> io.BytesIO:
    """The file, which then says its name where it cannot be read."""
    file.name = name
    return file
