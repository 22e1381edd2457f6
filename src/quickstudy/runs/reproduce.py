"""Published figures measured again: train a recipe, evaluate every one of its protocols, store what came out."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from quickstudy.episode import Params
from quickstudy.errors import ConfigError
from quickstudy.evaluation.result import Result
from quickstudy.learners import GradientLearner, Learner
from quickstudy.runs.run import Run
from quickstudy.runs.train import train
from quickstudy.storage.atomic import write_text
from quickstudy.training.config import RunConfig
from quickstudy.training.protocol import Protocol

UNTRAINED = "untrained network"
_UNTRAINED_EPISODES = 200


def reproduce(
    config: RunConfig, out: Path, *, folder: Path | None = None, overwrite: bool = False, quiet: bool = False
) -> Path:
    """Train `config` (into `folder`, runs/<name> if not given), measure its protocols and write them to `out`."""
    _protocols(config)
    return measure(train(config, out=folder, overwrite=overwrite, quiet=quiet), out, quiet=quiet)


def check_same(run: Run, recipe: RunConfig) -> None:
    """Refuse a run that was trained otherwise than `recipe` says: its figures are not the recipe's."""
    apart = {"name", "protocols", "device"}
    trained, wanted = (json.loads(json.dumps(config.to_json())) for config in (run.config, recipe))
    for name in sorted(set(wanted) - apart):
        if trained[name] != wanted[name]:
            raise ConfigError(
                f"The run {run.folder} is not the recipe {recipe.name!r}: its {name} is {trained[name]}, the recipe's "
                f"{wanted[name]}. Train the recipe (quickstudy reproduce {recipe.name}) or name it otherwise."
            )


def measure(
    run: Run, out: Path, *, recipe: RunConfig | None = None, notes: tuple[str, ...] = (), quiet: bool = False
) -> Path:
    """Measure every protocol of a run that is trained already, and write the JSON that `docs/results.md` is made of.

    recipe: the recipe that the run must be one of; its name and protocols are taken. notes: what a reader must know
    beside the numbers, one sentence each.
    """
    if recipe is not None:
        check_same(run, recipe)
        run.config = replace(run.config, name=recipe.name, protocols=recipe.protocols)
    protocols, untrained = _protocols(run.config), run.untrained()
    results = [result_of(run, protocol, quiet=quiet) for protocol in protocols]
    baselines = [from_scratch(run, protocol, untrained, quiet=quiet) for protocol in protocols]
    facts = {
        "recipe": run.config.name,
        "config": run.config.to_json(),
        "training": {
            "seconds": run.seconds,
            "kept_step": run.kept["step"],
            "validation": run.kept["validation"],
            "commit": run.kept.get("commit", ""),
            "machine": run.kept.get("machine", ""),
        },
        "machine": results[0].machine,
        "commit": results[0].commit,
        "date": datetime.now(UTC).date().isoformat(),
        "protocols": [
            {"protocol": asdict(protocol), "result": result.to_json()}
            for protocol, result in zip(protocols, results, strict=True)
        ],
        "baselines": [
            {"name": UNTRAINED, "protocol": protocol.name, "result": result.to_json(), "inner_lr": rate}
            for protocol, (result, rate) in zip(protocols, baselines, strict=True)
        ],
        "notes": list(notes),
    }
    write_text(out, _text(facts))
    return out


def from_scratch(run: Run, protocol: Protocol, untrained: Params, *, quiet: bool = True) -> tuple[Result, float | None]:
    """The untrained network on one protocol, and the inner rate it was given if it could choose one.

    Over 200 tasks, which is enough to see where training began; over all of the protocol's where a gain is claimed.
    With `scratch_rates` it takes the best of them on 200 validation tasks.
    """
    learner = run.parts.engine.learner
    few = replace(protocol, episodes=min(protocol.episodes, _UNTRAINED_EPISODES))
    shown = few if protocol.gain is None else protocol
    if not protocol.scratch_rates:
        return result_of(run, shown, untrained, quiet=quiet), None
    if not isinstance(learner, GradientLearner) or learner.learn_rates:
        raise ConfigError(
            f"scratch_rates of the protocol {protocol.name!r} set the untrained network's inner rate, but the learner "
            f"{run.config.learner.name!r} has none that is fixed. Leave scratch_rates out."
        )
    choices = [replace(learner, rule=replace(learner.rule, lr=rate)) for rate in protocol.scratch_rates]
    means = [result_of(run, replace(few, split="val"), untrained, learner=choice).mean for choice in choices]
    best = means.index(max(means, key=learner.spec.target.metric.goodness))
    return result_of(run, shown, untrained, learner=choices[best], quiet=quiet), protocol.scratch_rates[best]


def result_of(
    run: Run,
    protocol: Protocol,
    params: Params | None = None,
    *,
    learner: Learner | None = None,
    quiet: bool = True,
) -> Result:
    """One protocol: its own split, size of task and number of inner steps. params, learner: other than the run's.

    Whether the learner uses its support sets is measured for the run's own φ only.
    """
    return run.evaluate(
        ways=protocol.ways,
        shots=protocol.shots,
        queries=protocol.queries,
        episodes=protocol.episodes,
        split=protocol.split,
        steps=protocol.steps,
        params=params,
        learner=learner,
        compare_supports=params is None,
        quiet=quiet,
    )


def _protocols(config: RunConfig) -> tuple[Protocol, ...]:
    if not config.protocols:
        raise ConfigError(
            f"The run {config.name!r} has no protocols, so there is nothing to reproduce. Add Protocol(...) entries to "
            "its config, or evaluate it with `quickstudy evaluate`."
        )
    return config.protocols


def _text(facts: dict[str, Any]) -> str:
    """JSON with one line for each list of numbers, which would otherwise take thousands."""
    text = json.dumps(facts, indent=2, ensure_ascii=False)
    one_line = re.compile(r"\[\s+(-?[\d.eE+-]+(?:,\s+-?[\d.eE+-]+)*)\s+\]")
    return one_line.sub(lambda found: "[" + re.sub(r"\s+", " ", found[1]) + "]", text) + "\n"
