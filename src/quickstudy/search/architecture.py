"""From tasks, minutes and a limit of milliseconds to a network that keeps it, trained."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from quickstudy.choosing.trial import comparable
from quickstudy.errors import ConfigError
from quickstudy.learners.reader import ReaderLearner
from quickstudy.registry import OWN, learners, sources
from quickstudy.search.found import Found, State
from quickstudy.search.searching import Searching
from quickstudy.search.spaces import corners, space_of, with_network
from quickstudy.storage.folders import take, take_folder
from quickstudy.tasks.base import Source
from quickstudy.training.build import build
from quickstudy.training.config import RunConfig


def search(
    config: RunConfig,
    *,
    under: float | None = None,
    minutes: float = 20.0,
    out: str | Path | None = None,
    source: Source | None = None,
    strategy: str = "evolution",
    seed: int | None = None,
    quiet: bool = False,
) -> Found:
    """Find a network for the tasks of `config`, a recipe, that answers within `under` milliseconds on this machine, and
    train it.

    Time is that of the network for one example on one thread. Without a limit, time counts softly against the headline,
    beside that of the recipe's network (Tan et al. 2019). The recipe's model may leave options open; otherwise the
    space is one for what its examples are. One network is trained for all of a space (see `Supernet`), candidates are
    proposed by `strategy` and measured, and a few of them are trained by themselves for a moment; where networks share
    no weights, all are. The best one is trained on. Ctrl-C keeps what there is; `resume` goes on.

    Raises ConfigError where no network of the space keeps the limit, DataError where no class is held out for
    validation.

    >>> import quickstudy as qs
    >>> found = qs.search.search(qs.recipes.photos(), under=3.0, minutes=20)  # doctest: +SKIP
    >>> found.milliseconds, found.run.evaluate()  # doctest: +SKIP
    """
    if not 0 < minutes < math.inf:
        raise ConfigError(f"A search takes more than 0 minutes, found {minutes:g}. Raise them.")
    if under is not None and not 0 < under < math.inf:
        raise ConfigError(f"A network takes more than 0 milliseconds, found under={under:g}. Raise it.")
    seed = config.seed if seed is None else seed
    if source is not None:
        config = replace(config, tasks=sources.part(OWN))
    config = replace(config.settled(), compile="off", protocols=(), seed=seed)
    tasks = comparable(config, source)
    opened = space_of(tasks.sampled(config.sampling).spec, config.model)
    _require_one_example(replace(config, model=opened), tasks)
    largest = opened.at(corners(opened.space)[-1])
    closed = replace(config, model=largest) if config.model.space.axes else config
    with take_folder(f"search-{config.name}", out, overwrite=False) as held:
        state: State = {
            "kind": "search", "config": closed.to_json(), "open": closed is not config, "space": opened.space.to_json(),
            "metric": tasks.spec.target.metric.name, "under": under, "minutes": minutes, "strategy": strategy,
            "seed": seed, "spent": 0.0, "steps": 0, "candidates": [],
        }  # fmt: skip
        return Searching(held.folder, state, tasks, source, quiet).run()


def resume(folder: str | Path, *, source: Source | None = None, quiet: bool = False) -> Found:
    """Go on with a search that was stopped or killed. source: the tasks, where they were ones of your own."""
    found = Found(Path(folder), source)
    state = found.state
    if "run" in state:
        return found
    with take(found.folder):
        tasks = comparable(RunConfig.from_json(state["config"]), source)
        return Searching(found.folder, state, tasks, source, quiet).run()


def _require_one_example(config: RunConfig, source: Source) -> None:
    """ConfigError for learners whose network reads a support set, or remembers, so that it cannot be timed for one
    example."""
    name, traits = config.learner.name, learners.traits(config.learner.name)
    if traits.acts and not traits.head:
        raise ConfigError(
            f"The network of {name!r} has a memory of the steps before, so that it has no time for one. Search with an "
            "agent that adapts its weights, such as maml-rl, or let `quickstudy choose` try sizes of this one."
        )
    largest = with_network(config, corners(config.model.space)[0])
    if isinstance(build(largest, None, source).engine.learner, ReaderLearner):
        raise ConfigError(
            f"The learner {name!r} reads a whole support set, so that its network has no time for one example. Search "
            "with one that embeds each, such as protonet or r2d2."
        )
