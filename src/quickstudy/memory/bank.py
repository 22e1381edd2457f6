"""A bank of solved tasks on LanceDB: an embedded database in a folder, or the same on an object store."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from quickstudy.episode import Examples, Params
from quickstudy.errors import CheckpointError, DataError, MissingExtra, RunError
from quickstudy.memory.codec import checksum, decode, pack, unpack
from quickstudy.memory.entry import DESCRIBING, TEXTS, Entry, from_row, row_checksum, to_row, unpack_examples
from quickstudy.memory.nearest import EXACT, Nearest, ask_index, build_index

FORMAT = 1
"""Version of the bank's tables; banks of a later one are refused."""
_TASKS, _BASES = "tasks", "bases"


def lancedb() -> Any:
    """The module, or MissingExtra that names what to install."""
    try:
        import lancedb
    except ImportError as error:
        raise MissingExtra("lancedb", "memory", "A bank of tasks") from error
    return lancedb


class Bank:
    """Tasks with their parameters and descriptions: `add`, `recall`, `load`, `entries`, `remove`, `check`.

    uri: a folder, or an object store ('s3://bucket/bank'). options: for the store, such as credentials; see LanceDB's
    storage options. create: make it if there is none. Appends are atomic, and several processes may write at once.
    Raises RunError where it cannot be opened, and CheckpointError for a bank that a newer version made.
    """

    def __init__(self, uri: str | Path, options: Mapping[str, str] | None = None, create: bool = True) -> None:
        self.uri = str(uri)
        local = "://" not in self.uri
        if local and not create and not (Path(self.uri) / f"{_TASKS}.lance").exists():
            raise RunError(f"There is no bank at {self.uri}. Make one: quickstudy memory build {self.uri} --run RUN")
        with self._storage("open"):
            # An interval of 0 shows each process at once what the others have written.
            self._db = lancedb().connect(
                self.uri, read_consistency_interval=timedelta(0), storage_options=dict(options or {})
            )
            self._names = list(self._db.list_tables().tables) if local else None
        self._tables: dict[str, Any] = {}
        self._cache: Nearest | None = None
        if self._has(_TASKS):
            self._check_format()

    @contextmanager
    def _storage(self, what: str) -> Iterator[None]:
        """Errors of the database, which are of many kinds, as one of ours."""
        try:
            yield
        except (OSError, RuntimeError, ValueError) as error:
            if isinstance(error, (CheckpointError, RunError, DataError)):
                raise
            raise RunError(
                f"Could not {what} the bank at {self.uri}: {_short(error)}. What was stored before is intact. Look at "
                "the folder's permissions and free space, or at the object store's address and credentials."
            ) from error

    def _has(self, name: str) -> bool:
        if name in self._tables:
            return True
        with self._storage("open"):
            return name in self._db.list_tables().tables

    def _table(self, name: str, schema: Any = None) -> Any:
        """The table `name`, made with `schema` where there is none yet."""
        if name not in self._tables:
            with self._storage("write to" if schema is not None else "read"):
                if schema is None:
                    self._tables[name] = self._db.open_table(name)
                else:
                    self._tables[name] = self._db.create_table(name, schema=schema, mode="create", exist_ok=True)
        return self._tables[name]

    def _check_format(self) -> None:
        metadata = self._table(_TASKS).schema.metadata or {}
        found = int(metadata.get(b"quickstudy_format", b"0"))
        if not 0 < found <= FORMAT:
            raise CheckpointError(
                f"The bank at {self.uri} has format {found}, written by a newer quickstudy; this version reads up to "
                f"{FORMAT}. Upgrade with: pip install --upgrade quickstudy"
                if found
                else f"{self.uri} holds tables of LanceDB that quickstudy did not write. Give another folder."
            )

    def _schema(self, size: int) -> Any:
        import pyarrow as pa

        columns = [pa.field(name, pa.string()) for name in (*TEXTS, "statistics", "metrics", "parents", "versions")]
        columns += [pa.field("descriptor", pa.list_(pa.float32(), size)), pa.field("kept", pa.bool_())]
        columns += [pa.field("size", pa.int64()), pa.field("sha256", pa.string())]
        columns += [pa.field("parameters", pa.large_binary()), pa.field("support", pa.large_binary())]
        return pa.schema(columns, metadata={"quickstudy_format": str(FORMAT)})

    @property
    def descriptor_size(self) -> int | None:
        """The length of the descriptors; None while the bank is new."""
        return int(self._table(_TASKS).schema.field("descriptor").type.list_size) if self._has(_TASKS) else None

    def __len__(self) -> int:
        if not self._has(_TASKS):
            return 0
        with self._storage("read"):
            return int(self._table(_TASKS).count_rows())

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
        table = self._table(_TASKS, schema)
        with self._storage("write to"):
            table.add(pa.Table.from_pylist(rows, schema=schema))
        return [row["id"] for row in rows]

    def _rows(self, columns: Sequence[str], where: str = "") -> list[dict[str, Any]]:
        if not self._has(_TASKS):
            return []
        with self._storage("read"):
            query = self._table(_TASKS).search().select(list(columns))
            found: list[dict[str, Any]] = (query.where(where) if where else query).to_arrow().to_pylist()
            return found

    def entries(self, signature: str | None = None) -> list[Entry]:
        """All entries, oldest first. signature: only those whose parameters fit."""
        rows = self._rows(DESCRIBING, f"signature = '{_quoted(signature)}'" if signature else "")
        return sorted((from_row(row) for row in rows), key=lambda entry: (entry.created, entry.id))

    def load(self, id: str) -> Params:
        """The parameters of an entry, in float32, without prefix.

        Raises DataError if it is not there (any more), and CheckpointError if its bytes do not match its checksum.
        """
        row = self._whole(id)
        return decode(row["parameters"], self.base(row["base"])[0], row["codec"])

    def support(self, id: str) -> Examples | None:
        """The support set of an entry, if it was kept."""
        data = self._whole(id)["support"]
        return None if data is None else unpack_examples(data)

    def _whole(self, id: str) -> dict[str, Any]:
        rows = self._rows((*DESCRIBING, "parameters", "support"), f"id = '{_quoted(id)}'")
        if not rows:
            raise DataError(f"The bank at {self.uri} has no entry {id!r} (any more).")
        if row_checksum(rows[0]) != rows[0]["sha256"]:
            raise CheckpointError(
                f"The entry {rows[0]['name']!r} ({id}) does not match its checksum: it was edited or damaged, and is "
                f"never used. Remove it: quickstudy memory check {self.uri} --remove"
            )
        return rows[0]

    def check(self) -> dict[str, str]:
        """What is wrong with which entry, by id; empty if all are whole."""
        wrong: dict[str, str] = {}
        for row in self._rows(("id",)):
            try:
                self.load(row["id"])
            except (CheckpointError, DataError) as error:
                wrong[row["id"]] = str(error)
        return wrong

    def remove(self, ids: Sequence[str]) -> None:
        """Forget these entries."""
        if ids:
            with self._storage("write to"):
                self._table(_TASKS).delete("id IN (" + ", ".join(f"'{_quoted(i)}'" for i in ids) + ")")

    def compact(self) -> None:
        """Give back the space of what was removed, and join the small files that many appends leave."""
        if self._has(_TASKS):
            with self._storage("write to"):
                self._table(_TASKS).optimize(cleanup_older_than=timedelta(0))

    def index(self) -> None:
        """Make (or remake) an index of the descriptors, for `recall` from more than 100,000 entries."""
        if len(self):
            with self._storage("write to"):
                build_index(self._table(_TASKS), int(self.descriptor_size or 0))

    def recall(self, descriptor: Tensor, count: int = 5, signature: str | None = None) -> list[tuple[Entry, float]]:
        """The `count` entries nearest to a descriptor (D,), by cosine, nearest first, each with its closeness.

        Exact up to 100,000 entries, and beyond wherever there is no index; see `index`. signature: only entries whose
        parameters fit. Raises DataError for an empty bank, or for one none of whose entries fits.
        """
        total = len(self)
        if not total:
            raise DataError(f"The bank at {self.uri} is empty. Fill it: quickstudy memory build {self.uri} --run RUN")
        if (size := self.descriptor_size) != len(descriptor):
            raise DataError(f"The bank's descriptors have the length {size}, but this one has {len(descriptor)}.")
        with self._storage("read"):
            if total > EXACT and self.indexed:
                found = ask_index(self._table(_TASKS), descriptor, count, signature)
            else:
                found = self._nearest().ask(descriptor, count, signature)
        if not found:
            raise DataError(
                f"None of the {total} entries of the bank at {self.uri} fits the signature {signature}: they are of "
                "other networks or other kinds of tasks."
            )
        wanted = ", ".join(f"'{_quoted(id)}'" for id, _ in found)
        rows = {row["id"]: row for row in self._rows(DESCRIBING, f"id IN ({wanted})")}
        return [(from_row(rows[id]), closeness) for id, closeness in found if id in rows]

    def _nearest(self) -> Nearest:
        table = self._table(_TASKS)
        version = table.version
        if self._cache is None or self._cache.version != version:
            columns = table.search().select(["id", "signature", "descriptor"]).to_arrow()
            self._cache = Nearest.of(columns, version)
        return self._cache

    @property
    def indexed(self) -> bool:
        """Whether there is an index over the descriptors."""
        return bool(self._has(_TASKS) and self._table(_TASKS).list_indices())

    def base(self, id: str) -> tuple[Params, dict[str, Any]]:
        """A φ that entries belong to, and what is known of it, such as the config of its run."""
        if id not in self._bases:
            with self._storage("read"):
                rows = (
                    self._table(_BASES).search().where(f"id = '{_quoted(id)}'").limit(1).to_arrow().to_pylist()
                    if self._has(_BASES)
                    else []
                )
            if not rows:
                raise DataError(f"The bank at {self.uri} has no φ {id!r} (any more), to which its entries belong.")
            if checksum(rows[0]["parameters"], rows[0]["facts"])[:12] != id:
                raise CheckpointError(f"The φ {id} of the bank at {self.uri} does not match its checksum.")
            self._bases[id] = unpack(rows[0]["parameters"]), json.loads(rows[0]["facts"])
        return self._bases[id]

    @cached_property
    def _bases(self) -> dict[str, tuple[Params, dict[str, Any]]]:
        return {}

    def bases(self) -> list[str]:
        """The ids of all φ, oldest first."""
        if not self._has(_BASES):
            return []
        with self._storage("read"):
            rows = self._table(_BASES).search().select(["id"]).to_arrow().to_pylist()
        return list(dict.fromkeys(row["id"] for row in rows))

    def add_base(self, params: Params, facts: Mapping[str, Any]) -> str:
        """Store a φ once; its id, 12 hexadecimal digits of its checksum."""
        import pyarrow as pa

        data, told = pack(params), json.dumps(facts, sort_keys=True)
        id = checksum(data, told)[:12]
        if id not in self.bases():
            schema = pa.schema([("id", pa.string()), ("parameters", pa.large_binary()), ("facts", pa.string())])
            table = self._table(_BASES, schema)
            with self._storage("write to"):
                table.add(pa.Table.from_pylist([{"id": id, "parameters": data, "facts": told}], schema=schema))
        return id


def _quoted(text: str) -> str:
    return text.replace("'", "''")


def _short(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:300]
