"""The tables of a bank in LanceDB, and its many kinds of errors as one."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from quickstudy.errors import CheckpointError, DataError, MissingExtra, RunError
from quickstudy.files import require_regular

_PATIENCE = 120.0  # seconds to go on trying where other writers are faster
_OVERTAKEN = ("ommit conflict", "oncurrent writers")  # what the database says then; nothing was written


def lancedb() -> Any:
    """The module, or MissingExtra that names what to install."""
    try:
        import lancedb
    except ImportError as error:
        raise MissingExtra("lancedb", "memory", "A bank of tasks") from error
    return lancedb


class Tables:
    """Tables by name, opened when they are first needed. uri, options: see `Bank`."""

    def __init__(self, uri: str, options: Mapping[str, str] | None) -> None:
        self.uri = uri
        self._open: dict[str, Any] = {}
        for folder, _, files in [] if "://" in uri else os.walk(uri):  # the database would wait for a pipe without end
            for name in files:
                require_regular(os.path.join(folder, name))
        with self.guard("open"):
            # An interval of 0 shows each process at once what the others have written.
            self._db = lancedb().connect(
                uri, read_consistency_interval=timedelta(0), storage_options=dict(options or {})
            )

    @contextmanager
    def guard(self, what: str) -> Iterator[None]:
        """Errors of the database, which are of many kinds, as one of ours."""
        try:
            yield
        except (OSError, RuntimeError, ValueError) as error:
            if isinstance(error, (CheckpointError, RunError, DataError)):
                raise
            kept = (
                "What was stored before is intact."
                if what == "write to"
                else "If its files were damaged, restore them."
            )
            raise RunError(
                f"Could not {what} the bank at {self.uri}: {_short(error)}. {kept} Look at the folder's permissions "
                "and free space, or at the object store's address and credentials."
            ) from error

    def has(self, name: str) -> bool:
        if name not in self._open:
            with self.guard("open"):
                if name not in self._db.list_tables().tables:
                    return False
                try:
                    self._open[name] = self._db.open_table(name)
                except ValueError as error:
                    if "was not found" not in str(error):
                        raise
                    return False  # another process is making it at this moment, and so far there is its folder only
        return True

    def table(self, name: str, schema: Any = None) -> Any:
        """The table `name`, made with `schema` where there is none yet."""
        if name not in self._open:
            with self.guard("write to" if schema is not None else "read"):
                if schema is None:
                    self._open[name] = self._db.open_table(name)
                else:
                    self._open[name] = self._db.create_table(name, schema=schema, mode="create", exist_ok=True)
        return self._open[name]

    def rows(self, name: str, columns: Sequence[str], where: str = "") -> list[dict[str, Any]]:
        if not self.has(name):
            return []
        with self.guard("read"):
            query = self.table(name).search().select(list(columns))
            rows: list[dict[str, Any]] = (query.where(where) if where else query).to_arrow().to_pylist()
            return rows

    def append(self, table: Any, rows: Any) -> None:
        """Append, again where writers beside this one were faster so often that the database gave up."""
        deadline = time.monotonic() + _PATIENCE
        with self.guard("write to"):
            while True:
                try:
                    table.add(rows)
                    return
                except RuntimeError as error:
                    if not any(words in str(error) for words in _OVERTAKEN) or time.monotonic() > deadline:
                        raise
                    time.sleep(random.uniform(0.01, 0.2))


def equals(column: str, text: str) -> str:
    """The condition that a column holds this text."""
    return f"{column} = {_quoted(text)}"


def among(column: str, texts: Iterable[str]) -> str:
    """The condition that a column holds one of these texts."""
    listed = ", ".join(map(_quoted, texts))
    return f"{column} IN ({listed})" if listed else "false"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _short(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:300]
