"""Numbers, from a few rows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from quickstudy.deploy.model import Model
from quickstudy.errors import ConfigError
from quickstudy.formats.records import Stored
from quickstudy.sklearn.base import Array, TableEstimator
from quickstudy.sklearn.parts import dealt
from quickstudy.sklearn.trained import InputError, as_value_errors


class FewShotRegressor(RegressorMixin, TableEstimator):  # type: ignore[misc]
    """A regressor that was trained before, on other tables, and learns this one in a forward pass.

    X and the parameters are those of `FewShotClassifier`; the run must be one on tasks of numbers, and 'tables' means
    that of the recipe 'tables-numbers'. y: one number for each row. Of several models that share the rows, predictions
    are averaged, and their disagreement is part of the spread.

    >>> FewShotRegressor().fit(X, y).predict(new, return_std=True)  # doctest: +SKIP
    """

    _numbers = True

    def fit(self, X: Any, y: Any) -> Self:
        """Learn rows X and their numbers y. ValueError for what cannot be learned."""
        with as_value_errors():
            ready = self._trained()
            target = ready.learner.spec.target
            target.require_numbers("FewShotRegressor", "Take FewShotClassifier, or another run.")
            if target.outputs != 1:
                raise ConfigError(f"FewShotRegressor tells one number, but the run tells {target}. Give another run.")
            try:
                y = validate_data(self, y=y, y_numeric=True).astype(np.float64)
            except ValueError as error:
                if any(isinstance(label, str) for label in np.ravel(np.asarray(y, dtype=object))):
                    raise InputError(
                        f"y holds texts, and numbers are told: {error}. FewShotClassifier tells names."
                    ) from error
                raise
            format, stored = self._stored(ready, X, y)
            parts = dealt(len(y), self.rows, check_random_state(self.random_state))
            self.models_ = [self._adapted(ready, format, stored, parts, y)]
        return self

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """The number of each row, (n,); with `return_std` also a standard deviation of each, (n,).

        ValueError where the run's learner does not say how sure it is.
        """
        check_is_fitted(self)
        both = self._answers(X, partial(_mixture, self.models_[0], return_std))
        return (both[:, 0], both[:, 1]) if return_std else both[:, 0]


def _mixture(models: Sequence[Model], sure: bool, rows: Stored) -> Array:
    """Mean and, if `sure`, standard deviation of what models say together of rows: (n, 1 or 2)."""
    said: list[Any] = [model.answer(rows) for model in models]
    values = np.stack([one.values.double().numpy().reshape(len(rows.kept)) for one in said])
    told = [values.mean(axis=0)]
    if sure and said[0].spread is None:
        raise ConfigError(
            f"The learner {models[0].config.learner.name!r} does not say how sure it is. Leave return_std out, or give "
            "a run of a learner that does, such as 'axial'."
        )
    if sure:
        spreads = np.stack([one.spread.double().numpy().reshape(len(rows.kept)) for one in said])
        told.append(np.sqrt((spreads**2).mean(axis=0) + values.var(axis=0)))
    return np.stack(told, axis=1)
