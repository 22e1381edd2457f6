"""How long candidates take on a new device, from a few measurements there and whole tables of other devices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from quickstudy.errors import ConfigError, DataError, ShapeError
from quickstudy.select.warm.losses import in_units
from quickstudy.select.warm.ridge import like_units, smoothed
from quickstudy.space import Array


@dataclass(frozen=True)
class Devices:
    """What is known of n candidates on K devices: `table` (n, K), logarithms of latencies in deviations, smoothed.

    The covariance of two candidates on a new device is taken to be that over these devices, as in probabilistic matrix
    factorisation: a new device is a sum of them, with unknown weights.
    """

    table: Array

    @classmethod
    def of(cls, latencies: Array, x: Array, ridge: float = 10.0) -> Self:
        """From latencies (n, K), above 0 or NaN where unknown, and descriptions x (n, D) of the candidates.

        A ridge regression on the descriptions takes the noise of measuring out of each device's table, and fills it.
        """
        times = np.asarray(latencies, dtype=np.float64)
        if times.ndim != 2 or len(times) != len(x):
            raise ShapeError(f"Latencies of shape {times.shape} of {len(x)} candidates, expected (n, devices).")
        if (times <= 0).any() or np.isinf(times).any():
            raise DataError("A latency is not above 0, or infinite. Write NaN where it was not measured.")
        rows = like_units(x)
        rows = rows * np.sqrt(rows.shape[1])
        columns = []
        for device in times.T:
            known = ~np.isnan(device)
            if known.sum() < 2:
                raise DataError("A device has fewer than two latencies. Leave it out.")
            columns.append(
                smoothed(rows[known], in_units(np.log(device[known]), "plain")[:, None], ridge, at=rows)[:, 0]
            )
        return cls(np.stack(columns, 1))

    @cached_property
    def _rows(self) -> Array:
        """(n, K + 1): a column for the level of a device, which is known little of beforehand."""
        return np.column_stack([self.table, np.full(len(self.table), 3.0)])

    def sample(self, count: int, noise: float = 0.3, among: Sequence[int] | None = None) -> NDArray[np.int64]:
        """The candidates to measure on a new device, one after another: each leaves the least variance over all.

        noise: variance of a measurement, in that of a device. among: the candidates that can be measured.
        """
        z, allowed = self._rows, np.arange(len(self.table)) if among is None else np.asarray(among)
        if not 0 < count <= len(allowed):
            raise DataError(f"{count} of {len(allowed)} candidates cannot be measured. Ask for 1 to {len(allowed)}.")
        inside, second = np.eye(z.shape[1]), z.T @ z / len(z)
        chosen: list[int] = []
        for _ in range(count):
            across = z[allowed] @ inside
            gain = ((across @ second) * across).sum(1) / ((across * z[allowed]).sum(1) + noise)
            gain[np.isin(allowed, chosen)] = -np.inf
            best = int(gain.argmax())
            chosen.append(int(allowed[best]))
            line = across[best]
            inside = inside - np.outer(line, line) / (line @ z[allowed[best]] + noise)
        return np.array(chosen)

    def fit(self, rows: Sequence[int], latencies: Sequence[float] | Array, noise: float = 0.3) -> Latency:
        """The model of a device on which the candidates `rows` took so long; at least two that differ."""
        times = np.asarray(latencies, dtype=np.float64)
        if times.shape != (len(rows),) or len(set(rows)) < 2 or not (np.isfinite(times) & (times > 0)).all():
            raise DataError(f"{len(rows)} candidates, {times.size} latencies. Give two or more, each above 0.")
        return Latency(self, tuple(int(row) for row in rows), times, noise)


@dataclass(frozen=True)
class Latency:
    """Latencies on one device, by `Devices.fit`. rows, measured: which candidates were measured, and their latencies;
    noise: variance of a logarithm that other devices do not explain, in units of the weights'."""

    devices: Devices
    rows: tuple[int, ...]
    measured: Array
    noise: float

    @cached_property
    def _fit(self) -> Array:
        return self._regressed(np.arange(len(self.rows)))

    def _regressed(self, kept: NDArray[np.int64]) -> Array:
        """Logarithms (n,), from some of the measurements."""
        table, y = self.devices.table, np.log(self.measured[kept])
        rows = np.array(self.rows)[kept]
        x = table[rows] - table[rows].mean(0)
        weights = np.linalg.solve(x @ x.T + self.noise * np.eye(len(rows)), y - y.mean())
        return np.asarray(y.mean() + (table - table[rows].mean(0)) @ (x.T @ weights))

    def predict(self) -> Array:
        """(n,), the latency of each candidate, in the measurements' unit: what was measured where it was."""
        found = np.asarray(np.exp(self._fit))
        found[list(self.rows)] = self.measured
        return found

    @cached_property
    def errors(self) -> Array:
        """log(measured / predicted) of each measured candidate, predicted without it: three or more are needed."""
        count = len(self.rows)
        if count < 3:
            raise DataError(f"{count} measurements say nothing of the error. Measure three or more.")
        every = np.arange(count)
        return np.array([np.log(self.measured[k]) - self._regressed(every[every != k])[self.rows[k]] for k in every])

    def bound(self, risk: float = 0.1) -> Array:
        """(n,), latencies that a candidate exceeds with a probability of about `risk`; what was measured where it was.

        Of m errors, each of a measurement predicted without it, the ⌈(1 − risk)(m + 1)⌉-th is added, or the largest
        where there are too few (as in the jackknife, Barber et al. 2021). That is exact neither where measurements are
        designed nor where they are few: with ten, no risk below 1/11 can be told. Raises ConfigError for a risk that is
        not between 0 and 1.
        """
        if not 0 < risk < 1:
            raise ConfigError(f"A risk of {risk:g} is no probability between 0 and 1. Give one, such as 0.1.")
        errors = np.sort(self.errors)
        place = min(int(np.ceil((1 - risk) * (len(errors) + 1))), len(errors)) - 1
        found = np.asarray(np.exp(self._fit + errors[place]))
        found[list(self.rows)] = self.measured
        return found
