"""The φ that the entries of a bank belong to: what described them, and what 8-bit differences are differences from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

from quickstudy.entries import PARAMETER, not_finite, prefixed
from quickstudy.episode import Params
from quickstudy.errors import CheckpointError, DataError
from quickstudy.memory.entry import check_id
from quickstudy.memory.tables import Tables, among, equals
from quickstudy.storage.json import fitting, parsed
from quickstudy.storage.tensors import checksum, pack, unpack

_BASES = "bases"


class _Facts(TypedDict):
    body: NotRequired[list[str]]


class Bases:
    """Each φ by its id, see `quickstudy.memory.entry.base_id`, with facts such as the config of its run."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._loaded: dict[str, tuple[Params, dict[str, Any]]] = {}

    def load(self, id: str) -> tuple[Params, dict[str, Any]]:
        """A φ that entries belong to, and what is known of it, such as the config of its run."""
        if id not in self._loaded:
            rows = self._tables.rows(_BASES, ("id", "parameters", "facts", "sha256"), equals("id", id))
            if not rows:
                raise DataError(
                    f"The bank at {self._tables.uri} has no φ {id!r} (any more), to which its entries belong."
                )
            try:
                check_id(id)
            except DataError as error:
                raise CheckpointError(f"The φ {id!r} of the bank at {self._tables.uri} is damaged: {error}") from error
            parameters, facts = rows[0]["parameters"], rows[0]["facts"]
            if checksum(id, parameters, facts) != rows[0]["sha256"]:
                raise CheckpointError(
                    f"The φ {id} of the bank at {self._tables.uri} does not match its checksum: it was edited or "
                    "damaged. Entries stored as differences from it cannot be used. Restore the bank from a copy."
                )
            params = unpack(parameters)
            if (bad := not_finite(params)) is not None:
                raise CheckpointError(
                    f"The φ {id} of the bank at {self._tables.uri} is damaged: {bad!r} holds NaN or infinite values. "
                    "Restore the bank from a copy."
                )
            self._loaded[id] = params, parsed(facts, f"What is told of the φ {id}", dict[str, Any])
        return self._loaded[id]

    def origin(self, id: str) -> Params:
        """The network's parameters at φ, without prefix: what 8-bit differences are differences from."""
        return prefixed(PARAMETER, self.load(id)[0])

    def usable(self, id: str) -> bool:
        """Whether a φ is there and whole."""
        try:
            self.load(id)
        except (CheckpointError, DataError):
            return False
        return True

    def body(self, id: str) -> list[str]:
        """The names of the parameters that every task has which belongs to a φ."""
        facts = self.load(id)[1]
        names: list[str] = fitting(facts, _Facts, f"What is told of the φ {id}").get("body", [])
        return names

    def ids(self) -> list[str]:
        """The ids of all φ, oldest first."""
        return list(dict.fromkeys(row["id"] for row in self._tables.rows(_BASES, ("id",))))

    def add(self, id: str, params: Params, facts: Mapping[str, Any]) -> str:
        """Store a φ under its id, once; the id. Raises DataError for an id that is not hexadecimal."""
        import pyarrow as pa

        if check_id(id) not in self.ids():
            data, told = pack(params), json.dumps(facts, sort_keys=True)
            columns = [pa.field(name, pa.string()) for name in ("id", "facts", "sha256")]
            schema = pa.schema([*columns, pa.field("parameters", pa.large_binary())])
            row = {"id": id, "parameters": data, "facts": told, "sha256": checksum(id, data, told)}
            self._tables.append(self._tables.table(_BASES, schema), pa.Table.from_pylist([row], schema=schema))
        return id

    def keep(self, used: set[str]) -> None:
        """Forget every φ that is not `used`, but for the newest."""
        self.remove([id for id in self.ids()[:-1] if id not in used])

    def remove(self, ids: Sequence[str]) -> None:
        """Forget these."""
        if ids:
            with self._tables.guard("write to"):
                self._tables.table(_BASES).delete(among("id", ids))
            for id in ids:
                self._loaded.pop(id, None)
