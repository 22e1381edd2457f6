"""What is read from files lies in memory as it did before it was stored, so that models answer to the same bits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from small_runs import assert_same_bits, class_run, newest
from torch import Tensor

import quickstudy
from quickstudy.engine import place
from quickstudy.episode import Examples
from quickstudy.formats.decoding import decode as decode_image
from quickstudy.inner.learned import MLPRule
from quickstudy.memory.codec import decode, encode
from quickstudy.memory.entry import pack_examples, unpack_examples
from quickstudy.memory.nearest import Nearest
from quickstudy.optim.optimizer import load_rule, save_rule
from quickstudy.registry import learners, models
from quickstudy.runs.train import resume, train
from quickstudy.storage.tensors import load_tensors, pack, save_tensors, unpack
from quickstudy.tasks import arrays
from quickstudy.tasks.cached import read_cached
from quickstudy.training.loop import Training

ODD = {f"odd {size}": torch.arange(size, dtype=torch.uint8) for size in (1, 3, 7, 61)}
TENSORS = ODD | {f"{rows} rows": torch.randn(rows, 5) for rows in (1, 2, 3, 11)} | {"double": torch.randn(3).double()}


def assert_aligned(*tensors: Tensor) -> None:
    assert all(value.data_ptr() % 64 == 0 for value in tensors)


def test_tensors_of_files_and_bytes_are_aligned(tmp_path: Path) -> None:
    save_tensors(tmp_path / "file", TENSORS, {"kind": "odd"})
    for tensors in (load_tensors(tmp_path / "file", "odd")[0], unpack(pack(TENSORS))):
        assert_aligned(*tensors.values())
        assert all(torch.equal(tensors[name], value) for name, value in TENSORS.items())


def test_what_was_read_does_not_change_with_the_file(tmp_path: Path) -> None:
    save_tensors(tmp_path / "file", TENSORS, {})
    tensors, _ = load_tensors(tmp_path / "file")
    with (tmp_path / "file").open("r+b") as file:
        file.write(b"\0" * (tmp_path / "file").stat().st_size)
    assert all(torch.equal(tensors[name], value) for name, value in TENSORS.items())


def test_other_readers_align_too(tmp_path: Path) -> None:
    floats = {name: value for name, value in TENSORS.items() if value.dtype == torch.float32}
    for codec in ("float32", "bfloat16", "int8"):
        assert_aligned(*decode(encode(floats, {}, codec), {}, codec).values())  # type: ignore[arg-type]
    support = Examples(torch.randn(3, 5), torch.arange(3), torch.ones(3, dtype=torch.bool))
    read = unpack_examples(pack_examples(support))
    assert isinstance(read.x, Tensor)
    assert_aligned(read.x, read.y, read.mask)
    rule = MLPRule(lr=0.1, hidden=5)
    weights = rule.init_hyper({"x": torch.zeros(1)}, torch.Generator().manual_seed(0))
    save_rule(tmp_path / "rule", rule, weights)
    assert_aligned(*load_rule(tmp_path / "rule")[1].values())
    save_file({"x": torch.zeros(3, 1, 5, 5, dtype=torch.uint8)}, tmp_path / "images", {"odd": "header"})
    cached = read_cached(tmp_path / "images", lambda x: x.shape == (3, 1, 5, 5))
    assert cached is not None
    Image.new("RGB", (7, 5)).save(tmp_path / "image.png")
    pixels = [decode_image(tmp_path / "image.png", 3).pixels for _ in range(20)]  # any one may be aligned by chance
    assert_aligned(cached, *pixels)


def test_descriptors_are_aligned() -> None:
    pa = pytest.importorskip("pyarrow")
    vectors = pa.array(torch.randn(3, 5).tolist(), pa.list_(pa.float32(), 5))
    columns = {"id": ["a", "b", "c"], "signature": ["s"] * 3, "descriptor": vectors, "_rowid": [0, 1, 2]}
    nearest = Nearest.of(pa.table(columns).slice(1), 1)
    assert nearest.vectors.shape == (2, 5)
    assert_aligned(nearest.vectors)


@pytest.mark.parametrize("inner_loop", [True, False])
def test_where_tensors_lay_before_does_not_show(inner_loop: bool) -> None:
    """Parts of others, transposed ones, and axes of length 1, whose strides say nothing but choose the kernel."""
    whole, image = torch.randn(9, 4), torch.randn(6, 1, 3, 3)
    odd = {
        "part": whole[1:], "transposed": whole.T, "image": image.to(memory_format=torch.channels_last),
        "kernel": torch.randn(6, 2, 3, 3).to(memory_format=torch.channels_last), "empty": torch.empty(0, 3),
    }  # fmt: skip
    device = torch.device("cpu")
    placed = place(odd, device, inner_loop)
    read = place(unpack(pack(odd)), device, inner_loop)
    assert_aligned(*placed.values(), *read.values())
    for name, value in odd.items():
        assert torch.equal(placed[name], value) and placed[name].stride() == read[name].stride()
    assert placed["kernel"].is_contiguous(memory_format=torch.channels_last) is not inner_loop


@pytest.mark.parametrize(
    ("learner", "model"),
    [("protonet", "conv4"), ("maml", "conv4"), ("finetune", "conv4"), ("maml", "mlp"), ("protonet", "lstm")],
)
def test_a_stored_model_answers_to_the_same_bits(learner: str, model: str, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    shape = {"conv4": (1, 16, 16), "mlp": (7,), "lstm": (5, 3)}[model]
    x = torch.randn(120, *shape, generator=generator)
    config = class_run(learner, model, iterations=1, validate_every=1, validation_episodes=2, calibration_episodes=2)
    maml, finetune = {"lr": 0.1, "steps": 2, "norm": "batch"}, {"steps": 2, "tune": "all"}
    options = {"maml": maml, "finetune": finetune}.get(learner, {})
    width = {"width": 7} if model != "lstm" else {}
    config = replace(config, learner=learners.part(learner, **options), model=models.part(model, **width))
    run = train(config, out=tmp_path / "run", source=arrays(x, torch.arange(120) // 6), quiet=True)
    queries, labels = torch.randn(9, *shape, generator=generator), ["a", "b", "c"] * 3
    made = run.adapt(x[:9], labels)
    loaded = quickstudy.load(made.save(tmp_path / "model"), device="cpu")
    for before, after in ((made.params, loaded.params), (made.state, loaded.state)):
        assert_aligned(*before.values(), *after.values())
        assert all(before[name].stride() == value.stride() for name, value in after.items())
    assert torch.equal(loaded(queries), made(queries))


def test_training_of_convolutions_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    """The optimizer's moments are laid out as the weights are, which are channels-last."""
    x = torch.randn(120, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    config = class_run("protonet", "conv4", iterations=4, validate_every=4, checkpoint_every=2, calibration_episodes=2)
    config = replace(config, model=models.part("conv4", width=7))
    source = arrays(x, torch.arange(120) // 6)
    whole, stopped = (train(config, out=tmp_path / n, source=source, quiet=True) for n in ("whole", "stopped"))
    newest(stopped.folder).unlink()
    training = Training(stopped.parts, config, stopped.folder, lambda *_: None)
    training.resume()
    moments = [value for name, value in training.outer.slots().items() if name.endswith("block2.conv.weight/exp_avg")]
    assert moments and all(value.is_contiguous(memory_format=torch.channels_last) for value in moments)
    resume(stopped.folder, source=source, quiet=True)
    assert_same_bits(whole.folder, stopped.folder)
