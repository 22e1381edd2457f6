"""Data of users that are damaged: tables, images, archives and banks are read, or refused in one line."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mutations import damaged_bytes, damaged_json, damaged_tensors
from PIL import Image

from quickstudy.errors import QuickstudyError
from quickstudy.formats.decoding import decode
from quickstudy.memory import Bank, Entry
from quickstudy.memory.codec import encode
from quickstudy.memory.entry import row_checksum
from quickstudy.memory.health import export, merge, usefulness
from quickstudy.memory.map import write_map
from quickstudy.registry import formats
from quickstudy.storage.tensors import pack, unpack
from quickstudy.tasks.omniglot_data import read_archive
from quickstudy.tasks.oneshot_runs import oneshot_runs

ROWS = b"group,a,b,label\n" + b"".join(f"g{i % 3},{i}.5,-{i}e-3,{'xy'[i % 2]}\n".encode() for i in range(12))
SERIES = b"series,value\n" + b"".join(f"s{i % 2},{i * 0.25}\n".encode() for i in range(20))
CELLS = [
    "1e400",
    "-1e308",
    "1e-400",
    "nan",
    "inf",
    "",
    " ",
    "1,5",
    "=1+1",
    '"',
    "\x00",
    "٣",
    "1_000",
    "0x10",
    "x" * 200_000,
]


def picture(kind: str, size: int = 12, mode: str = "RGB") -> bytes:
    shape = (size, size, 3) if mode == "RGB" else (size, size)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


DRAWN = picture("PNG", 20, "L")
ARCHIVE = zipped({f"images/A/character0{c}/{i}.png": DRAWN for c in (1, 2) for i in range(2)})
NAMES = "".join(f"run01/test/item{i}.png run01/training/class{i}.png\n" for i in (1, 2))
RUNS = zipped(
    {"run01/class_labels.txt": NAMES.encode()}
    | {f"run01/{kind}{i}.png": DRAWN for kind in ("test/item", "training/class") for i in (1, 2)}
)


def quietly(act: Callable[[], Any]) -> None:
    try:
        act()
    except QuickstudyError as error:
        told = str(error)
        assert told and len(told) < 3000, f"{told[:100]} …"


def read_table(path: Path) -> None:
    format = formats.make("table", group="group")
    records = format.find(path)
    format.store(records.items)


def read_series(path: Path) -> None:
    format = formats.make("series", window=4)
    for values in format.find(path).items:
        stored = format.store(values)
        features, y = format.examples(stored.x, None, format.prepare(stored.x))
        assert bool(torch.isfinite(features).all() & torch.isfinite(y).all()), "overflow without a word"


FILES: dict[str, tuple[bytes, Callable[[Path], Any]]] = {
    "table": (ROWS, read_table),
    "series": (SERIES, read_series),
    "drawings": (ARCHIVE, lambda path: read_archive(path, 8)),
    "one-shot runs": (RUNS, lambda path: oneshot_runs(path, formats.make("image", size=8, channels=1))),
} | {
    kind: (picture(kind), lambda path: decode(path, 3)) for kind in ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
}


@pytest.mark.parametrize("name", FILES)
def test_damaged_files(name: str, tmp_path: Path) -> None:
    whole, read = FILES[name]

    @given(damaged_bytes(whole))
    def fuzz(data: bytes) -> None:
        (tmp_path / "file").write_bytes(data)
        quietly(lambda: read(tmp_path / "file"))

    read((tmp_path / "file").write_bytes(whole) and tmp_path / "file")
    fuzz()


@pytest.mark.parametrize("name", ["table", "series"])
def test_odd_cells(name: str, tmp_path: Path) -> None:
    whole, read = FILES[name]
    lines = [line.split(",") for line in whole.decode().splitlines()]

    @given(st.integers(1, len(lines) - 1), st.integers(0, len(lines[0]) - 1), st.sampled_from(CELLS))
    def fuzz(row: int, column: int, cell: str) -> None:
        damaged = [list(line) for line in lines]
        damaged[row][column] = cell
        (tmp_path / "file").write_text("\n".join(map(",".join, damaged)))
        quietly(lambda: read(tmp_path / "file"))

    fuzz()


@pytest.fixture(scope="module")
def bank_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Bank]:
    """Makes a bank of three tasks."""

    def make() -> Bank:
        bank = Bank(tmp_path_factory.mktemp("banks") / "bank")
        base = bank.phi.add("ba5e", {"network.w": torch.zeros(3)}, {"body": ["w"]})
        entries = [
            Entry(f"task {i}", "abc", base, "MemoryLearner", "float32", torch.randn(4), metrics={"accuracy": 0.5})
            for i in range(3)
        ]
        bank.add([(entry, encode({"w": torch.randn(3)}, {}, "float32"), None) for entry in entries])
        return bank

    return make


def test_entries_damaged_and_checksummed_again(bank_of: Callable[[], Bank], tmp_path: Path) -> None:
    """One of three entries says odd things of itself: the others are still listed, drawn and exported."""
    whole = bank_of()
    row = whole._whole(whole.entries()[1].id)
    told, parameters = json.loads(row["told"]), row["parameters"]

    @given(damaged_json(told), st.one_of(st.just(parameters), damaged_bytes(parameters)))
    def fuzz(told: Any, parameters: bytes) -> None:
        import pyarrow as pa

        bank = bank_of()
        damaged = row | {"id": "abcdef", "told": json.dumps(told), "parameters": parameters}
        damaged |= {"sha256": row_checksum(damaged)}
        table = bank.tables.table("tasks")
        table.add(pa.Table.from_pylist([damaged], schema=table.schema))
        assert len([entry for entry in bank.entries() if entry.id != "abcdef"]) == 3
        quietly(lambda: bank.load("abcdef"))
        usefulness(bank.entries())
        quietly(lambda: write_map(bank, tmp_path / "map.html"))
        quietly(lambda: export(bank, Path(bank.uri).parent / "out"))
        bank.remove(list(bank.check()))
        assert {entry.name for entry in bank.entries()} >= {"task 0", "task 1", "task 2"}

    fuzz()


def test_parameters_of_entries_damaged_and_checksummed_again(bank_of: Callable[[], Bank]) -> None:
    """Three entries of one task, one with other parameters than it says: it is damaged, or nothing goes wrong."""
    whole = bank_of()
    row, odd = whole._whole(whole.entries()[1].id), unpack(encode({"w": torch.randn(3)}, {}, "float32"))

    @given(damaged_tensors(odd), st.sampled_from(["float32", "bfloat16", "int8"]))
    def fuzz(odd: Any, codec: str) -> None:
        import pyarrow as pa

        bank = bank_of()
        told = json.loads(row["told"]) | {"codec": codec}
        damaged = row | {"id": "abcdef", "told": json.dumps(told), "parameters": pack(odd)}
        damaged |= {"sha256": row_checksum(damaged)}
        table = bank.tables.table("tasks")
        table.add(pa.Table.from_pylist([damaged], schema=table.schema))
        fits = odd.keys() == {"w"} and odd["w"].shape == (3,) and odd["w"].is_floating_point()
        fits = fits and bool(torch.isfinite(odd["w"].float()).all())
        assert set(bank.check()) == (set() if fits and codec != "int8" else {"abcdef"})
        merge(bank, closeness=-1.0)
        for entry in bank.entries():
            assert entry.id == "abcdef" or bool(torch.isfinite(bank.load(entry.id)["w"]).all())

    fuzz()


def test_facts_of_phi_damaged_and_checksummed_again(bank_of: Callable[[], Bank]) -> None:
    from quickstudy.memory.runs import memory_of_bank

    @given(
        st.one_of(damaged_json({"config": {}, "spec": {}, "codec": "float32", "keep": "hash"}), st.just("[" * 100_000))
    )
    def fuzz(facts: Any) -> None:
        bank = bank_of()
        if isinstance(facts, dict):
            bank.phi.add("c0de", {"network.w": torch.zeros(3)}, facts)
        quietly(lambda: memory_of_bank(bank, "c0de"))

    fuzz()
