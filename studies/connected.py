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
from quickstudy.registry import learners, models, sources
from studies.common import in_processes, interval, store

SPEAKERS = ("s001", "s002", "s004", "s006")
EPISODES, VALIDATION, SHOTS, QUERIES = 300, 20, 5, 10
JOINT, META, INNER, STEPS = 800, 300, 5, (5, 10, 20)
_SEED = 0


def config_of(root: Path, splits: Path) -> qs.RunConfig:
    """One network for all voices: no inner step is taken."""
    tasks = sources.part(
        "utterances", root=str(root), group="(s[0-9]+)_", rate=8000, seconds=3.0, word_seconds=0.8, splits=str(splits),
        voices=0.25, noise=0.3, time_mask=0.05, mel_mask=0.2,
    )  # fmt: skip
    return qs.RunConfig(
        name="connected", tasks=tasks, model=models.part("transcriber", width=64, blocks=4),
        learner=learners.part("maml", steps=0), ways=1, shots=SHOTS, queries=QUERIES, iterations=JOINT, meta_batch=4,
        optimizer="AdamW", lr=2e-3, optimizer_options={"weight_decay": 0.01}, schedule="OneCycleLR",
        schedule_options={"pct_start": 0.1, "cycle_momentum": False}, clip=1.0, validate_every=JOINT // 8,
        validation_episodes=VALIDATION, log_every=100, checkpoint_every=10 * JOINT, compile="off", seed=_SEED,
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
        meta = replace(
            joint, learner=learners.part("maml", steps=INNER, lr=0.02, learn_rates=True, rates="tensor"),
            start=str(whole.folder), iterations=META, lr=5e-4, validate_every=META // 6,
        )  # fmt: skip
        run = qs.train(meta, out=Path(place, "meta"), quiet=True)

        def error(run: Any, split: str, steps: int) -> dict[str, float]:
            count = EPISODES if split == "test" else EPISODES // 3
            found = run.evaluate(split=split, steps=steps, episodes=count, compare_supports=False, quiet=True)
            return interval(found.values)

        tried = {steps: error(run, "val", steps) for steps in STEPS}
        best = min(tried, key=lambda steps: tried[steps]["mean"])
        found = {
            "one network for all": error(whole, "test", 0),
            "meta-trained, not adapted": error(run, "test", 0),
            "meta-trained, adapted": error(run, "test", best),
            "steps": best,
            "validation": {str(steps): one for steps, one in tried.items()},
            "seconds": time.perf_counter() - began,
        }
    print(speaker, found, flush=True)
    return found


def connected() -> None:
    """Every speaker of the spoken digits once as the one who was never heard."""
    rows: dict[str, Any] = {}
    for speaker, row in in_processes(fold_of, SPEAKERS):
        rows[speaker] = row
        store("connected", {"seed": _SEED, "episodes": EPISODES, "shots": SHOTS, "queries": QUERIES, "rows": rows})
