"""Networks of transformers, for text and images: they compute what the library computes, and are stored without it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_cache import offline, put
from photos import coloured, photo_run, photos
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

import quickstudy as qs
from quickstudy.episode import Features
from quickstudy.errors import CheckpointError, ConfigError
from quickstudy.formats.base import Format
from quickstudy.formats.layout import Leaf
from quickstudy.formats.records import Broken, Stored, all_kept
from quickstudy.learners import Network
from quickstudy.learners.probe import probe
from quickstudy.models import transformers as encoder
from quickstudy.models.encoders.transformers import _longest
from quickstudy.registry import formats, learners, models, targets
from quickstudy.runs.train import resume, train
from quickstudy.tasks import arrays
from quickstudy.tasks.classes import ClassSource

library = pytest.importorskip("transformers")

WORDS, LENGTH = 40, 6
TEXT: dict[str, Any] = {
    "bert": lambda: library.BertConfig(
        vocab_size=WORDS, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=16, num_labels=3,
    ),
    "gpt2": lambda: library.GPT2Config(
        vocab_size=WORDS, n_embd=16, n_layer=2, n_head=2, n_positions=16, bos_token_id=0, eos_token_id=0
    ),
}  # fmt: skip
SIGHT: dict[str, Any] = {
    "vit": lambda: library.ViTConfig(
        image_size=32, patch_size=8, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24
    ),
    "convnext": lambda: library.ConvNextConfig(hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], image_size=32),
    "resnet": lambda: library.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1]),
}


@dataclass(frozen=True, kw_only=True)
class Tokens(Format):
    """Text as ids of words, and where there are words."""

    length: int = LENGTH

    @property
    def layout(self) -> Mapping[str, Leaf]:
        return {
            "input_ids": Leaf((self.length,), torch.int64),
            "attention_mask": Leaf((self.length,), torch.int64),
        }

    def store(self, records: Any, broken: Broken = "refuse") -> Stored:
        return all_kept(records)


def tokens(ways: int = 3) -> qs.TaskSpec:
    return qs.TaskSpec(Tokens(), targets.make("classes", ways=ways))


def sentences(count: int, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, WORDS, (count, LENGTH), generator=generator)
    lengths = torch.randint(1, LENGTH + 1, (count, 1), generator=generator)
    mask = (torch.arange(LENGTH) < lengths).long()
    return {"input_ids": ids * mask, "attention_mask": mask}


def texts(classes: int = 16, each: int = 6) -> ClassSource:
    """Classes that each have a word of their own."""
    y = torch.arange(classes).repeat_interleave(each)
    x = sentences(len(y))
    x["input_ids"][:, 0] = 1 + y
    return arrays(x, y, format=Tokens())


@pytest.fixture(autouse=True)
def announced(monkeypatch: pytest.MonkeyPatch) -> None:
    """The format is known while a test runs."""
    monkeypatch.setattr(formats, "_entries", dict(formats._load()))
    formats.register("tokens")(Tokens)


def saved(kind: str, folder: Path) -> nn.Module:
    torch.manual_seed(3)
    config = (TEXT | SIGHT)[kind]()
    made: nn.Module = library.AutoModel.from_config(config).eval()
    with torch.no_grad():
        for value in made.parameters():
            value.add_(0.05 * torch.randn(value.shape))
    made.save_pretrained(folder)
    return made


def mean_known(states: Tensor, mask: Tensor) -> Tensor:
    """One sentence after another."""
    return torch.stack([one[seen.bool()].mean(0) for one, seen in zip(states, mask, strict=True)])


@pytest.mark.parametrize("kind", TEXT)
def test_text_is_embedded_as_the_library_does(kind: str, tmp_path: Path) -> None:
    made, x = saved(kind, tmp_path), sentences(5)
    with torch.no_grad():
        states = made(**x).last_hidden_state
        mean = encoder(tokens(), False, name=str(tmp_path))(**x)
        cls = encoder(tokens(), False, name=str(tmp_path), pool="cls")(**x)
    torch.testing.assert_close(mean, mean_known(states, x["attention_mask"]), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(cls, states[:, 0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", TEXT)
def test_padding_changes_nothing_and_where_no_token_is_numbers_are_finite(kind: str, tmp_path: Path) -> None:
    saved(kind, tmp_path)
    made, x = encoder(tokens(), False, name=str(tmp_path)), sentences(4)
    other = x | {"input_ids": torch.where(x["attention_mask"] > 0, x["input_ids"], 7)}
    torch.testing.assert_close(made(**other), made(**x), rtol=1e-4, atol=1e-5)
    nothing = x | {"attention_mask": torch.zeros_like(x["attention_mask"])}
    everything = x | {"attention_mask": torch.ones_like(x["attention_mask"])}
    assert torch.equal(made(**nothing), made(**everything)) and bool(made(**nothing).isfinite().all())
    one = {name: torch.cat([value[:1], nothing[name][1:]]) for name, value in x.items()}
    torch.testing.assert_close(made(**one)[:1], made(**x)[:1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", SIGHT)
@pytest.mark.parametrize("pool", ["mean", "own"])
def test_images_are_embedded_as_the_library_does(kind: str, pool: Any, tmp_path: Path) -> None:
    made, x = saved(kind, tmp_path), torch.rand(3, 3, 32, 32)
    (tmp_path / "preprocessor_config.json").write_text(
        '{"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4], "size": {"height": 32, "width": 32}}'
    )
    ours = encoder(photos(32), False, name=str(tmp_path), pool=pool)
    pixels = (x - torch.tensor([0.5, 0.4, 0.3]).reshape(3, 1, 1)) / torch.tensor([0.2, 0.3, 0.4]).reshape(3, 1, 1)
    with torch.no_grad():
        output = made(pixel_values=pixels)
        expected = output.pooler_output.flatten(1)
        if pool == "mean":
            expected = output.last_hidden_state.mean((2, 3) if kind != "vit" else 1)
        network = qs.registry.learners["protonet"](ours, photos(32), norm="given").network
        found = network(network.init(torch.Generator().manual_seed(0)), x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "learner"), [("bert", "protonet"), ("gpt2", "anil"), ("vit", "r2d2"), ("bert", "maml")]
)
def test_a_run_needs_neither_folder_nor_weights_again(kind: str, learner: str, tmp_path: Path) -> None:
    made = saved(kind, tmp_path / "network")
    source = coloured() if kind in SIGHT else texts()
    config = photo_run(learner, models.part("transformers", name=str(tmp_path / "network")))
    run = train(config, source=source, out=tmp_path / "run", quiet=True)
    begun = run.untrained()
    prefix = "network.encoder.network." if learner in ("anil", "maml") else "network.network."
    own = dict(made.named_parameters())
    assert all(torch.equal(begun[prefix + name], value) for name, value in own.items())
    still = {name for name, value in own.items() if torch.equal(run.params[prefix + name], value)}
    assert len(own) - len(still) > 20 and {n for n in still if "pooler" not in n and "mask" not in n} <= set()
    x: Features = torch.rand(6, 3, 32, 32) if kind in SIGHT else sentences(6, seed=4)
    expected = run.adapt(x, list("aabbcc"))
    expected.save(tmp_path / "model")

    shutil.rmtree(tmp_path / "network")
    again = qs.Run(tmp_path / "run", source=source)
    assert torch.equal(again.adapt(x, list("aabbcc"))(x), expected(x))
    assert torch.equal(qs.load(tmp_path / "model", device="cpu")(x), expected(x))
    assert again.evaluate(episodes=4).mean == run.evaluate(episodes=4).mean
    resume(tmp_path / "run", source=source, iterations=3, quiet=True)
    with pytest.raises(ConfigError, match=r"There is no folder .*network"):
        again.untrained()


def test_without_weights_the_seed_draws_it_as_the_library_does(tmp_path: Path) -> None:
    saved("bert", tmp_path / "network")
    model = models.part("transformers", name=str(tmp_path / "network"), pretrained=False)
    one, same, other = (
        train(
            photo_run("protonet", model, seed=seed), source=texts(), out=tmp_path / f"{index}", quiet=True
        ).untrained()
        for index, seed in enumerate((0, 0, 1))
    )
    words = "network.network.embeddings.word_embeddings.weight"
    assert not torch.equal(one[words], other[words]) and 0.015 < float(one[words].std()) < 0.025
    assert all(torch.equal(one[name], same[name]) for name in one)


@pytest.mark.parametrize("kind", ["bert", "gpt2", "convnext"])
def test_it_is_a_pure_function_with_second_derivatives(kind: str, tmp_path: Path) -> None:
    """As own networks are tried; by many threads; and through the inner loop, against finite differences.

    The library's vision transformers take their softmax in float32, too rough for these; timm's are tried there.
    """
    saved(kind, tmp_path)
    spec = photos(32) if kind in SIGHT else tokens()
    x: Any = torch.rand(6, 3, 32, 32).double() if kind in SIGHT else sentences(6)
    probe(Network(encoder(spec, name=str(tmp_path))), spec.format)
    learner = learners["maml"](encoder(spec, name=str(tmp_path)).double(), spec, lr=0.1, steps=1)
    params = {
        name: value.double() if value.is_floating_point() else value
        for name, value in learner.init(torch.Generator().manual_seed(0)).items()
    }
    others = {name: value + 0.1 if value.is_floating_point() else value for name, value in params.items()}
    expected = [learner.network(one, x) for one in (params, others)]
    with ThreadPoolExecutor(8) as threads:
        found = threads.map(lambda index: learner.network((params, others)[index % 2], x), range(40))
        assert all(torch.equal(z, expected[index % 2]) for index, z in enumerate(found))

    examples = qs.Examples(x, torch.arange(6) % 3, torch.ones(6, dtype=torch.bool))
    endings = ("query.weight", "c_attn.weight", "pwconv1.weight")
    name = next(name for name in params if name.endswith(endings))

    def loss(value: Tensor) -> Tensor:
        return learner.loss(params | {name: value}, qs.Episode(examples, examples))

    value = params[name].requires_grad_()
    (grad,) = torch.autograd.grad(loss(value), value)
    step = 1e-4 * grad / grad.norm()
    slope = (loss(value + step) - loss(value - step)) / 2
    torch.testing.assert_close(slope, (grad * step).sum(), rtol=1e-4, atol=0)


def test_what_the_embedding_does_not_use_is_left_alone(tmp_path: Path) -> None:
    """A masked language model has no pooler: that matters only to who asks for it."""
    saved("bert", tmp_path)
    whole = load_file(tmp_path / "model.safetensors")
    save_file({n: v for n, v in whole.items() if "pooler" not in n}, tmp_path / "model.safetensors", {"format": "pt"})
    made = encoder(tokens(), False, name=str(tmp_path))
    frozen = {name for name, value in made.network.named_parameters() if not value.requires_grad}  # type: ignore[union-attr]
    assert frozen == {"pooler.dense.weight", "pooler.dense.bias"}
    with pytest.raises(ConfigError, match=r"lack pooler.dense.bias, pooler.dense.weight, which would be random"):
        encoder(tokens(), False, name=str(tmp_path), pool="own")


def test_weights_come_from_the_cache_of_the_hub_before_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offline(tmp_path / "cache", monkeypatch)
    with pytest.raises(ConfigError, match=r"'some/bert' is no folder here, is not in the cache .* fetch it once"):
        encoder(tokens(), name="some/bert")
    made, x = saved("bert", tmp_path / "made"), sentences(3)
    put(tmp_path / "made", tmp_path / "cache", "some/bert")
    found = encoder(tokens(), False, name="some/bert")
    expected = mean_known(made(**x).last_hidden_state, x["attention_mask"])
    torch.testing.assert_close(found(**x), expected, rtol=1e-4, atol=1e-5)


def test_what_does_not_fit_is_refused_in_words(tmp_path: Path) -> None:
    saved("bert", tmp_path / "bert")
    saved("vit", tmp_path / "vit")
    with pytest.raises(ConfigError, match=r"cannot embed images .*input_ids.*Choose another network"):
        encoder(photos(32), name=str(tmp_path / "bert"))
    with pytest.raises(ConfigError, match=r"cannot embed inputs"):
        encoder(tokens(), name=str(tmp_path / "vit"))
    for folder in ("empty", "damaged"):
        (tmp_path / folder).mkdir()
    with pytest.raises(ConfigError, match=r"has no config.json"):
        encoder(tokens(), name=str(tmp_path / "empty"))
    (tmp_path / "damaged" / "config.json").write_text('{"model_type": "no such"}')
    with pytest.raises(ConfigError, match=r"describes no network that transformers knows"):
        encoder(tokens(), name=str(tmp_path / "damaged"))
    weights = tmp_path / "bert" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(CheckpointError, match=r"cannot load the weights in .*--model.pretrained False"):
        encoder(tokens(), name=str(tmp_path / "bert"))
    with pytest.raises(
        ConfigError, match=r"'mlp' takes one tensor, .*several: input_ids, attention_mask.*--model transf"
    ):
        train(photo_run("protonet", models.part("mlp")), source=texts(), out=tmp_path / "run", quiet=True)


def _sentences(folder: Path, inner: str, pooling: dict[str, Any], *more: str) -> nn.Module:
    """A folder as sentence-transformers writes it, with the network in the sub-folder `inner`."""
    made = saved("bert", folder / inner)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    steps = [("Transformer", inner), ("Pooling", "1_Pooling"), *((kind, f"2_{kind}") for kind in more)]
    told = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for kind, path in steps]
    (folder / "modules.json").write_text(json.dumps(told))
    return made


@pytest.mark.parametrize("inner", ["", "0_Transformer"])
def test_a_folder_of_sentence_transformers_says_how_to_pool_and_normalise(inner: str, tmp_path: Path) -> None:
    made = _sentences(tmp_path, inner, {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "Normalize")
    x = sentences(5)
    states = made(**x).last_hidden_state
    expected = states[:, 0] / states[:, 0].norm(dim=1, keepdim=True)
    torch.testing.assert_close(encoder(tokens(), False, name=str(tmp_path))(**x), expected, rtol=1e-4, atol=1e-5)
    ours = encoder(tokens(), False, name=str(tmp_path), pool="mean", normalise=False)
    torch.testing.assert_close(ours(**x), mean_known(states, x["attention_mask"]), rtol=1e-4, atol=1e-5)
    settled = models.part("transformers", name=str(tmp_path)).settled().options
    assert (settled["pool"], settled["normalise"]) == ("cls", True)


def test_steps_and_poolings_that_are_not_known_are_refused(tmp_path: Path) -> None:
    _sentences(tmp_path / "dense", "", {"pooling_mode": "mean"}, "Dense")
    with pytest.raises(ConfigError, match="made by Transformer, Pooling, Dense"):
        encoder(tokens(), name=str(tmp_path / "dense"))
    _sentences(tmp_path / "max", "", {"pooling_mode_max_tokens": True})
    with pytest.raises(ConfigError, match="pools by pooling_mode_max_tokens"):
        encoder(tokens(), name=str(tmp_path / "max"))


def test_a_tokenizer_with_more_tokens_than_the_network_knows_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    saved("bert", tmp_path)
    format = formats.make("text", length=6).learn(["where is my card"])
    with pytest.raises(ConfigError, match="knows 40 tokens, .* with 257 different ones"):
        encoder(qs.TaskSpec(format, targets.make("classes", ways=3)), name=str(tmp_path))


def test_padding_is_left_out_where_shapes_may_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved("bert", tmp_path)
    network: Any = encoder(tokens(), False, name=str(tmp_path))
    x = sentences(3)
    x["attention_mask"] = (torch.arange(LENGTH) < torch.tensor([[2], [4], [1]])).long()
    read: list[int] = []
    plain = network.network.forward

    def heard(**named: Any) -> Any:
        read.append(named["input_ids"].shape[-1])
        return plain(**named)

    monkeypatch.setattr(network.network, "forward", heard)
    short = network(**x)
    padded = {name: torch.cat([t, torch.zeros(3, 4, dtype=torch.int64)], 1) for name, t in x.items()}
    assert torch.equal(network(**padded), short) and read == [4, 4]
    lengths: list[int | None] = []
    noted = lambda mask: (lengths.append(_longest(mask)), mask)[1]  # noqa: E731
    make_fx(noted)(x["attention_mask"])
    torch.func.vmap(noted)(x["attention_mask"][None])
    noted(x["attention_mask"])
    assert lengths == [None, None, 4]
