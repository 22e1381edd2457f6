"""How a series goes on, from its values so far."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, column_or_1d

from quickstudy.errors import ConfigError
from quickstudy.sklearn.base import Array
from quickstudy.sklearn.packing import packed, unpacked
from quickstudy.sklearn.trained import as_value_errors, trained


class FewShotForecaster(BaseEstimator):  # type: ignore[misc]
    """A forecaster that was trained before, on other series, and learns this one from its values so far.

    The verbs are sktime's, `fit(y, X=None, fh=None)` and `predict(fh)`; the package itself is not needed. run: as of
    `FewShotClassifier`, trained on time series, such as by the recipe 'lines-lstm'; none comes with the package.
    device: another than the run's.

    >>> FewShotForecaster("runs/lines-lstm").fit(y).predict(fh=[1, 2, 3])  # doctest: +SKIP
    """

    def __init__(self, run: Any, *, device: str | None = None) -> None:
        self.run = run
        self.device = device

    def fit(self, y: Any, X: Any = None, fh: Any = None) -> Self:
        """Learn the series y, (n,): an array, or a Series of pandas, whose index then goes on in the forecasts.

        X: no other series are taken. fh: the steps ahead to be asked for, if `predict` does not say.
        """
        _require_alone(X)
        with as_value_errors():
            ready = trained(self.run, self.device)
            if not ready.format.labels_itself:
                raise ConfigError(
                    f"FewShotForecaster takes time series, but the run was trained on {ready.format}. Give another run."
                )
            self.seen_ = np.array(column_or_1d(y), dtype=np.float64)
            self.fh_ = None if fh is None else _steps(fh)
            self.index_ = y.index if hasattr(y, "iloc") else None
            self.model_ = ready.adapt(ready.format, self.seen_, None)
        return self

    def predict(self, fh: Any = None, X: Any = None) -> Any:
        """The values so many steps after the last seen one, (len(fh),): fh is a whole number from 1 on, or several.

        A Series where y was one. The number of steps is not the number of values: fh=3 asks for the third alone.
        """
        check_is_fitted(self)
        _require_alone(X)
        steps = self.fh_ if fh is None else _steps(fh)
        if steps is None:
            raise ConfigError("How far to forecast is not said. Give the steps ahead: predict(fh=[1, 2, 3]).")
        with as_value_errors():
            said: Any = self.model_.predict(self.seen_, steps=int(steps.max()))
        values = said.values.double().numpy().reshape(-1)[steps - 1]
        if self.index_ is None:
            return values
        import pandas as pd

        return pd.Series(values, index=_after(self.index_, steps))

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        return state | ({"model_": packed(state["model_"])} if "model_" in state else {})

    def __setstate__(self, state: dict[str, Any]) -> None:
        device = state.get("device") or "auto"
        super().__setstate__(state | ({"model_": unpacked(state["model_"], device)} if "model_" in state else {}))


def _require_alone(X: Any) -> None:
    if X is not None:
        raise ConfigError("FewShotForecaster looks at the series alone: it takes no other ones. Leave X out.")


def _steps(fh: Any) -> Array:
    """Steps ahead, (n,) whole numbers from 1 on."""
    steps: Array = np.atleast_1d(np.asarray(fh))
    if steps.ndim != 1 or not len(steps) or steps.dtype.kind not in "iu" or steps.min() < 1:
        raise ConfigError(f"fh is one step ahead or several, whole numbers from 1 on, found {fh!r:.60}.")
    return steps


def _after(index: Any, steps: Array) -> Any:
    """Where the steps after the end of an index of pandas are: in its frequency, or at its even distance."""
    import pandas as pd

    if isinstance(index, pd.PeriodIndex):
        return pd.PeriodIndex([index[-1] + int(step) for step in steps])
    each = getattr(index, "freq", None)
    if each is None and (isinstance(index, pd.DatetimeIndex) or pd.api.types.is_numeric_dtype(index)):
        gaps = (index[1:] - index[:-1]).unique()
        each = gaps[0] if len(gaps) == 1 else None
    if each is not None:
        return pd.Index([index[-1] + int(step) * each for step in steps])
    raise ConfigError(
        "The index of the series does not say how it goes on: it has no frequency, nor even distances. Give it one "
        "(y.asfreq), or give the values alone (y.to_numpy())."
    )
