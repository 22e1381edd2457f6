"""A bank of solved tasks on LanceDB: an embedded database in a folder, or the same on an object store."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from quickstudy.episode import Examples, Params
from quickstudy.errors import CheckpointError, DataError, RunError
from quickstudy.memory.bases import Bases
from quickstudy.memory.codec import decode, infinite, misplaced
from quickstudy.memory.entry import DESCRIBING, Entry, from_row, label, row_checksum, to_row, unpack_examples
from quickstudy.memory.nearest import EXACT, Nearest, ask_index, build_index, nearest_in
from quickstudy.memory.tables import Tables, among, equals

FORMAT = 1
"""Version of the bank's tables; banks of a later one are refused."""
TASKS = "tasks"
_WHOLE = (*DESCRIBING, "sha256", "parameters", "support")
_PHI = "φ "
_READ = 256  # entries read at once
_log = logging.getLogger(__name__)


def is_bank(place: Path) -> bool:
    """Whether a bank lies in that folder."""
    return (place / f"{TASKS}.lance").exists()


class Bank:
    """Tasks with their parameters and descriptions: `add`, `recall`, `load`, `entries`, `remove`, `check`.

    uri: a folder, or an object store ('s3://bucket/bank'). options: for the store, such as credentials; see LanceDB's
    storage options. create: make it if there is none. Appends are atomic, and several processes may write at once.
    Raises RunError where it cannot be opened, and CheckpointError for a bank that a newer version made.
    """

    def __init__(self, uri: str | Path, options: Mapping[str, str] | None = None, create: bool = True) -> None:
        self.uri = str(uri)
        if "://" not in self.uri and not create and not (Path(self.uri) / f"{TASKS}.lance").exists():
            raise RunError(f"There is no bank at {self.uri}. Make one: quickstudy memory build {self.uri} --run RUN")
        self.tables = Tables(self.uri, options)
        self._cache: Nearest | None = None
        self.phi = Bases(self.tables)
        if self.tables.has(TASKS):
            self._check_format()
        elif not create and "://" not in self.uri:
            raise RunError(
                f"The bank at {self.uri} has no table of tasks that can be opened: its files are damaged, or of "
                "something else. Restore it from a copy."
            )

    def _check_format(self) -> None:
        metadata = self.tables.table(TASKS).schema.metadata or {}
        version = int(metadata.get(b"quickstudy_format", b"0"))
        if not 0 < version <= FORMAT:
            raise CheckpointError(
                f"The bank at {self.uri} has format {version}, written by a newer quickstudy; this version reads up to "
                f"{FORMAT}. Upgrade with: pip install --upgrade quickstudy"
                if version
                else f"{self.uri} holds tables of LanceDB that quickstudy did not write. Give another folder."
            )

    def _schema(self, size: int) -> Any:
        import pyarrow as pa

        columns = [pa.field(name, pa.string()) for name in ("id", "signature", "told", "sha256")]
        columns += [pa.field("descriptor", pa.list_(pa.float32(), size))]
        columns += [pa.field("parameters", pa.large_binary()), pa.field("support", pa.large_binary())]
        return pa.schema(columns, metadata={"quickstudy_format": str(FORMAT)})

    @property
    def descriptor_size(self) -> int | None:
        """The length of the descriptors; None while the bank is new."""
        return (
            int(self.tables.table(TASKS).schema.field("descriptor").type.list_size) if self.tables.has(TASKS) else None
        )

    def __len__(self) -> int:
        if not self.tables.has(TASKS):
            return 0
        with self.tables.guard("read"):
            return int(self.tables.table(TASKS).count_rows())

    def add(self, items: Sequence[tuple[Entry, bytes, bytes | None]]) -> list[str]:
        """Append entries with their encoded parameters and support sets; their ids, once all of them are stored.

        Either all are stored or none is. Raises DataError for descriptors of another length than the bank's.
        """
        import pyarrow as pa

        if not items:
            return []
        sizes = {len(entry.descriptor) for entry, _, _ in items} | ({self.descriptor_size} - {None})
        if len(sizes) > 1:
            raise DataError(
                f"Descriptors of the lengths {sorted(map(str, sizes))} cannot lie in one bank: they were made by "
                "different networks or in different ways. Use a bank of its own for each."
            )
        bad = next((entry.name for entry, _, _ in items if not bool(torch.isfinite(entry.descriptor).all())), None)
        if bad is not None:
            raise DataError(f"The description of {bad!r} holds NaN or infinite values: its training diverged.")
        rows = [to_row(*item) for item in items]
        schema = self._schema(len(items[0][0].descriptor))
        table = self.tables.table(TASKS, schema)
        self.tables.append(table, pa.Table.from_pylist(rows, schema=schema))
        return [row["id"] for row in rows]

    def entries(self, signature: str | None = None) -> list[Entry]:
        """All entries, oldest first. signature: only those whose parameters fit."""
        rows = self.tables.rows(TASKS, DESCRIBING, equals("signature", signature) if signature else "")
        return sorted(self._readable(rows), key=lambda entry: (entry.created, entry.id))

    def _readable(self, rows: Iterable[dict[str, Any]]) -> Iterator[Entry]:
        """The rows as entries; those that cannot be read are left out with a warning."""
        for row in rows:
            try:
                yield from_row(row)
            except CheckpointError as error:
                _log.warning("%s It is left out; quickstudy memory check %s --remove removes it.", error, self.uri)

    def load(self, id: str) -> Params:
        """The parameters of an entry, in float32, without prefix.

        Raises DataError if it is not there (any more), and CheckpointError if its bytes do not match its checksum.
        """
        return self._decoded(self._whole(id))

    def load_many(self, ids: Sequence[str]) -> tuple[dict[str, Params], dict[str, str]]:
        """The parameters of several entries by id, in one reading; and what is wrong with those that are left out."""
        rows = self.tables.rows(TASKS, _WHOLE, among("id", ids))
        tasks: dict[str, Params] = {}
        wrong = {id: self._missing(id) for id in ids if id not in {row["id"] for row in rows}}
        for row in rows:
            try:
                tasks[row["id"]] = self._decoded(self._checked(row))
            except (CheckpointError, DataError) as error:
                wrong[row["id"]] = str(error)
        return tasks, wrong

    def _decoded(self, row: dict[str, Any]) -> Params:
        """The parameters of an entry; CheckpointError where they are not of the network at the φ it belongs to."""
        entry = from_row(row)
        origin = self.phi.origin(entry.base) if entry.codec == "int8" or self.phi.usable(entry.base) else {}
        task = decode(row["parameters"], origin, entry.codec)
        # Without its φ, which only differences need, nothing tells what its names and shapes should be.
        if wrong := misplaced(task, origin, self.phi.body(entry.base)) if origin else infinite(task):
            raise CheckpointError(f"The entry {label(row)} is damaged: {wrong}. {self._remove}")
        return task

    @property
    def _remove(self) -> str:
        return f"Remove it: quickstudy memory check {self.uri} --remove"

    def support(self, id: str) -> Examples | None:
        """The support set of an entry, if it was kept."""
        data = self._whole(id)["support"]
        return None if data is None else unpack_examples(data)

    def _whole(self, id: str) -> dict[str, Any]:
        rows = self.tables.rows(TASKS, _WHOLE, equals("id", id))
        if not rows:
            raise DataError(self._missing(id))
        return self._checked(rows[0])

    def _missing(self, id: str) -> str:
        return f"The bank at {self.uri} has no entry {id!r} (any more)."

    def _checked(self, row: dict[str, Any]) -> dict[str, Any]:
        if row_checksum(row) != row["sha256"]:
            raise CheckpointError(
                f"The entry {label(row)} does not match its checksum: it was edited or damaged, and is never used. "
                f"{self._remove}"
            )
        return row

    def check(self) -> dict[str, str]:
        """What is wrong with which entry, or with which φ ('φ <id>'), by id; empty if all are whole."""
        wrong: dict[str, str] = {}
        for base in self.phi.ids():
            try:
                self.phi.load(base)
            except CheckpointError as error:
                wrong[f"{_PHI}{base}"] = str(error)
        ids = [row["id"] for row in self.tables.rows(TASKS, ("id",))]
        for start in range(0, len(ids), _READ):
            wrong |= self.load_many(ids[start : start + _READ])[1]
        return wrong

    def remove(self, ids: Sequence[str]) -> None:
        """Forget these entries, and each φ that is called 'φ <id>', as `check` calls it."""
        bases = [id.removeprefix(_PHI) for id in ids if id.startswith(_PHI)]
        self.phi.remove(bases)
        if entries := [id for id in ids if not id.startswith(_PHI)]:
            with self.tables.guard("write to"):
                self.tables.table(TASKS).delete(among("id", entries))

    def compact(self) -> None:
        """Give back the space of what was removed, and join the small files that many appends leave.

        Other processes that are reading or writing meanwhile may fail; nothing that is stored is lost.
        """
        if self.tables.has(TASKS):
            with self.tables.guard("write to"), warnings.catch_warnings():
                warnings.filterwarnings("ignore", "optimize\\(cleanup_older_than=0\\)")  # as said above
                self.tables.table(TASKS).optimize(cleanup_older_than=timedelta(0))

    def index(self) -> None:
        """Make (or remake) an index of the descriptors, for `recall` from more than 100,000 entries."""
        if len(self):
            with self.tables.guard("write to"):
                build_index(self.tables.table(TASKS), int(self.descriptor_size or 0))

    def recall(self, descriptor: Tensor, count: int = 5, signature: str | None = None) -> list[tuple[Entry, float]]:
        """The `count` entries nearest to a descriptor (D,), by cosine, nearest first, each with its closeness.

        Exact up to 100,000 entries, and beyond wherever there is no index; see `index`. signature: only entries whose
        parameters fit. Raises DataError for an empty bank, or for one none of whose entries fits.
        """
        if not self.tables.has(TASKS) or not (total := self._count()):
            raise DataError(f"The bank at {self.uri} is empty. Fill it: quickstudy memory build {self.uri} --run RUN")
        if (size := self.descriptor_size) != len(descriptor):
            raise DataError(f"The bank's descriptors have the length {size}, but this one has {len(descriptor)}.")
        with self.tables.guard("read"):
            if total > EXACT and self.indexed:
                near = ask_index(self.tables.table(TASKS), descriptor, count, signature)
            else:
                self._cache = nearest_in(self.tables.table(TASKS), self._cache)
                near = self._cache.ask(descriptor, count, signature)
            rows = self._at([id for id, _, _ in near], [place for _, place, _ in near])
        if not near:
            raise DataError(
                f"None of the {total} entries of the bank at {self.uri} fits the signature {signature}: they are of "
                "other networks or other kinds of tasks."
            )
        entries = {entry.id: entry for entry in self._readable(rows)}
        return [(entries[id], closeness) for id, _, closeness in near if id in entries]

    def _count(self) -> int:
        """How many entries there are, without asking where nothing has changed."""
        table = self.tables.table(TASKS)
        if self._cache is not None and self._cache.version == table.version:
            return len(self._cache.ids)
        total = len(self)
        if total > EXACT and not self.indexed:
            _log.warning("The bank has %d entries and no index: see quickstudy memory index.", total)
        return total

    def _at(self, ids: list[str], places: list[int]) -> list[dict[str, Any]]:
        """The rows of these entries, by their places; by their ids where the table was rearranged."""
        if not ids:
            return []
        query = self.tables.table(TASKS).take_row_ids(places).select(list(DESCRIBING))
        rows: list[dict[str, Any]] = query.to_arrow().to_pylist()
        if {row["id"] for row in rows} == set(ids):
            return rows
        return self.tables.rows(TASKS, DESCRIBING, among("id", ids))

    @property
    def indexed(self) -> bool:
        """Whether there is an index over the descriptors."""
        return bool(self.tables.has(TASKS) and self.tables.table(TASKS).list_indices())
