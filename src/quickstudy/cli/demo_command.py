"""`quickstudy demo`: the main job from start to end, on Omniglot or, without it, on procedural characters."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

import quickstudy as qs
from quickstudy.cli.parse import parse
from quickstudy.episode import map_features
from quickstudy.report import AdaptedTask
from quickstudy.runs.run import Run
from quickstudy.tasks.classes import ClassSource
from quickstudy.tasks.download import DownloadError
from quickstudy.tasks.omniglot_data import find
from quickstudy.terminal import tell
from quickstudy.training.progress import duration

_DRAWINGS = 20  # of every character, as many as Omniglot has


@dataclass
class Demo:
    """Train on many alphabets, evaluate on alphabets never seen, learn a new one from one drawing of each character."""

    out: Path | None = None
    """Folder of the run; runs/demo (or the next free number) if not given."""
    iterations: int | None = None
    """Training steps, to make it shorter or longer."""
    episodes: int = 600
    """Unseen tasks that the figures are measured on."""
    glyphs: bool = False
    """Use procedural characters even where Omniglot is at hand."""


def run(argv: Sequence[str]) -> int:
    options = parse(Demo, "demo", argv)
    began = time.perf_counter()
    config = qs.recipes.demo_glyphs() if options.glyphs or not _omniglot() else qs.recipes.demo()
    config = config if options.iterations is None else replace(config, iterations=options.iterations)
    tell(f"1. Learning to learn characters: {config.iterations} training tasks of {config.train_ways} characters each.")
    trained = qs.train(config, out=options.out)
    tell(f"   Done in {duration(trained.seconds)}.")
    tell(f"2. Evaluating on {options.episodes} tasks from alphabets never seen: 5 new characters, one drawing of each.")
    result = trained.evaluate(episodes=options.episodes, compare_supports=False, quiet=False)
    before = trained.evaluate(
        episodes=options.episodes, params=trained.untrained(), compare_supports=False, quiet=False
    )
    tell(f"   trained network    {result}")
    tell(f"   untrained network  {before}")
    tell(f"   guessing           {100 / config.ways:.1f} %")
    tell("3. Learning a whole new alphabet from one drawing of each character, then reading the other drawings.")
    task = _new_alphabet(trained)
    tell(
        f"   {len(task.model.names)} characters learned in {task.milliseconds:.0f} ms; {100 * task.value:.1f} % of "
        f"{len(task.labels)} other drawings named correctly (guessing: {100 * task.baseline:.1f} %)."
    )
    model = task.model.save(trained.folder / "adapted-model")
    tell("4. Writing the report.")
    page = qs.report(trained, episodes=options.episodes, adapted=task, quiet=False)
    tell(f"   Report:  {page.resolve()}")
    tell(f"   Model:   {model}   (quickstudy predict {model} IMAGES …)")
    tell(f"Finished in {duration(time.perf_counter() - began)}.")
    tell("Next, drawings of your own, in a folder with a sub-folder for each class:")
    tell("   quickstudy adapt handwriting --support FOLDER --out my-model")
    return 0


def _omniglot() -> bool:
    """Whether Omniglot is here or can be fetched; one line says so if not."""
    try:
        for archive in ("images_background", "images_evaluation"):
            find(archive)
    except DownloadError:
        tell("Omniglot is not on this machine and cannot be downloaded: using procedural characters instead.")
        return False
    return True


def _new_alphabet(trained: Run) -> AdaptedTask:
    """The first test alphabet, whole: one drawing of each character to learn from, all others to read."""
    source = trained.parts.source
    assert isinstance(source, ClassSource)
    characters = source.splits["test"].to(source.device)
    alphabets = source.pool.groups[characters]
    characters = characters[alphabets == alphabets[0]]
    alphabet, names = _split_names([source.pool.name(int(c)) for c in characters])
    drawings = torch.arange(_DRAWINGS, device=source.device).expand(len(characters), -1)
    x = source.pool.fetch(characters[:, None].expand_as(drawings), drawings)
    support = map_features(lambda t: t[:, 0], x)
    query = map_features(lambda t: t[:, 1:].flatten(0, 1), x)
    began = time.perf_counter()
    model = trained.adapt(support, names)
    milliseconds = 1000 * (time.perf_counter() - began)
    return AdaptedTask(
        model=model,
        support=support,
        support_labels=names,
        query=query,
        labels=[name for name in names for _ in range(_DRAWINGS - 1)],
        answer=model.predict(query),
        milliseconds=milliseconds,
        title=f"A new alphabet, learned just now: {alphabet}",
    )


def _split_names(names: Sequence[str]) -> tuple[str, list[str]]:
    """('Greek', ['character01', …]) from ['Greek/character01', …]."""
    alphabet = names[0].rpartition("/")[0] or "new characters"
    return alphabet.replace("_", " "), [name.rpartition("/")[2] for name in names]
