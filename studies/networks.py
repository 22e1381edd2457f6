"""Networks as people have them, with every learner: what trains, what is refused and in which words, what is exact."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

import quickstudy as qs
from quickstudy.engine import Engine
from quickstudy.episode import Episode, Params, map_features, task
from quickstudy.errors import QuickstudyError
from quickstudy.formats.base import Format
from quickstudy.formats.layout import Leaf
from quickstudy.formats.records import Broken, Stored, all_kept
from quickstudy.learners.given import as_given
from quickstudy.learners.maml_family import maml
from quickstudy.registry import formats, learners
from quickstudy.tasks.classes import ClassSource
from studies.common import store

os.environ.setdefault("KERAS_BACKEND", "torch")
WAYS, WORDS, LENGTH, STEPS = 3, 40, 6, 3
WANTED = ("protonet", "matchingnet", "r2d2", "finetune", "anil")
AUTO = ("protonet", "maml", "finetune")


@dataclass(frozen=True, kw_only=True)
class Words(Format):
    """Text as ids of words, and where there are words."""

    @property
    def layout(self) -> Mapping[str, Leaf]:
        return {name: Leaf((LENGTH,), torch.int64) for name in ("input_ids", "attention_mask")}

    def store(self, records: Any, broken: Broken = "refuse") -> Stored:
        return all_kept(records)


if "words-of-a-study" not in formats:
    formats.register("words-of-a-study", hidden=True)(Words)


def sentences() -> ClassSource:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(16).repeat_interleave(8)
    ids = torch.randint(1, WORDS, (len(y), LENGTH), generator=generator)
    mask = (torch.arange(LENGTH) < torch.randint(1, LENGTH + 1, (len(y), 1), generator=generator)).long()
    ids[:, 0] = 1 + y
    return qs.tasks.arrays({"input_ids": ids * mask, "attention_mask": mask}, y, format=Words())


def numbers(*shape: int) -> ClassSource:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(16).repeat_interleave(8)
    x = torch.randn(16, *shape, generator=generator)[y] + 0.7 * torch.randn(len(y), *shape, generator=generator)
    return qs.tasks.arrays(x, y, format=formats.make("array", shape=shape))


def _timm(name: str, **options: Any) -> nn.Module:
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "models"))
    from torchvision_stand_in import import_timm

    made: nn.Module = import_timm().create_model(name, pretrained=False, **options)
    return made


class Pooled(nn.Module):
    """The mean over what a language model says of the tokens that are there, and a layer on it."""

    def __init__(self, model: nn.Module, width: int, outputs: int) -> None:
        super().__init__()
        self.model, self.head = model, nn.Linear(width, outputs)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        states = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        known = attention_mask.to(states.dtype)[..., None]
        said: Tensor = self.head((states * known).sum(1) / known.sum(1))
        return said


def _bert(outputs: int) -> nn.Module:
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=WORDS, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=16, attn_implementation="eager",
    )  # fmt: skip
    return Pooled(BertModel(config, add_pooling_layer=False), 16, outputs)


def _gpt2(outputs: int) -> nn.Module:
    from transformers import GPT2Config, GPT2Model

    config = GPT2Config(vocab_size=WORDS, n_embd=16, n_layer=2, n_head=2, n_positions=16, attn_implementation="eager")
    config.use_cache = False
    return Pooled(GPT2Model(config), 16, outputs)


def _lora(outputs: int) -> nn.Module:
    import peft

    net = nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, outputs))
    made: nn.Module = peft.get_peft_model(net, peft.LoraConfig(r=2, target_modules=["0", "2"]))
    return made


class Recurrent(nn.Module):
    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.gru, self.head = nn.GRU(4, 12, batch_first=True), nn.Linear(12, outputs)

    def forward(self, x: Tensor) -> Tensor:
        said: Tensor = self.head(self.gru(x)[0][:, -1])
        return said


class Translating(nn.Module):
    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.body = nn.Transformer(8, 2, 1, 1, 16, batch_first=True)
        self.head = nn.Linear(8, outputs)

    def forward(self, x: Tensor) -> Tensor:
        said: Tensor = self.head(self.body(x, x[:, -1:])[:, 0])
        return said


class Tied(nn.Module):
    """One matrix in two places."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(12, 12), nn.Linear(12, 12), nn.Linear(12, outputs)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        said: Tensor = self.head(torch.tanh(self.second(torch.tanh(self.first(x)))))
        return said


def _spectral(outputs: int) -> nn.Module:
    from torch.nn.utils.parametrizations import spectral_norm

    return nn.Sequential(spectral_norm(nn.Linear(12, 16)), nn.Tanh(), nn.Linear(16, outputs))


def _keras(outputs: int) -> Any:
    import keras

    layers = [keras.layers.Dense(16, activation="tanh"), keras.layers.Dropout(0.2), keras.layers.Dense(outputs)]
    return keras.Sequential([keras.Input((12,)), *layers])


NETWORKS: dict[str, tuple[Callable[[int], Any], Callable[[], ClassSource]]] = {
    "ViT (timm), drop path": (
        lambda n: _timm("vit_tiny_patch16_224", img_size=16, patch_size=8, embed_dim=24, depth=2, num_heads=2,
                        num_classes=n, drop_path_rate=0.2, drop_rate=0.1), lambda: numbers(3, 16, 16)),
    "ConvNeXt (timm)": (
        lambda n: _timm("convnext_atto", depths=(1, 1, 1, 1), dims=(8, 8, 16, 16), num_classes=n,
                        drop_path_rate=0.1), lambda: numbers(3, 32, 32)),
    "ResNet-18 (timm), BatchNorm, drop path": (
        lambda n: _timm("resnet18", num_classes=n, drop_path_rate=0.2), lambda: numbers(3, 32, 32)),
    "BERT, masks, dropout": (_bert, sentences),
    "GPT-2, masks, dropout": (_gpt2, sentences),
    "LoRA (peft)": (_lora, lambda: numbers(12)),
    "GRU": (Recurrent, lambda: numbers(5, 4)),
    "nn.Transformer, dropout": (Translating, lambda: numbers(5, 8)),
    "spectral norm": (_spectral, lambda: numbers(12)),
    "tied weights": (Tied, lambda: numbers(12)),
    "Keras, dropout": (_keras, lambda: numbers(12)),
}  # fmt: skip


def options_of(name: str, network: str) -> dict[str, Any]:
    """Of a learner: networks with BatchNorm are normalised by the batch inside inner loops."""
    takes = learners.part(name).parameters()
    options: dict[str, Any] = {"norm": "batch"} if "BatchNorm" in network and "norm" in takes else {}
    return options | ({"steps": 2} if "steps" in takes else {})


def config(name: str, network: str, **changes: Any) -> qs.RunConfig:
    settings: dict[str, Any] = {"iterations": STEPS, "compile": "off"} | changes
    return qs.RunConfig(
        name="x", learner=learners.part(name, **options_of(name, network)), ways=WAYS, shots=2, queries=2, meta_batch=2,
        validation_episodes=2, calibration_episodes=1, batch=12, device="cpu", **settings,
    )  # fmt: skip


def tried(name: str, network: str, **changes: Any) -> dict[str, str]:
    """What comes of training a network with a learner for some steps, and adapting it to a task."""
    make, source = NETWORKS[network]
    torch.manual_seed(0)
    with TemporaryDirectory() as folder:
        try:
            tasks = source()
            run = qs.train(
                config(name, network, **changes), module=make(WAYS if learners.traits(name).head else 8), source=tasks,
                out=Path(folder, "run"), quiet=True,
            )  # fmt: skip
            episode = tasks.sampled(qs.Sampling(WAYS, 2, 2)).episodes("test", torch.zeros(1, dtype=torch.int64))
            support = map_features(lambda t: t[0], episode.support.x)
            model = run.adapt(support, [str(int(label)) for label in episode.support.y[0]])
            with torch.no_grad():
                twice = [model(map_features(lambda t: t[0], episode.query.x)) for _ in range(2)]
            if not torch.equal(*twice):
                return {"outcome": "WRONG", "said": "two answers to one question"}
            start = run.untrained()
            moved = any(
                not torch.equal(value, start[n]) for n, value in run.params.items() if value.requires_grad is False
            )
            return {"outcome": f"trains ({run.parts.training_engine.mode})" if moved else "WRONG", "said": ""}
        except QuickstudyError as error:
            return {"outcome": "refused", "said": str(error)}
        except Exception as error:  # which is what must never happen
            return {"outcome": "RAW", "said": f"{type(error).__name__}: {error}"[:500]}


def by_hand(module: nn.Module, params: Params, episode: Episode, rate: float, steps: int) -> Params:
    """MAML's meta-gradient of one task by plain autograd on the module itself."""
    own = dict(module.named_parameters())
    leaves = {n: params[f"network.{n}"].detach().clone().requires_grad_(own[n].requires_grad) for n in own}
    constants = {n.removeprefix("constant."): v for n, v in params.items() if n.startswith("constant.")}
    own_task = dict(leaves)

    def said(values: Params, x: Any) -> Tensor:
        named = isinstance(x, dict)
        output: Tensor = torch.func.functional_call(
            module, values | constants, () if named else (x,), x if named else None
        )
        return output

    for _ in range(steps):
        loss = F.cross_entropy(said(own_task, episode.support.x), episode.support.y)
        names = [n for n, value in own_task.items() if value.requires_grad]
        slopes = torch.autograd.grad(loss, [own_task[n] for n in names], create_graph=True, allow_unused=True)
        own_task |= {n: own_task[n] - rate * g for n, g in zip(names, slopes, strict=True) if g is not None}
    loss = F.cross_entropy(said(own_task, episode.query.x), episode.query.y)
    names = [n for n, value in leaves.items() if value.requires_grad]
    grads = torch.autograd.grad(loss, [leaves[n] for n in names], allow_unused=True, materialize_grads=True)
    return {f"network.{n}": g for n, g in zip(names, grads, strict=True)}


def exactness(network: str) -> dict[str, Any]:
    """MAML's meta-gradient in float64 beside plain autograd's: the largest relative difference of a parameter's."""
    make, source = NETWORKS[network]
    torch.manual_seed(0)
    module = make(WAYS)
    if network.startswith("Keras"):
        from quickstudy.models.encoders.keras import KerasModule

        module = KerasModule(module)
    module = module.double().eval()
    if "BatchNorm" in network:
        for layer in module.modules():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                layer.track_running_stats, layer.running_mean, layer.running_var = False, None, None
    tasks = source().sampled(qs.Sampling(WAYS, 2, 2))
    episodes = tasks.episodes("train", torch.arange(2))
    episodes = Episode(
        *(p._replace(x=map_features(lambda t: t.double() if t.is_floating_point() else t, p.x)) for p in episodes)
    )
    try:
        learner = maml(as_given(module), tasks.spec, lr=0.1, steps=2, norm="batch")
        params = learner.init(torch.Generator().manual_seed(0))
        found = Engine(learner, torch.device("cpu"), "auto").gradients(params, episodes)[0]
        singles = [task(episodes, i) for i in range(2)]
        with sdpa_kernel(SDPBackend.MATH):  # the others have no second derivative
            hand = [by_hand(module, params, one, 0.1, 2) for one in singles]
    except QuickstudyError as error:
        return {"refused": str(error)}
    except RuntimeError as error:
        return {"raw": f"{type(error).__name__}: {error}"[:300]}
    mean = {n: (hand[0][n] + hand[1][n]) / 2 for n in hand[0]}
    norm = float(torch.stack([g.square().sum() for g in mean.values()]).sum().sqrt())
    apart = float(torch.stack([(found[n] - g).square().sum() for n, g in mean.items()]).sum().sqrt())
    return {"relative": apart / norm}


def matrix() -> None:
    """Every network with every learner."""
    names = [n for n in learners if not learners.traits(n).context]
    table = {network: {name: tried(name, network) for name in names} for network in NETWORKS}
    auto = {
        network: {name: tried(name, network, compile="auto", iterations=6) for name in AUTO} for network in NETWORKS
    }
    exact = {network: exactness(network) for network in NETWORKS}
    store("networks", {"steps": STEPS, "table": table, "auto": auto, "exact": exact})


if __name__ == "__main__":
    which = sys.argv[1:] or list(NETWORKS)
    for network in [n for n in NETWORKS if any(w in n for w in which)]:
        for name in (n for n in learners if not learners.traits(n).context):
            got = tried(name, network)
            print(network, name, got["outcome"], got["said"][:260], flush=True)
        print(network, exactness(network), flush=True)
