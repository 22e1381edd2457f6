"""Many domains: trained on letters, photographs, emoji and icons, tried on traffic signs, CIFAR-10 and flawed steel."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import quickstudy as qs
from quickstudy.registry import formats, learners, models, sources
from quickstudy.tasks import Domains
from quickstudy.tasks.base import Source
from quickstudy.tasks.classes import ClassSource
from quickstudy.tasks.pool import TensorPool
from studies.common import store
from studies.encoders import Residual, encoders

WAYS, SHOTS, QUERIES, TRAINED = 5, 5, 15, 2  # queries in test; in training emoji have no more than two left
EPISODES, VALIDATION, ADAPTED = 1000, 600, 100
STEPS, SCRATCH = 1500, 4000
_SEED = 0
_FILE = """
[omniglot]
tasks = "omniglot"
root = "{data}/omniglot"
split = "lake"

[photographs]
root = "{place}/tiny_imagenet_30"

[emoji]
root = "{place}/emoji"
min_class = 7

[icons]
root = "{place}/icons"

["traffic signs"]
root = "{place}/traffic_signs"
group = "track([0-9]+)_"
held = "test"

[CIFAR-10]
root = "{place}/cifar10"
held = "test"

[steel]
root = "{place}/steel_defects"
held = "test"
"""
HELD = ("traffic signs", "CIFAR-10", "steel")


def described(place: Path) -> Any:
    """The domains, unpacked at a place."""
    data = Path(os.environ["QUICKSTUDY_DATA"])
    for path in sorted((data / "domains").glob("*.zip")):
        with zipfile.ZipFile(path) as archive:
            archive.extractall(place)
    (file := place / "many.toml").write_text(_FILE.format(data=data, place=place))
    return sources.part("domains", domains=(str(file),), options=("size", "64", "channels", "3"))


def held_out(source: Domains) -> Domains:
    """Only the domains that are held out are tested on: of the others, classes for test are left out."""
    members = {name: m if name in HELD else _without_test(m) for name, m in source.members.items()}
    return replace(source, members=members)


def _without_test(source: Source) -> Source:
    assert isinstance(source, ClassSource)
    return replace(source, splits={split: source.splits[split] for split in ("train", "val")})


def together(parts: Sequence[Domains]) -> Domains:
    """The features of several encoders side by side, each of length 1."""
    found: dict[str, Source] = {}
    for name in parts[0].members:
        each = []
        for part in parts:
            member = part.members[name]
            assert isinstance(member, ClassSource) and isinstance(member.pool, TensorPool)
            assert isinstance(member.pool.x, Tensor)
            each.append(F.normalize(member.pool.x, dim=1))
        x = torch.cat(each, dim=1)
        format: Any = formats.make("array", shape=(x.shape[1],))
        pool = replace(member.pool, format=format, x=x)
        found[name] = replace(member, pool=pool, spec=replace(member.spec, format=format))
    return replace(parts[0], members=found)


class Ended(Residual):
    """A small change to features, which stay of one length: (n, D) to (n, D)."""

    def forward(self, z: Tensor) -> Tensor:
        return F.normalize(super().forward(z), dim=1)


CANDIDATES: dict[str, tuple[str, dict[str, Any], str, int]] = {
    "cosine prototypes": ("protonet", {"distance": "cosine", "temperature": 10.0}, "as they are", 0),
    "ridge regression": ("r2d2", {}, "of length one", 300),
    **{f"logistic regression, λ = {by:g}": ("lrd2", {"regularisation": by}, "of length one", 0) for by in (1.0, 0.1)},
    "prototypes on a meta-trained change": ("protonet", {"distance": "cosine", "temperature": 10.0}, "changed", STEPS),
    "ridge regression on a meta-trained change": ("r2d2", {}, "changed", STEPS),
}


def config_of(learner: Any, iterations: int, **options: Any) -> qs.RunConfig:
    return qs.RunConfig(
        name="many", learner=learner, ways=WAYS, shots=SHOTS, queries=TRAINED, iterations=iterations, seed=_SEED,
        validation_episodes=400, validate_every=100, **options,
    )  # fmt: skip


def measured(run: Any, episodes: int = EPISODES) -> dict[str, Any]:
    """Accuracy on validation classes of the training domains, and on each domain held out."""
    val = run.evaluate(split="val", episodes=max(episodes * VALIDATION // EPISODES, 2), compare_supports=False)
    test = run.evaluate(split="test", queries=QUERIES, episodes=episodes, compare_supports=False)
    rows = {name: {"mean": one.mean, "ci95": one.ci95, "count": one.count} for name, one in test.domains.items()}
    mean = {"mean": test.mean, "ci95": test.ci95, "count": test.episodes}
    return {"val": {"mean": val.mean, "ci95": val.ci95, "count": val.episodes}, "test": mean, "domains": rows}


class Unit(nn.Module):
    """Features of length 1, as they are otherwise."""

    def forward(self, z: Tensor) -> Tensor:
        return F.normalize(z, dim=1)


def on_features(source: Domains, folder: Path) -> dict[str, Any]:
    """Every candidate on features that are kept."""
    width, found = source.spec.format.input_shape[0], {}
    for i, (name, (learner, options, network, steps)) in enumerate(CANDIDATES.items()):
        torch.manual_seed(_SEED)
        modules = {"as they are": nn.Identity(), "of length one": Unit(), "changed": Ended(width)}
        config = config_of(learners.part(learner, **options), steps, lr=5e-4, device="cpu", compile="off")
        run = qs.train(config, module=modules[network], source=source, out=folder / f"{width}-{i}", quiet=True)
        found[name] = measured(run)
        told = {one: round(100 * row["mean"], 1) for one, row in found[name]["domains"].items()}
        print(f"   {name}: val {100 * found[name]['val']['mean']:.1f}, {told}", flush=True)
    return found


def many() -> None:
    """Frozen encoders, alone and side by side, and what meta-training on their features adds."""
    rows: dict[str, Any] = {}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with TemporaryDirectory() as place:
        source = held_out(described(Path(place)).build())
        parts = {}
        for name, part in encoders(Path(os.environ["QUICKSTUDY_DATA"])).items():
            encoder = qs.Encoder(part.build(source.spec, False), source.spec.format, device=device)
            features = encoder.source(source).to("cpu")
            assert isinstance(features, Domains)
            parts[name] = features
        for name, one in {**parts, "both, side by side": together(list(parts.values()))}.items():
            print(name, flush=True)
            rows[name] = on_features(one, Path(place, name.split()[0]))
            store("many", {"seed": _SEED, "episodes": EPISODES, "steps": STEPS, "chosen": chosen(rows), "rows": rows})


def chosen(rows: dict[str, Any]) -> tuple[str, str]:
    """The encoder and the candidate that validation classes choose."""
    every = [(encoder, name) for encoder, found in rows.items() for name in found]
    return max(every, key=lambda one: rows[one[0]][one[1]]["val"]["mean"])


def adapters() -> None:
    """Small parts of the frozen SqueezeNet, fitted to each task."""
    rows: dict[str, Any] = {}
    with TemporaryDirectory() as place:
        source = held_out(described(Path(place)).build())
        part = next(iter(encoders(Path(os.environ["QUICKSTUDY_DATA"])).values()))
        for name, rate in (("tsa", 3e-4), ("tsa", 1e-3), ("film", 3e-3), ("film", 1e-2)):
            config = replace(config_of(learners.part(name, lr=rate), 0), model=part, validation_episodes=2)
            run = qs.train(config, source=source, out=Path(place, f"{name} {rate}"), quiet=True)
            rows[f"{name}, {rate:g}"] = measured(run, ADAPTED)
            store("many-adapters", {"seed": _SEED, "episodes": ADAPTED, "rows": rows})


def scratch() -> None:
    """A network that has seen nothing but the four training domains."""
    with TemporaryDirectory() as place:
        source = held_out(described(Path(place)).build())
        config = replace(
            config_of(learners.part("protonet"), SCRATCH, meta_batch=8, optimizer="Muon", lr=2e-3, average=0.998,
                      schedule="CosineAnnealingLR", train_ways=10),
            model=models.part("resnet12"), validate_every=500,
        )  # fmt: skip
        run = qs.train(config, source=source, out=Path(place, "run"))
        found = measured(run) | {"step": run.kept["step"], "seconds": run.seconds}
        store("many-scratch", {"seed": _SEED, "episodes": EPISODES, "steps": SCRATCH, "rows": {"ResNet-12": found}})
