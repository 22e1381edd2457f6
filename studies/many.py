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
from quickstudy.evaluation.estimate import Estimate
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


DRESSED = ("as they are", "roots", "roots, centred")


def dressed(source: Domains, how: str) -> Domains:
    """Features of length 1: of what they are, of their roots, or of these less the mean over what is trained on.

    The mean is of the training classes, every domain counting alike (Wang et al. 2019; roots: Yang, Liu & Xu 2021).
    """
    roots = {name: _features(m) for name, m in source.members.items()}
    if how != "as they are":
        roots = {name: F.normalize(x.sign() * x.abs().sqrt(), dim=1) for name, x in roots.items()}
    if how == "roots, centred":
        known = [roots[name][_training_rows(m)].mean(0) for name, m in source.members.items() if name not in HELD]
        roots = {name: x - torch.stack(known).mean(0) for name, x in roots.items()}
    return _with_features(source, {name: F.normalize(x, dim=1) for name, x in roots.items()})


def together(parts: Sequence[Domains]) -> Domains:
    """The features of several encoders side by side."""
    each = [{name: _features(m) for name, m in part.members.items()} for part in parts]
    return _with_features(parts[0], {name: torch.cat([x[name] for x in each], dim=1) for name in each[0]})


def _features(member: Source) -> Tensor:
    assert isinstance(member, ClassSource) and isinstance(member.pool, TensorPool)
    assert isinstance(member.pool.x, Tensor)
    return member.pool.x


def _training_rows(member: Source) -> Tensor:
    assert isinstance(member, ClassSource) and isinstance(member.pool, TensorPool)
    pool, ids = member.pool, member.splits["train"].tolist()
    return torch.cat([pool.rows[int(pool.starts[i]) : int(pool.starts[i] + pool.counts[i])] for i in ids])


def _with_features(source: Domains, x: dict[str, Tensor]) -> Domains:
    members: dict[str, Source] = {}
    for name, member in source.members.items():
        assert isinstance(member, ClassSource) and isinstance(member.pool, TensorPool)
        format: Any = formats.make("array", shape=(x[name].shape[1],))
        pool = replace(member.pool, format=format, x=x[name])
        members[name] = replace(member, pool=pool, spec=replace(member.spec, format=format))
    return replace(source, members=members)


def without(source: Domains, name: str) -> Domains:
    """Trained on the other domains; of this one there are classes for validation alone."""
    member = source.members[name]
    assert isinstance(member, ClassSource)
    members = {**source.members, name: replace(member, splits={"val": member.splits["val"]})}
    return replace(source, members=members, held={**source.held, name: "val"})


class Ended(Residual):
    """A small change to features, which stay of one length: (n, D) to (n, D)."""

    def forward(self, z: Tensor) -> Tensor:
        return F.normalize(super().forward(z), dim=1)


CANDIDATES: dict[str, tuple[str, dict[str, Any]]] = {
    "cosine prototypes": ("protonet", {"distance": "cosine", "temperature": 10.0}),
    **{f"ridge regression, λ = {by:g}": ("r2d2", {"regularisation": by}) for by in (1.0, 0.1)},
    **{f"logistic regression, λ = {by:g}": ("lrd2", {"regularisation": by}) for by in (1.0, 0.1, 0.01)},
}
TRAINED_ON = "prototypes on a meta-trained change"


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


def on_features(source: Domains, folder: Path) -> dict[str, Any]:
    """Every candidate that trains nothing, on features that are kept."""
    found = {}
    for i, (name, (learner, options)) in enumerate(CANDIDATES.items()):
        config = config_of(learners.part(learner, **options), 0, device="cpu", compile="off")
        run = qs.train(config, module=nn.Identity(), source=source, out=folder / str(i), quiet=True)
        found[name] = measured(run)
        _say(name, found[name])
    return found


def changed(source: Domains, folder: Path) -> dict[str, Any]:
    """Prototypes on a change of features that is meta-trained. Validation is on domains that it was not trained on:
    it is trained anew without each of them."""
    learner, options = CANDIDATES["cosine prototypes"]
    config = config_of(learners.part(learner, **options), STEPS, lr=5e-4, device="cpu", compile="off")

    def trained(on: Domains, name: str) -> Any:
        torch.manual_seed(_SEED)
        module = Ended(source.spec.format.input_shape[0])
        return qs.train(config, module=module, source=on, out=folder / name, quiet=True)

    found = measured(trained(source, "all"))
    others = []
    for name in [name for name in source.members if name not in HELD]:
        run = trained(without(source, name), name)
        others.append(run.evaluate(split="val", episodes=VALIDATION, compare_supports=False).domains[name])
    mean = Estimate.together(others)
    found["val"] = {"mean": mean.mean, "ci95": mean.ci95, "count": mean.count}
    _say(TRAINED_ON, found)
    return found


def _say(name: str, found: dict[str, Any]) -> None:
    told = {one: round(100 * row["mean"], 1) for one, row in found["domains"].items()}
    print(f"   {name}: val {100 * found['val']['mean']:.1f}, test {100 * found['test']['mean']:.1f} {told}", flush=True)


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
        for how in DRESSED:
            each = {name: dressed(part, how) for name, part in parts.items()}
            for name, one in {**each, "both, side by side": together(list(each.values()))}.items():
                print(f"{name}, {how}", flush=True)
                rows[f"{name}, {how}"] = on_features(one, Path(place, f"{name} {how}"))
                if name not in each and how == DRESSED[-1]:
                    rows[f"{name}, {how}"][TRAINED_ON] = changed(one, Path(place, f"changed {how}"))
                found = {"seed": _SEED, "episodes": EPISODES, "steps": STEPS, "chosen": chosen(rows), "rows": rows}
                store("many", found)


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
