"""What the estimators for tables share: what they take, how they learn it, and how they are stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar
from warnings import warn

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_consistent_length, validate_data

from quickstudy.deploy.model import Model
from quickstudy.episode import leaves
from quickstudy.errors import ConfigError, QuickstudyError
from quickstudy.formats.base import Format
from quickstudy.formats.records import Stored, say
from quickstudy.hints import Size, misfit
from quickstudy.sklearn.packing import packed, unpacked
from quickstudy.sklearn.parts import telling
from quickstudy.sklearn.trained import Trained, as_value_errors, trained

Array = NDArray[Any]
_BATCH = 4096  # rows that are asked about at once


class TableEstimator(BaseEstimator):  # type: ignore[misc]
    """Learns a table by a run that was trained before; see `FewShotClassifier`.

    After `fit`: `models_`, for each code of the classes the adapted models that share the rows. `columns_`, which
    columns are read. `n_features_in_`, and of frames `feature_names_in_`.
    """

    _numbers: ClassVar[bool] = False

    def __init__(
        self,
        run: Any = "tables",
        *,
        rows: int = 1000,
        columns: int = 100,
        categories: Sequence[Any] = (),
        random_state: Any = 0,
        device: str | None = None,
    ) -> None:
        self.run = run
        self.rows = rows
        self.columns = columns
        self.categories = categories
        self.random_state = random_state
        self.device = device

    def _trained(self) -> Trained:
        return trained(self.run, self.device, self._numbers)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        try:
            mixed = _mixed(self._trained().format)
        except (QuickstudyError, TypeError, AttributeError, RuntimeError):  # of a parameter that `fit` will refuse
            mixed = False
        # `string` stays False, though texts are taken: it says that any object is.
        tags.input_tags.allow_nan = tags.input_tags.categorical = mixed
        return tags

    # What they take

    def _require_table(self, format: Format) -> None:
        """ConfigError for parameters that do not fit, or a run that is not of tables."""
        for name, what in (("rows", self.rows), ("columns", self.columns)):
            if wrong := misfit(what, Size, name):
                raise ConfigError(f"{wrong}. Give a whole number.")
        if [len(leaf.shape) for leaf in format.layout.values()] != [2 if _mixed(format) else 1]:
            raise ConfigError(
                f"{type(self).__name__} takes rows of a table, but the run was trained on {format}. Give another run."
            )
        if len(self.categories) and not _mixed(format):
            raise ConfigError("The run was trained on numbers alone: leave categories out, or code them.")

    def _categories(self, X: Any) -> set[int]:
        """The numbers of columns that hold categories: those of the parameter, and of a frame those of that type."""
        names = list(getattr(self, "feature_names_in_", ()))
        found = {i for i, one in enumerate(getattr(X, "dtypes", ())) if str(one) == "category"}
        for one in self.categories:
            place = names.index(one) if one in names else one
            if isinstance(place, bool) or not isinstance(place, int | np.integer) or place not in range(X.shape[1]):
                raise ConfigError(
                    f"categories names {one!r:.60}, but there are {X.shape[1]} columns{f': {names}' if names else ''}. "
                    "Give names, or numbers from 0 on."
                )
            found.add(int(place))
        return found

    def _opened(self, format: Format, rows: Any, categories: set[int]) -> tuple[Format, Stored]:
        """The format that the columns to be read teach, and the rows as it stores them."""
        if len(self.columns_) < self.n_features_in_:
            rows = _taken(rows, self.columns_)
        if _mixed(format):
            names = list(rows.columns) if hasattr(rows, "iloc") else [f"column {i + 1}" for i in range(rows.shape[1])]
            told = tuple(name for name, i in zip(names, self.columns_.tolist(), strict=True) if i in categories)
            format = format.told(label="", **({"categories": told} if told else {})).opened(rows)
        return format, format.store(rows)

    def _rows(self, X: Any, mixed: bool, reset: bool) -> Any:
        """X as records: a frame whose columns have names as it is, anything else as an array."""
        least = 2 if reset else 1
        if hasattr(X, "iloc") and hasattr(X, "columns") and all(isinstance(name, str) for name in X.columns):
            validate_data(self, X, reset=reset, skip_check_array=True)
            if len(X) < least:
                raise ValueError(f"Found array with {len(X)} sample(s) while a minimum of {least} is required.")
            return X
        kind = {"dtype": None, "ensure_all_finite": "allow-nan"} if mixed else {"dtype": "numeric"}
        found = validate_data(self, X, reset=reset, ensure_min_samples=least, **kind)
        for cell in found.ravel() if found.dtype.kind == "O" else ():
            if hasattr(cell, "__len__") and not isinstance(cell, str):
                raise TypeError(f"a cell: argument must be a string or a real number, not {type(cell).__name__!r}")
        return found

    # Learning

    def _stored(self, ready: Trained, X: Any, y: Array) -> tuple[Format, Stored]:
        """The format that these rows teach, and they as it stores them, in the columns that are read."""
        rows = self._rows(X, _mixed(ready.format), reset=True)
        check_consistent_length(rows, y)
        self._require_table(ready.format)
        categories = self._categories(X if hasattr(X, "iloc") else rows)
        self.columns_ = np.arange(self.n_features_in_)
        format, stored = self._opened(ready.format, rows, categories)
        most = min(self.columns, ready.widest or self.columns)
        if self.n_features_in_ > most and not getattr(ready.format, "names", ()):  # where the run knows which it wants
            self.columns_ = telling(leaves(stored.x)[0].numpy(), y, most)
            warn(
                f"There are {self.n_features_in_} columns, and {most} are read: those that tell most of the labels, "
                f"each by itself (columns_). Choose them yourself"
                + ("." if most < self.columns else f", or read more: columns={self.n_features_in_}."),
                UserWarning,
                stacklevel=3,
            )
            format, stored = self._opened(ready.format, rows, categories)
        say(stored.notices)
        return format, stored

    def _adapted(self, ready: Trained, format: Format, stored: Stored, parts: Sequence[Array], y: Array) -> list[Model]:
        x = leaves(stored.x)[0]
        return [ready.adapt(format, x[torch.from_numpy(part)], y[part].tolist()) for part in parts]

    # Answering

    def _answers(self, X: Any, answer: Callable[[Stored], Array]) -> Array:
        """What `answer` says of all rows, some at a time, as the models take them: its axes after that of rows."""
        format = self.models_[0][0].spec.format
        rows = self._rows(X, _mixed(format), reset=False)
        rows = _taken(rows, self.columns_) if len(self.columns_) < self.n_features_in_ else rows
        said = []
        with as_value_errors():
            for start in range(0, len(rows), _BATCH):
                stored = format.query(rows[start : start + _BATCH])
                say(stored.notices)
                said.append(answer(stored))
        return np.concatenate(said)

    # Storing

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "models_" in state:
            state["models_"] = [[packed(model) for model in shared] for shared in state["models_"]]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "models_" in state:
            on = state["device"] or "auto"
            state = state | {"models_": [[unpacked(one, on) for one in shared] for shared in state["models_"]]}
        super().__setstate__(state)


def _mixed(format: Format) -> bool:
    """Whether columns may hold categories, dates and gaps."""
    return bool(getattr(format, "mixed", False))


def _taken(X: Any, columns: Array) -> Any:
    return X.iloc[:, columns] if hasattr(X, "iloc") else X[:, columns]
