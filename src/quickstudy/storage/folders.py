"""The folders that runs and adapted models are written to: which may be used, and what may be deleted."""

from __future__ import annotations

from pathlib import Path

from quickstudy.errors import QuickstudyError, RunError
from quickstudy.storage.json import read_json

RUNS = Path("runs")
# What a run and its commands write, the config last: until it is gone, the folder is still a run.
_WRITTEN = (
    "metrics.jsonl",
    "model.safetensors",
    "splits.json",
    "plans.json",
    "report.html",
    "report.json",
    "checkpoints/step-*.safetensors",
    "tensorboard/events.out.tfevents.*",
    "adapted-model/model.safetensors",
    "config.json",
)


def refuse_occupied(folder: Path) -> None:
    """Raise RunError if `folder` holds a run or a model, so that an adapted model written there would destroy it."""
    for name in ("config.json", "model.safetensors"):
        if (folder / name).exists():
            what = "a run" if name == "config.json" else "a model"
            raise RunError(
                f"{folder} already holds {what} ({name}). Choose another folder (--out), or delete it first."
            )


def new_folder(name: str, out: str | Path | None, overwrite: bool) -> Path:
    """The folder of a new run: `out`, which must not hold a run; or runs/<name>, numbered if that is taken."""
    folder = Path(out) if out is not None else RUNS / name
    if any(path.exists() and not path.is_dir() for path in (folder, *folder.parents)):
        raise RunError(f"{folder} cannot be a folder: a file is in its way. Choose another folder with --out.")
    number = 1
    while out is None and not overwrite and (folder / "config.json").exists():
        number += 1
        folder = RUNS / f"{name}-{number}"
    if folder.exists() and any(folder.iterdir()):
        if not overwrite:
            raise RunError(
                f"The folder {folder} exists and is not empty. Choose another (--out), or, where you train, go on with "
                f"it (quickstudy train --resume {folder}) or replace it (--overwrite)."
            )
        _clear(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"Could not make the folder {folder}: {error.strerror}. Choose another with --out.") from error
    return folder


def _clear(folder: Path) -> None:
    """Delete the run in `folder`, and nothing that it has not written."""
    if not _is_run(folder):
        raise RunError(f"{folder} is not a run, so it is not overwritten. Choose another folder with --out.")
    for pattern in _WRITTEN:
        for path in folder.glob(pattern):
            path.unlink()
    for inner in {pattern.split("/")[0] for pattern in _WRITTEN if "/" in pattern}:
        if (folder / inner).is_dir() and not any((folder / inner).iterdir()):
            (folder / inner).rmdir()


def _is_run(folder: Path) -> bool:
    """Whether the folder's config.json is one of ours: other programs call theirs so too."""
    try:
        config = read_json(folder / "config.json")
    except QuickstudyError:
        return False
    return isinstance(config, dict) and {"format", "tasks", "model", "learner"} <= config.keys()
