"""Classes without labels: clusters of what an encoder, or a format, makes of records."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from quickstudy.episode import Features, leaves, map_features
from quickstudy.errors import DataError
from quickstudy.files import cache_folder
from quickstudy.formats.base import Format
from quickstudy.formats.passing import arguments
from quickstudy.formats.records import say
from quickstudy.registry import models, targets
from quickstudy.spec import TaskSpec
from quickstudy.storage.tensors import checksum
from quickstudy.tasks.cached import read_cached, write_cached
from quickstudy.tasks.partitions import partitions
from quickstudy.tasks.stored import prints

_BATCH = 128  # records that are encoded at once


class Given(NamedTuple):
    """Classes of stored records: which records each has, and what they are called.

    rows: (m,) class after class. own: (C,) of each. counts: (C,) how many examples may be asked for. groups: (C,), from
    one of which the classes of a task come.
    """

    rows: Tensor
    own: Tensor
    counts: Tensor
    groups: Tensor
    names: list[str]


def clustered(z: Tensor, rows: Tensor, clusters: int, count: int, least: int, seed: int) -> Given:
    """The clusters of `rows` (n,), whose features are z (n, …), in each of several partitions."""
    key = checksum(prints(z).numpy().tobytes(), f"{clusters} {count} {seed}")[:32]
    path = cache_folder("partitions", f"{key}.safetensors")
    ids = read_cached(path, lambda t: t.shape == (count, len(z)) and t.dtype == torch.int64)
    if ids is None:
        ids = partitions(z, clusters, count, seed)
        write_cached(path, ids)
    parts, own, groups, names = list[Tensor](), list[int](), list[int](), list[str]()
    for number, of in enumerate(ids):
        sizes = of.bincount()
        large = (sizes >= max(least, 1)).nonzero().flatten().tolist()
        parts += [rows[of == one] for one in large]
        own += sizes[large].tolist()
        groups += [number] * len(large)
        names += [f"partition {number + 1}, cluster {one + 1}" for one in large]
    if not parts:
        raise DataError(
            f"No cluster has {least} records: {len(z)} of them are in {clusters} clusters. Lower min_class or clusters."
        )
    left = 1 - sum(own) / ids.numel()
    say([f"Clusters of fewer than {least} records are left out, {100 * left:.0f} % of all."] if left > 0 else [])
    return Given(torch.cat(parts), torch.tensor(own), torch.tensor(own), torch.tensor(groups), names)


def encoded(format: Format, x: Features, encoder: str, options: dict[str, Any]) -> Tensor:
    """What the format, or the model of that name, makes of stored x (n, …): (n, D)."""
    spec, network = TaskSpec(format, targets.make("classes")), None
    if encoder:
        network = cast(nn.Module, models.part(encoder, **options).build(spec, False)).eval()
    parts = []
    for rows in torch.arange(len(leaves(x)[0])).split(_BATCH):  # type: ignore[no-untyped-call]
        z = format.features(map_features(partial(torch.index_select, dim=0, index=rows), x))
        if network is not None:
            given, named = arguments(network, z)
            with torch.no_grad():
                z = network(*given, **named)
        parts.append(torch.cat([leaf.flatten(1).float() for leaf in leaves(z)], 1))
    return torch.cat(parts)
