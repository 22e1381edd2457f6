"""How long recall takes from many entries, and what an index misses."""

from __future__ import annotations

import tempfile
import time
from statistics import median

import numpy as np
import pyarrow as pa
import torch
import torch.nn.functional as F

from quickstudy.memory import Bank
from quickstudy.memory.entry import Entry, to_row
from studies.common import store

D, CLUSTERS, QUERIES = 128, 2000, 200


def descriptors(count: int, seed: int) -> torch.Tensor:
    """(count, D): tasks come in families, spread around 2,000 centres as widely as the centres themselves."""
    centres = torch.randn(CLUSTERS, D, generator=torch.Generator().manual_seed(0))
    drawn = torch.Generator().manual_seed(seed)
    return centres[torch.randint(CLUSTERS, (count,), generator=drawn)] + torch.randn(count, D, generator=drawn)


def fill(bank: Bank, vectors: torch.Tensor) -> None:
    """Entries with descriptors and next to nothing else, written in large pieces."""
    entry = Entry("synthetic", "abc", "none", "none", "float32", vectors[0])
    row = to_row(entry, b"", None)
    schema = bank._schema(D)
    table = bank.tables.table("tasks", schema)
    for start in range(0, len(vectors), 100_000):
        part = vectors[start : start + 100_000].numpy()
        columns = {name: pa.array([row[name]] * len(part), schema.field(name).type) for name in schema.names
                   if name not in ("id", "descriptor")}  # fmt: skip
        columns["id"] = pa.array([str(start + i) for i in range(len(part))])
        columns["descriptor"] = pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(part).ravel()), D)
        table.add(pa.table([columns[name] for name in schema.names], schema=schema))


def recall() -> None:
    rows = {}
    asked = descriptors(QUERIES, seed=2)
    for count in (100_000, 1_000_000):
        vectors = descriptors(count, seed=1)
        unit = F.normalize(vectors, dim=1)
        exact = [set((unit @ F.normalize(one, dim=0)).topk(5).indices.tolist()) for one in asked]
        with tempfile.TemporaryDirectory() as folder:
            bank = Bank(folder)
            fill(bank, vectors)
            began = time.perf_counter()
            if count > 100_000:
                bank.index()
            indexing = time.perf_counter() - began
            bank.recall(asked[0], 5, signature="abc")  # the first call reads the descriptors, or the index
            times, right = [], 0
            for one, best in zip(asked, exact, strict=True):
                began = time.perf_counter()
                found = bank.recall(one, 5, signature="abc")
                times.append(time.perf_counter() - began)
                right += len(best & {int(entry.id) for entry, _ in found})
            rows[str(count)] = {
                "milliseconds": 1000 * median(times), "slowest tenth": 1000 * sorted(times)[-QUERIES // 10],
                "recall@5": right / 5 / QUERIES, "seconds to index": indexing if count > 100_000 else None,
            }  # fmt: skip
        print(count, rows[str(count)], flush=True)
    store("recall", {"length": D, "queries": QUERIES, "rows": rows})
