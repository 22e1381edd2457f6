"""The contract every learner keeps: pure functions of explicit state, written for one episode."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Self

import torch
from torch import Tensor

from quickstudy.brief import Brief
from quickstudy.entries import CONSTANT, PARAMETER, reference, trainable, with_prefix
from quickstudy.episode import Episode, Examples, Features, Params, State
from quickstudy.errors import ConfigError
from quickstudy.learners.calibration import population_statistics, takes_statistics, without_statistics
from quickstudy.learners.chance import QUERIES, apart, chances
from quickstudy.learners.moments import Moments
from quickstudy.learners.network import Network
from quickstudy.learners.untied import refuse_shared
from quickstudy.spec import TaskSpec
from quickstudy.tally import Tally
from quickstudy.targets.distribution import Distribution


@dataclass(frozen=True, kw_only=True)
class Learner(Brief, ABC):
    """A frozen description of how to learn a task. It holds architecture and hyperparameters, never φ and never a task.

    network: the user's module as a pure function; a learner may have more of them as further fields, each built with a
    name of its own, `Network(module, name=…)`. spec: the tasks it is built for.
    metagrad: the estimator that the algorithm is defined with; see `quickstudy.metagrads`.
    pretrains: it trains on ordinary classification over all training classes instead of episodes.
    """

    network: Network
    spec: TaskSpec
    metagrad: str = "unrolled"
    pretrains: bool = False

    @abstractmethod
    def init(self, generator: torch.Generator) -> Params:
        """Fresh meta-parameters φ, drawn from `generator` (CPU); entries `trainable` says no to are never moved."""

    @abstractmethod
    def adapt(self, params: Params, support: Examples) -> State:
        """ψ: what is known about one task after seeing its support set (n, …)."""

    @abstractmethod
    def predict(self, params: Params, state: State, x: Features) -> Tensor:
        """Predictions (n, *prediction_shape) for inputs x (n, *features) of the task known as `state`."""

    def embed(self, params: Params, x: Features) -> Features:
        """What φ makes of inputs x (n, …) before the task is looked at: embeddings (n, D), or x as it is."""
        return x

    def compared(self, params: Params, z: Features) -> Features:
        """Embeddings z (n, D) as the learner compares them with each other, such as scaled to the length 1."""
        return z

    @property
    def embedded(self) -> Learner | None:
        """The same learner as it goes on from what `embed` gives, so that an input is embedded once however often a
        task is learned anew; None where it embeds nothing, or differently in each task."""
        return None

    def predictive(self, params: Params, state: State, x: Features) -> Distribution | None:
        """Mean and spread of the labels of inputs x, each (n, *label); None from learners that do not say how sure they
        are, and where there is no density over labels."""
        return None

    def tally(self, params: Params, support: Examples) -> Tally | None:
        """Sums over the support set from which `settled` makes ψ, so that further examples can be added to them; None
        from learners, or for support sets, whose ψ does not follow from sums (default)."""
        return None

    def settled(self, params: Params, tally: Tally) -> State:
        """ψ of what `tally` gave, or of the sum of several: what `adapt` makes of all these examples at once."""
        raise ConfigError(f"{type(self).__name__} makes nothing of sums over examples. Adapt it to the examples.")

    def met(self, params: Params, place: Any, episodes: int, seed: int) -> Examples | None:
        """What it collects itself in `episodes` of an environment, as a support set; None where records are given."""
        return None

    def levelled(self, episodes: Episode, total: Callable[[Tensor], Tensor]) -> Episode:
        """The episodes of all tasks of an outer step, leaves (T, …), as it trains on them: where something of a task is
        told in units of all. total: the sum over the processes that share these tasks of what each found."""
        return episodes

    def apart(self) -> Self | None:
        """The same learner as it plays with a φ of its own in each task, leaves (T, …), for estimators that compare
        what several φ bring; None from those that do not. ConfigError where its loss is more than what is paid."""
        return None

    def paid(self, query: Examples) -> tuple[Tensor, Tensor]:
        """Loss and metric, scalars, of a query set that the learner has played itself: by what that brought alone."""
        raise ConfigError(f"{type(self).__name__} is not paid: its loss is that of its predictions, learner.judge(…).")

    @property
    def beyond(self) -> bool:
        """True if its loss is more than `judge` says of the queries, so that estimators must differentiate `score`."""
        return False

    def acting(self, params: Params, state: State, **options: Any) -> Any:
        """One that acts in the task known as `state`, one step after another; ConfigError where none does."""
        raise ConfigError(f"{type(self).__name__} does not act: it answers. Ask it by model.predict(records).")

    def predicts_with(self, params: Params, state: State) -> tuple[Params, State]:
        """φ and ψ without entries that `predict` does not look at, which need not be shipped (default: all of them)."""
        return params, state

    def score(self, params: Params, episode: Episode) -> tuple[Tensor, Tensor]:
        """Loss and headline metric of the query set after adapting to the support set: scalars."""
        return self.judge(params, self.adapt(params, episode.support), episode.query)

    def judge(self, params: Params, state: State, query: Examples) -> tuple[Tensor, Tensor]:
        """Loss and metric of the query set of the task known as `state`: scalars."""
        with apart(QUERIES):
            prediction = self.predict(params, state, query.x)
        return self.spec.target.loss(prediction, query), self.spec.target.score(prediction, query)

    @property
    def figure_names(self) -> tuple[str, ...]:
        """The names of `figures`."""
        return ()

    def figures(self, params: Params, episode: Episode) -> dict[str, Tensor]:
        """What else there is to say of how one task was learned: scalars by name, NaN where there is nothing to say."""
        return {}

    def loss(self, params: Params, episode: Episode) -> Tensor:
        """L(φ) of one episode: a scalar."""
        return self.score(params, episode)[0]

    @cached_property
    def networks(self) -> dict[str, Network]:
        """The fields that are networks, by what stands before their entries in φ: '' before those of `network`.

        One without a name of its own goes by its field's, for learners that put that before its entries themselves.
        Raises ConfigError for two with one name, ModelError for two that share a layer.
        """
        found: dict[str, Network] = {}
        for field in fields(self):
            if isinstance(network := getattr(self, field.name), Network):
                prefix = network.prefix or ("" if field.name == "network" else f"{field.name}.")
                if prefix in found:
                    raise ConfigError(
                        f"Two networks of {type(self).__name__} are called {prefix.rstrip('.')!r}, so that their "
                        "entries in φ would be one. Build each with a name of its own: Network(module, name=…)."
                    )
                found[prefix] = network
        refuse_shared({prefix.rstrip(".") or "network": network.module for prefix, network in found.items()})
        return found

    def require_entries(self, params: Params) -> None:
        """ConfigError for a network whose parameters φ lacks."""
        for prefix, network in self.networks.items():
            for name, _ in network.module.named_parameters():
                if prefix + PARAMETER + name not in params:
                    field = prefix.rstrip(".") or "network"
                    raise ConfigError(
                        f"φ has no entry {prefix + PARAMETER + name!r}, which the network {field!r} of "
                        f"{type(self).__name__} needs. Add what its `init` returns to φ, and build it with a name: "
                        f"Network(module, name={field!r})."
                    )

    @property
    def inner_loop(self) -> bool:
        """Whether a network is differentiated inside an inner loop."""
        return any(network.inner_loop for network in self.networks.values())

    @property
    def plain(self) -> bool:
        """Whether its networks are known to draw nothing and to change nothing when they are called."""
        return all(network.plain for network in self.networks.values())

    @property
    def still(self) -> bool:
        """Whether there is known to be nothing that `refreshed` would give."""
        return all(network.still for network in self.networks.values())

    def refreshed(self, params: Params, episode: Episode, key: Tensor) -> Params:
        """Entries of φ that follow once after each outer step, such as the vectors of spectral normalisation, by a call
        on one training episode. key: of what is drawn in it."""
        found: Params = {}
        networks = {prefix: network for prefix, network in self.networks.items() if not network.still}
        with torch.no_grad(), chances(key), ExitStack() as stack:
            after = {prefix: stack.enter_context(network.refreshing()) for prefix, network in networks.items()}
            self.score(params, episode)
        for prefix, changed in after.items():
            found |= with_prefix(prefix + CONSTANT, changed)
        return found

    @property
    def transductive(self) -> bool:
        """True if a query's prediction depends on the other queries. Such results are marked wherever they appear."""
        return any(network.transductive for network in self.networks.values())

    @property
    def semi_supervised(self) -> bool:
        """True if it also learns from support examples without a class, those with the id UNLABELLED."""
        return False

    @property
    def exchangeable(self) -> bool:
        """True if the order of the support examples does not matter. The others are given them in random order, unless
        they are `ordered`."""
        return True

    @property
    def ordered(self) -> bool:
        """True if examples have an order of their own, as steps have, which nothing may change."""
        return False

    @property
    def symmetric(self) -> bool:
        """True if relabelling the classes permutes the answer."""
        return self.spec.target.relabels

    def moves(self, name: str) -> bool:
        """Whether the outer optimizer moves the entry `name` of φ."""
        return trainable(name) and name not in self._frozen

    @cached_property
    def _frozen(self) -> frozenset[str]:
        return frozenset(prefix + name for prefix, network in self.networks.items() for name in network.frozen)

    def at(self, spec: TaskSpec) -> Self:
        """The same learner for tasks of another spec, such as another number of ways."""
        return replace(self, spec=spec)

    def evaluated(self) -> Self:
        """The learner as it is used after training (with its evaluation's number of inner steps, for instance)."""
        return self

    @contextmanager
    def recording(self) -> Iterator[Moments]:
        """Within it, calls of the networks without statistics in φ are recorded; see `Network.recording`."""
        with ExitStack() as stack:
            moments = Moments()
            for prefix, network in self.networks.items():
                stack.enter_context(network.recording(moments, prefix))
            yield moments

    def passes(self, params: Params, episode: Episode) -> Iterator[Moments]:
        """Forward passes over one episode as in training, recorded; one record for each slot of statistics."""
        with self.recording() as moments:
            self.predict(params, self.adapt(params, episode.support), episode.query.x)
        yield moments

    def calibrate(self, params: Params, episodes: list[Episode]) -> Params:
        """φ with the statistics of its BatchNorm layers over `episodes` (single ones, of training tasks).

        Population statistics instead of moving averages (Wu & Johnson 2021): φ alone decides, so training stays pure.
        Networks that always normalise by the batch come back unchanged.
        """
        networks = takes_statistics(self.networks)
        if not networks:
            return params
        params = without_statistics(networks, params)
        if not any(network.layers for network in networks.values()):
            return params
        slots: list[Moments] = []
        with torch.no_grad():
            for episode in episodes:
                for slot, moments in enumerate(self.passes(params, episode)):
                    if slot == len(slots):
                        slots.append(Moments())
                    slots[slot].merge(moments)
        return params | population_statistics(networks, slots, reference(params).dtype)
