"""How far answers can be believed: estimates of accuracy, sets, unknown inputs and probabilities, on unseen tasks.

`python -m studies.trust` trains a small network for each source, some minutes each, fits trust over validation tasks,
and measures it on test tasks; and what the shipped models promise. QUICKSTUDY_SOURCES: names of some, 'next' or
'tables', separated by commas; what is stored of others is kept. QUICKSTUDY_TASKS: test tasks of each. QUICKSTUDY_RUNS:
a folder where trained runs are kept, and found again.
"""

from __future__ import annotations

import csv
import json
import math
import os
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

import quickstudy as qs
from quickstudy.episode import Examples, task
from quickstudy.registry import learners, models, sources
from quickstudy.storage.json import read_json
from quickstudy.tasks.base import Sampling
from quickstudy.trust.ask import worth
from quickstudy.trust.draw import Size, Tried, tried
from quickstudy.trust.fit import own_logit
from quickstudy.trust.task import TaskTrust, task_trust
from studies.common import RESULTS, found_or_trained, interval, store
from studies.trust_tables import on_tables

TASKS, LEVEL, COVERAGE, BAND = 1000, 0.9, 0.95, (0.7, 0.85)
RATES = (0.01, 0.05, 0.1)
_BINS, _NORMAL = 15, 1.6449  # of the calibration error; half of a 90 % interval of a normal distribution
_SHARED = {"meta_batch": 1, "schedule": "CosineAnnealingLR", "validate_every": 200, "validation_episodes": 100}


def _data() -> Path:
    return Path(os.environ["QUICKSTUDY_DATA"])


def omniglot(place: Path) -> qs.RunConfig:
    """Vinyals' split, 20-way 5-shot."""
    return qs.RunConfig(
        name="omniglot", learner=learners.part("protonet"), model=models.part("conv4", width=32), ways=20, shots=5,
        tasks=sources.part("omniglot", symmetries=4, rotate=10.0, scale=0.1, shear=0.1, translate=0.05), queries=8,
        train_ways=30, train_shots=2, train_queries=4, iterations=1000, optimizer="Muon", lr=2e-3, average=0.99,
        **_SHARED,  # type: ignore[arg-type]
    )  # fmt: skip


def banking(place: Path) -> qs.RunConfig:
    """The first published fold of BANKING77, 15-way 5-shot: 25 training, 25 validation and 27 test classes."""
    folder = _data() / "text" / "protaugment" / "banking77"
    fold = json.loads((folder / "folds.json").read_text())["1"]
    named = place / "banking.json"
    named.write_text(json.dumps({"train": fold["train"], "val": fold["valid"], "test": fold["test"]}))
    tasks = sources.part("text", path=str(_copies_out(folder / "all.csv", place)), splits=str(named), vocabulary=300,
                         length=160, drop=0.1)  # fmt: skip
    cosine = learners.part("protonet", distance="cosine", temperature=10.0, learn_temperature=True)
    return qs.RunConfig(
        name="banking", learner=cosine, model=models.part("ngrams"), tasks=tasks, ways=15, shots=5, queries=10,
        train_queries=5, iterations=600, lr=3e-3, **_SHARED,  # type: ignore[arg-type]
    )  # fmt: skip


def _copies_out(path: Path, place: Path) -> Path:
    """The rows without texts that came before."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = {row["text"]: row["label"] for row in csv.DictReader(file)}
    out = place / "banking.csv"
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([("text", "label"), *rows.items()])
    return out


def tiny_imagenet(place: Path) -> qs.RunConfig:
    """30 photographs of each of 200 classes, 5-way 5-shot: 120 training, 40 validation and 40 test classes."""
    with zipfile.ZipFile(_data() / "domains" / "tiny_imagenet_30.zip") as archive:
        archive.extractall(place)
    return qs.RunConfig(
        name="tiny-imagenet", learner=learners.part("protonet"), model=models.part("conv4", width=32), ways=5, shots=5,
        tasks=sources.part("folder", root=str(place / "tiny_imagenet_30"), size=48, rotate=10.0, scale=0.1,
                           translate=0.05), queries=25, train_ways=15, train_queries=5, iterations=800,
        optimizer="Muon", lr=2e-3, average=0.99, **_SHARED,  # type: ignore[arg-type]
    )  # fmt: skip


SOURCES: dict[str, tuple[Callable[[Path], qs.RunConfig], Size]] = {
    "Omniglot": (omniglot, Size(20, 5, 10, 15)),
    "BANKING77": (banking, Size(15, 5, 12, 20)),
    "tiny ImageNet": (tiny_imagenet, Size(5, 5, 5, 25)),
}
"""By name, the run, and the size of test tasks: as many queries are of classes that were not shown as can be."""


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float:
    ranks = torch.stack([torch.tensor(part).argsort().argsort().double() for part in (one, other)])
    return float(torch.corrcoef(ranks)[0, 1])


def auroc(known: Tensor, strange: Tensor) -> float:
    """How often a known input has the larger score than a strange one; ties count half."""
    away = known[:, None] - strange
    return float((away > 0).double().mean() + 0.5 * (away == 0).double().mean())


def calibration_error(sure: Tensor, right: Tensor) -> float:
    """The mean over inputs of | confidence − accuracy | within bins of the confidence (Guo et al. 2017)."""
    which = (sure * _BINS).long().clamp(max=_BINS - 1)
    gaps = [float((sure[which == b] - right[which == b].double()).sum().abs()) for b in range(_BINS)]
    return sum(gaps) / len(sure)


def wilson(right: float, count: int) -> tuple[float, float]:
    """The 90 % interval of a share of which `right` of `count` were seen (Wilson 1927)."""
    z2, p = _NORMAL**2, right / count
    middle, half = p + z2 / (2 * count), _NORMAL * math.sqrt(p * (1 - p) / count + z2 / (4 * count**2))
    return (middle - half) / (1 + z2 / count), (middle + half) / (1 + z2 / count)


def of_task(trust: TaskTrust, one: Tried) -> dict[str, float]:
    """All figures of one test task."""
    known, truth = one.y >= 0, one.accuracy
    y, said, found = one.y[known], trust.estimate(LEVEL), trust.judged(one.logits, one.familiar, COVERAGE)
    assert found.known is not None and found.inside is not None
    left, own = one.left_out
    right = int((left.argmax(1) == own).sum())
    low, high = wilson(right, len(own))
    inside = found.inside[known]
    # A task's own quantile: of its examples when they were left out.
    scores = -own_logit(left.log_softmax(1)).gather(1, own[:, None])[:, 0]
    place = math.ceil((len(own) + 1) * COVERAGE)
    bound = scores.sort().values[place - 1] if place <= len(own) else torch.inf
    alone = -own_logit(one.logits[known].log_softmax(1)) <= bound
    row = {
        "accuracy": truth, "estimate": said.mean, "held": float(said.low <= truth <= said.high),
        "width": said.high - said.low, "left-out": right / len(own), "left-out held": float(low <= truth <= high),
        "left-out width": high - low, "covered": float(inside.gather(1, y[:, None]).double().mean()),
        "size": float(inside.double().sum(1).mean()),
        "left-out covered": float(alone.gather(1, y[:, None]).double().mean()),
        "left-out size": float(alone.double().sum(1).mean()),
        "auroc": auroc(found.known[known], found.known[~known]),
        "auroc by probability": auroc(one.familiar[known, 0], one.familiar[~known, 0]),
    }  # fmt: skip
    for rate in RATES:
        accepted = trust.judged(one.logits, one.familiar, None, rate).accepted
        assert accepted is not None
        row[f"alarms {rate:g}"] = float((~accepted[known]).double().mean())
        row[f"found {rate:g}"] = float((~accepted[~known]).double().mean())
    return row


def measured(name: str, place: Path, count: int) -> dict[str, Any]:
    made, size = SOURCES[name]
    folder, config = place / f"run-{name.replace(' ', '-')}", made(place)
    config = replace(config, device="cpu", checkpoint_every=10**6, log_every=100)
    run = found_or_trained(config, folder)
    trust, rows, sure = run.fit_trust(), [], [[], [], []]  # type: ignore[var-annotated]
    for one in tried(
        run.parts.engine, run.params, run.parts.source, "test", replace(size, tasks=count), first=0, space=trust.space
    ):
        mine, known = TaskTrust(trust, one.evidence, None), one.y >= 0
        rows.append(of_task(mine, one))
        tempered = mine.judged(one.logits, one.familiar).logits[known].softmax(1)
        for part, p in zip(sure, (one.logits[known].softmax(1), tempered), strict=False):
            part.append(p.amax(1))
        sure[2].append(tempered.argmax(1) == one.y[known])
    before, after, right = (torch.cat(part) for part in sure)
    band = [row for row in rows if BAND[0] <= row["accuracy"] <= BAND[1]]
    found: dict[str, Any] = {
        "size": {"ways": size.ways, "shots": size.shots, "strange": size.strange, "queries": size.queries},
        "validation": {"tasks": trust.several.estimator.tasks if trust.several else 0,
                       "accuracy": run.kept["validation"], "classes": len(run.parts.source.classes("val"))},
        "rank": rank_correlation([r["estimate"] for r in rows], [r["accuracy"] for r in rows]),
        "left-out rank": rank_correlation([r["left-out"] for r in rows], [r["accuracy"] for r in rows]),
        "calibration": {"before": calibration_error(before, right), "after": calibration_error(after, right)},
        "all": {key: interval([row[key] for row in rows]) for key in rows[0]},
    }  # fmt: skip
    if len(band) > 1:
        found["band"] = {key: interval([row[key] for row in band]) for key in rows[0]}
    return found


def labelled_next(tasks: int, pool: int = 50, more: int = 5) -> dict[str, Any]:
    """What labelling `more` of `pool` inputs brings, chosen by `Model.next`'s rule, or by chance: accuracy on the other
    inputs of one task, of which one example of each of 20 classes is known, of the shipped model of handwriting."""
    run, found = qs.pretrained("handwriting", device="cpu"), {}
    glyphs = qs.tasks.glyphs(ink=True, size=28).sampled(Sampling(20, 1, 15))
    alphabets = run.parts.source.sampled(Sampling(20, 1, 15, groups=1))
    for name, source in (("glyphs", glyphs), ("one alphabet of Omniglot", alphabets)):
        learner, params = run.learner.at(source.spec).evaluated(), run.params
        after, rows = learner.embedded, []
        assert after is not None
        for i in range(tasks):
            one = task(source.episodes("test", torch.tensor([i])), 0)
            order = torch.randperm(len(one.query.y), generator=torch.Generator().manual_seed(i))
            few, rest = order[:pool], order[pool:]
            with torch.no_grad():
                trust = task_trust(run.trust, learner, params, one.support)
                known, z = learner.embed(params, one.support.x), learner.embed(params, one.query.x)
                assert isinstance(trust, TaskTrust) and isinstance(known, Tensor) and isinstance(z, Tensor)
                y = one.query.y

                def said(chosen: Tensor, at: Tensor) -> Tensor:
                    labels = torch.cat([one.support.y, y[chosen]])  # noqa: B023
                    x = torch.cat([known, z[chosen]])  # noqa: B023
                    support = Examples(x, labels, torch.ones(len(labels), dtype=torch.bool))
                    logits: Tensor = after.predict(params, after.adapt(params, support), z[at])  # noqa: B023
                    return logits

                judged = trust.judge(said(few[:0], few), after.compared(params, z[few]))
                chosen = worth(judged.logits.softmax(1), judged.known, z[few], more)

                def right(chosen: Tensor) -> float:
                    return float((said(chosen, rest).argmax(1) == y[rest]).double().mean())  # noqa: B023

                row = {"before": right(few[:0]), "next": right(few[chosen]), "chance": right(few[:more])}
            rows.append(row | {"difference": row["next"] - row["chance"]})
        found[name] = {key: interval([row[key] for row in rows]) for key in rows[0]}
    return found


def main() -> None:
    torch.set_num_threads(1)
    names = [name for name in os.environ.get("QUICKSTUDY_SOURCES", "").split(",") if name] or [
        *SOURCES,
        "next",
        "tables",
    ]
    count, path = int(os.environ.get("QUICKSTUDY_TASKS", TASKS)), RESULTS / "trust.json"
    before: dict[str, Any] = read_json(path) if path.exists() else {"rows": {}}
    rows, asked, tables = before["rows"], before.get("next", {}), before.get("tables", {})
    with TemporaryDirectory() as folder:
        place = Path(os.environ.get("QUICKSTUDY_RUNS", folder))
        for name in names:
            if name == "next":
                asked = labelled_next(min(count, 120))
            elif name == "tables":
                tables = on_tables()
            else:
                rows[name] = measured(name, place, count)
            told = {"level": LEVEL, "coverage": COVERAGE, "band": BAND, "rates": RATES, "rows": rows}
            store("trust", told | {"next": asked, "tables": tables})


if __name__ == "__main__":
    main()
