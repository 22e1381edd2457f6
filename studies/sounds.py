"""Spoken words: what is learned from a few thousand clips, on words and speakers that were never heard."""

from __future__ import annotations

import os
import shutil
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import quickstudy as qs
from quickstudy.registry import recipes
from studies.common import interval, store

EPISODES, QUERIES, STEPS = 600, 5, 800
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SPEAKER = "(s[0-9]+)_"
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


def words(data: Path, root: Path) -> None:
    """Lithuanian words, wake words and digits to train on, six Lithuanian words to choose by, English ones to test."""
    lithuanian = [one for one in classes(data, "lithuanian_commands") if one != "stop"]  # an English word, too
    held = dict.fromkeys(lithuanian[:: len(lithuanian) // _HELD_OUT][:_HELD_OUT], root / "val")
    put(data, "lithuanian_commands", dict.fromkeys(lithuanian, root / "train") | held)
    put(
        data, "picovoice_wakewords", dict.fromkeys(classes(data, "picovoice_wakewords"), root / "train"), speakers=False
    )
    put(data, "fsdd", dict.fromkeys(classes(data, "fsdd"), root / "train"))
    english = [one for one in classes(data, "speech_commands_300") if one not in DIGITS]
    put(data, "speech_commands_300", dict.fromkeys(english, root / "test"))


def digits(data: Path, root: Path) -> None:
    """The digits 0 to 4 to train on, 5 to 9 to test on."""
    put(data, "fsdd", {str(i): root / ("train" if i < 5 else "test") for i in range(10)})


def measured(protocol: Any) -> dict[str, Any]:
    """A network from scratch, at 1 and 5 shots; no speaker is in both support and query of a task."""
    began = time.perf_counter()
    with TemporaryDirectory() as folder:
        root = Path(folder, "data")
        protocol(Path(os.environ["QUICKSTUDY_DATA"]), root)
        plain = recipes["audio"]()
        options = {"root": str(root), "rate": 8000, "group": SPEAKER, "val": 0.0, "test": 0.0}
        config = replace(
            plain, tasks=replace(plain.tasks, options=plain.tasks.options | options), queries=QUERIES,
            iterations=STEPS, seed=_SEED,
        )  # fmt: skip
        run = qs.train(config, out=Path(folder, "run"), quiet=True)
        found: dict[str, Any] = {"step": run.kept["step"], "seconds": time.perf_counter() - began}
        for shots in (1, 5):
            result = run.evaluate(shots=shots, queries=QUERIES, episodes=EPISODES, compare_supports=False)
            found[f"{shots}-shot"] = interval(result.values)
    print(protocol.__name__, found, flush=True)
    return found


def sounds() -> None:
    """Words of another language, and digits that were never heard, by speakers that the support set has not."""
    rows: dict[str, Any] = {}
    for protocol in (words, digits):
        rows[protocol.__name__] = measured(protocol)
        store("sounds", {"seed": _SEED, "episodes": EPISODES, "queries": QUERIES, "rows": rows})
