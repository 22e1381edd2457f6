"""A network that reads what is known of a scenario, and was trained on scenarios that were made up."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from quickstudy.errors import ConfigError, DataError
from quickstudy.hints import Size
from quickstudy.registry import selectors
from quickstudy.runs.run import Run
from quickstudy.select.base import Selector, State, filled, fit_columns
from quickstudy.select.scenario import Array, Scenario
from quickstudy.storage.tensors import checksum, pack


@selectors.register("in-context", hidden=True)
@dataclass(frozen=True, kw_only=True)
class InContext(Selector):
    """A trained run regresses what each algorithm loses against the mean of all, in one forward pass (the idea of
    prior-fitted networks, Müller et al. 2022; Hollmann et al. 2023).

    The run is of the recipe 'runtimes', or of any learner of tables that tells numbers; its weights are not shipped.
    Where an instance has more features than the network was built for, those are taken whose correlation with the loss
    of any algorithm is largest. A stored selector needs the run still, and refuses another network in its folder.

    run: its folder. most: instances that are read, drawn at random where there are more.
    """

    run: str = ""
    most: Size = 1000

    def fit(self, scenario: Scenario, seed: int) -> State:
        columns, times = fit_columns(scenario.x), scenario.penalised()
        lost = times - times.mean(axis=1, keepdims=True)
        lost = lost / (float(lost.std()) or 1.0)
        x = filled(columns, scenario.x)
        taken = _telling(x, lost)[: self._run().spec.input_shape[0]]
        rows = np.sort(np.random.default_rng(seed).permutation(len(x))[: self.most])
        network = np.frombuffer(bytes.fromhex(_network(self.run)), dtype=np.uint8)
        return columns | {"taken": np.sort(taken), "x": x[rows], "lost": lost[rows], "network": network}

    def scores(self, state: State, x: Array) -> Array:
        run, taken, lost = self._run(), state["taken"], state["lost"]
        if "network" in state and bytes(state["network"]).hex() != _network(self.run):
            raise DataError(
                f"The selector was fitted with another network than that in {self.run}. Restore that one, or fit anew."
            )
        known, asked = state["x"][:, taken].astype(np.float32), filled(state, x)[:, taken].astype(np.float32)
        found = np.zeros((len(x), lost.shape[1]))
        for algorithm in range(lost.shape[1]):
            values = lost[:, algorithm]
            if np.ptp(values) == 0:
                found[:, algorithm] = values[0]
                continue
            model = run.adapt(known, values.tolist(), trust=False)
            found[:, algorithm] = model(torch.from_numpy(asked)).numpy()[:, 0]
        return found

    def _run(self) -> Run:
        if not self.run:
            raise ConfigError(
                "The selector 'in-context' asks a trained network. Train one with `quickstudy train runtimes`, and "
                "give its folder: --options run runs/runtimes."
            )
        return _loaded(self.run)


@lru_cache(maxsize=1)
def _loaded(folder: str) -> Run:
    return Run(folder)


@lru_cache(maxsize=1)
def _network(folder: str) -> str:
    """A checksum of the network's weights."""
    return checksum(pack(_loaded(folder).params))


def _telling(x: Array, lost: Array) -> NDArray[np.int64]:
    """The numbers of the features by how much they correlate with the loss of any algorithm, the most first."""
    y = lost - lost.mean(axis=0)
    inner = np.abs((x - x.mean(axis=0)).T @ y)
    scale = np.linalg.norm(x - x.mean(axis=0), axis=0)[:, None] * np.linalg.norm(y, axis=0)
    order: NDArray[np.int64] = np.argsort(-(inner / np.where(scale > 0, scale, np.inf)).max(axis=1), kind="stable")
    return order
