"""Finding the nearest descriptors: exactly, in memory, or through the database's index."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from quickstudy.memory.tables import among, equals

EXACT = 100_000
"""Up to so many entries, or where there is no index, the search looks at all of them."""
_PROBES, _REFINE = 32, 5
_COMPARED = ["id", "signature", "descriptor"]
_FEW = 256  # new entries that are read by themselves; of more, all are read anew


@dataclass(frozen=True)
class Nearest:
    """All descriptors, normalised, in memory. vectors: (n, D). places: of the rows in the table, of that `version`."""

    ids: list[str]
    places: np.ndarray[Any, Any]
    signatures: np.ndarray[Any, Any]
    vectors: Tensor
    version: int

    @classmethod
    def of(cls, columns: Any, version: int) -> Nearest:
        """From an Arrow table of 'id', 'signature', 'descriptor' and '_rowid'."""
        joined = columns.column("descriptor").combine_chunks()
        size = joined.type.list_size
        vectors = torch.tensor(np.asarray(joined.flatten(), dtype=np.float32)).reshape(-1, size)
        signatures = np.array(columns.column("signature").to_pylist(), dtype=np.str_)
        places = columns.column("_rowid").to_numpy()
        return cls(columns.column("id").to_pylist(), places, signatures, F.normalize(vectors, dim=1), version)

    def changed(self, added: Any, gone: set[str], version: int) -> Nearest:
        """After some entries were added (an Arrow table, as in `of`) and others are `gone`."""
        new = Nearest.of(added, version) if len(added) else None
        ids, places, signatures, vectors = self.ids, self.places, self.signatures, self.vectors
        if gone:
            left = [i for i, id in enumerate(ids) if id not in gone]
            ids, places, signatures, vectors = [ids[i] for i in left], places[left], signatures[left], vectors[left]
        if new is not None:
            ids, places = [*ids, *new.ids], np.concatenate([places, new.places])
            signatures = np.concatenate([signatures, new.signatures])
            vectors = torch.cat([vectors, new.vectors])
        return Nearest(ids, places, signatures, vectors, version)

    @cached_property
    def _fitting(self) -> dict[str, Tensor | None]:
        return {}

    def _fits(self, signature: str) -> Tensor | None:
        """Which entries have a signature, (n,) bool; None if all have."""
        if signature not in self._fitting:
            fits = self.signatures == signature
            self._fitting[signature] = None if fits.all() else torch.tensor(fits)
        return self._fitting[signature]

    def ask(self, descriptor: Tensor, count: int, signature: str | None) -> list[tuple[str, int, float]]:
        """Ids, places and cosines of the `count` nearest, nearest first."""
        cosines = self.vectors @ F.normalize(descriptor.detach().cpu().float(), dim=0)
        if signature is not None and (fits := self._fits(signature)) is not None:
            cosines = torch.where(fits, cosines, -torch.inf)
        best, rows = cosines.topk(min(count, len(cosines)))
        near = zip(best.tolist(), rows.tolist(), strict=True)
        return [(self.ids[row], int(self.places[row]), value) for value, row in near if value > -torch.inf]


def nearest_in(table: Any, cache: Nearest | None) -> Nearest:
    """The descriptors of a table as it is now. cache: as they were when they were last read, if they were."""
    version = table.version
    if cache is not None and cache.version == version:
        return cache
    if cache is not None:
        there, known = set(table.search().select(["id"]).to_arrow().column("id").to_pylist()), set(cache.ids)
        if len(new := there - known) <= _FEW:
            added = table.search().where(among("id", new)).select(_COMPARED).with_row_id(True).to_arrow()
            return cache.changed(added, known - there, version)
    return Nearest.of(table.search().select(_COMPARED).with_row_id(True).to_arrow(), version)


def build_index(table: Any, size: int) -> None:
    """An inverted file over product-quantised descriptors, about √n lists (Jégou, Douze & Schmid 2011)."""
    from lancedb.index import Bitmap, IvfPq

    parts = next(n for n in range(size // 2, 0, -1) if size % n == 0)
    lists = max(1, int(len(table) ** 0.5))
    config = IvfPq(distance_type="cosine", num_partitions=lists, num_sub_vectors=parts)
    table.create_index("descriptor", config=config, replace=True)
    table.create_index("signature", config=Bitmap(), replace=True)  # else each question compares a million texts


def ask_index(table: Any, descriptor: Tensor, count: int, signature: str | None) -> list[tuple[str, int, float]]:
    """Ids, places and cosines of about the `count` nearest, by the index; the candidates are compared exactly.

    The rows are read afterwards: reading their columns for all candidates would take as long as the search.
    """
    query = table.search(descriptor.detach().cpu().float().numpy(), vector_column_name="descriptor")
    query = query.distance_type("cosine").nprobes(_PROBES).refine_factor(_REFINE).limit(count)
    if signature is not None:
        query = query.where(equals("signature", signature), prefilter=True)
    rows = query.select(["id", "_distance"]).with_row_id(True).to_arrow().to_pylist()
    return [(row["id"], row["_rowid"], 1 - row["_distance"]) for row in rows]
