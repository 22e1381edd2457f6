"""Episodes for each second: quickstudy's sources beside a DataLoader, from images in memory."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from benchmarks.loaders import Batches, Images, loader
from benchmarks.timing import Effort, alternate, repeated
from quickstudy.episode import leaves, task
from quickstudy.registry import formats, sources
from quickstudy.tasks import arrays, omniglot_available
from quickstudy.tasks.base import Sampling
from quickstudy.tasks.classes import ClassSource
from quickstudy.tasks.pool import TensorPool

TASKS = 32
PROTOCOL = Sampling(5, 1, 15)


def _omniglot() -> tuple[ClassSource, str]:
    if omniglot_available():
        source: ClassSource = sources["omniglot"]()
        return source, "Omniglot"
    x = torch.randint(0, 256, (1623 * 20, 1, 28, 28), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    labels, format = [i // 20 for i in range(len(x))], formats.make("image", size=28, channels=1)
    return arrays(x, labels, val=172 / 1623, test=423 / 1623, format=format), "random images of the size of Omniglot"


def _many_classes() -> ClassSource:
    classes = torch.arange(100_000).repeat_interleave(16)
    x = torch.randint(0, 256, (len(classes), 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return arrays(x, classes, format=formats.make("image", size=8, channels=1))


def _training_images(source: ClassSource) -> tuple[Tensor, list[int]]:
    pool = source.pool
    assert isinstance(pool, TensorPool)
    ids = source.splits["train"]
    rows = torch.cat([torch.arange(int(pool.starts[c]), int(pool.starts[c] + pool.counts[c])) for c in ids])
    labels = torch.arange(len(ids)).repeat_interleave(pool.counts[ids])
    return leaves(pool.x)[0][rows], labels.tolist()


def _ours(source: ClassSource) -> Callable[[], object]:
    at = itertools.count(step=TASKS)

    def draw() -> object:
        first = next(at)
        return source.episodes("train", torch.arange(first, first + TASKS))

    return draw


def _theirs(x: Tensor, y: list[int], workers: int, convert: bool, data: type[Images] = Images) -> Callable[[], object]:
    def forever() -> Iterator[Any]:
        while True:
            yield from loader(x, y, workers, convert, 100_000, data)

    stream = forever()
    return lambda: [next(stream) for _ in range(TASKS)]


def check(source: ClassSource, x: Tensor, y: list[int]) -> None:
    """Both ways must give tensors of the same shapes, types and range."""
    support, query = task(source.episodes("train", torch.arange(1)), 0)
    ours = [*leaves(support.x), support.y, *leaves(query.x), query.y]
    for convert, data in ((True, Images), (False, Images), (True, Batches)):
        for mine, other in zip(ours, next(iter(loader(x, y, 0, convert, 1, data))), strict=True):
            assert (mine.shape, mine.dtype) == (other.shape, other.dtype)
            assert not mine.is_floating_point() or all(t.min() >= 0 and t.max() <= 1 for t in (mine, other))


def measure(effort: Effort) -> Iterator[dict[str, Any]]:
    """Episodes for each second, a row for each way of making them."""
    print("episodes", file=sys.stderr)
    whole, data = _omniglot()
    source = whole.sampled(PROTOCOL)
    x, y = _training_images(source)
    check(source, x, y)
    calls = {
        "quickstudy": _ours(source),
        "DataLoader, float images": _theirs(x, y, 0, True),
        "DataLoader, float images, 2 workers": _theirs(x, y, 2, True),
        "DataLoader, uint8 images, float at the end": _theirs(x, y, 0, False),
        "DataLoader, all images of an episode at once": _theirs(x, y, 0, True, Batches),
        "quickstudy, ways 3 to 5, shots 1 to 5": _ours(whole.sampled(Sampling(5, 5, 15, min_ways=3, min_shots=1))),
        "quickstudy, 100 000 classes, 8 × 8 images": _ours(_many_classes().sampled(PROTOCOL)),
    }
    timed = alternate({name: repeated(call) for name, call in calls.items()}, effort)
    title = f"{data}, {TASKS} episodes at once, 5-way 1-shot, 15 queries per class, 28 × 28 images from uint8 to float"
    yield {"title": title, "rows": [_row(name, TASKS, timed[name]) for name in calls]}


def _row(name: str, count: int, timed: Any) -> dict[str, Any]:
    return {"name": name, "per_second": count / timed.seconds, **vars(timed)}
