"""Connected digits of a speaker who was never heard: what five utterances of theirs are worth."""

from __future__ import annotations

import json
import os
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import quickstudy as qs
from quickstudy.registry import learners, models, recipes, sources
from studies.common import in_processes, interval, store

SPEAKERS = ("s001", "s002", "s004", "s006")
EPISODES, VALIDATION, SHOTS, QUERIES = 150, 20, 5, 10
JOINT, META, TRIED = 600, 300, 30
SETTINGS = (("sgd", 0.01, 20), ("sgd", 0.03, 20), ("adam", 1e-3, 20), ("adam", 3e-3, 20), ("adam", 3e-3, 40))
TRAINED, LONGER = 5, (5, 10, 20)
_SEED = 0


def config_of(root: Path, splits: Path) -> qs.RunConfig:
    """One network for all voices; what it learns of one is told apart afterwards."""
    tasks = sources.part(
        "utterances", root=str(root), group="(s[0-9]+)_", rate=8000, seconds=3.0, word_seconds=0.8, splits=str(splits),
        voices=0.25, noise=0.3, time_mask=0.05, mel_mask=0.2,
    )  # fmt: skip
    return replace(
        recipes["transcripts"](), name="connected", tasks=tasks, model=models.part("transcriber", width=64, blocks=4),
        learner=learners.part("maml", steps=0), shots=SHOTS, queries=QUERIES, iterations=JOINT,
        validate_every=JOINT // 6, validation_episodes=VALIDATION, log_every=100, checkpoint_every=10 * JOINT,
        compile="off", seed=_SEED,
    )  # fmt: skip


def meta_config_of(joint: qs.RunConfig, start: Path) -> qs.RunConfig:
    """The same network trained further for what its gradient steps make of it, with a rate for each tensor."""
    return replace(
        joint, name="connected-steps", start=str(start), iterations=META, lr=5e-4, validate_every=META // 6,
        learner=learners.part("maml", steps=TRAINED, eval_steps=10, lr=0.01, learn_rates=True, rates="tensor"),
    )  # fmt: skip


def fold_of(speaker: str) -> dict[str, Any]:
    """Two speakers to train on, one to choose by, and `speaker` to test on: error rates of words."""
    began, number = time.perf_counter(), SPEAKERS.index(speaker)
    rest = [SPEAKERS[(number + i) % len(SPEAKERS)] for i in (1, 2, 3)]
    with TemporaryDirectory() as place:
        root, splits = Path(place, "fsdd"), Path(place, "splits.json")
        with zipfile.ZipFile(Path(os.environ["QUICKSTUDY_DATA"], "speech", "fsdd.zip")) as archive:
            archive.extractall(place)
        splits.write_text(json.dumps({"train": rest[1:], "val": rest[:1], "test": [speaker]}))
        joint = config_of(root, splits)
        whole = qs.train(joint, out=Path(place, "joint"), quiet=True)

        def error(split: str, count: int, rule: str, lr: float, steps: int) -> dict[str, float]:
            learner = learners.part("maml", steps=0, eval_steps=steps, rule=rule, lr=lr)
            config = replace(joint, learner=learner, start=str(whole.folder), iterations=0)
            run = qs.train(config, out=Path(place, f"{split} {rule} {lr} {steps}"), quiet=True)
            found = run.evaluate(split=split, episodes=count, compare_supports=False, quiet=True)
            return interval(found.values)

        def trained(split: str, count: int, steps: int) -> dict[str, float]:
            learner = replace(meta.config.learner, options={**meta.config.learner.options, "eval_steps": steps})
            config = replace(meta.config, learner=learner, start=str(meta.folder), iterations=0)
            run = qs.train(config, out=Path(place, f"{split} trained {steps}"), quiet=True)
            return interval(run.evaluate(split=split, episodes=count, compare_supports=False, quiet=True).values)

        tried = {setting: error("val", TRIED, *setting) for setting in SETTINGS}
        best = min(tried, key=lambda setting: tried[setting]["mean"])
        meta = qs.train(meta_config_of(joint, whole.folder), out=Path(place, "meta"), quiet=True)
        longer = {steps: trained("val", TRIED, steps) for steps in LONGER}
        steps = min(longer, key=lambda number: longer[number]["mean"])
        found = {
            "not adapted": error("test", EPISODES, "sgd", 0.01, 0),
            "adapted": error("test", EPISODES, *best),
            "trained": trained("test", EPISODES, steps),
            "setting": list(best),
            "trained steps": steps,
            "trained validation": [[number, one] for number, one in longer.items()],
            "trained step": meta.kept["step"],
            "validation": [[*setting, one] for setting, one in tried.items()],
            "step": whole.kept["step"],
            "seconds": time.perf_counter() - began,
        }
    print(speaker, found, flush=True)
    return found


def connected() -> None:
    """Every speaker of the spoken digits once as the one who was never heard."""
    rows: dict[str, Any] = {}
    for speaker, row in in_processes(fold_of, SPEAKERS):
        rows[speaker] = row
        store(
            "connected",
            {
                "seed": _SEED,
                "episodes": EPISODES,
                "shots": SHOTS,
                "queries": QUERIES,
                "rows": rows,
            },
        )
