"""The folders that runs and adapted models are written to: which may be used, and what may be deleted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from quickstudy.errors import ConfigError, QuickstudyError, RunError
from quickstudy.files import leftovers
from quickstudy.storage.held import Held, hold
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
    "adapted-model/versions/*.safetensors",
    "config.json",
)
_RESULTS = (".csv", ".json", ".html")
_LONGEST = 200  # characters of a name: file systems take 255 bytes, and a number may follow


def check_name(name: str) -> str:
    """The name of a run; ConfigError for one that cannot be the name of a folder, or that hides or misleads."""
    wrong = ""
    if not name or name != name.strip():
        wrong = "is empty, or begins or ends with a space"
    elif re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", name):
        wrong = "holds a line break or another character that cannot be seen"
    elif "/" in name or "\\" in name:
        wrong = "is a path"
    elif name[0] in ".-":
        wrong = f"begins with {name[0]!r}"
    elif len(name.encode(errors="surrogatepass")) > _LONGEST:
        wrong = f"is {len(name.encode(errors='surrogatepass'))} bytes long, and {_LONGEST} are the most"
    if wrong:
        raise ConfigError(
            f"The name of a run {wrong}: {name!r:.80}. Choose a short one, such as 'photos-2'; where the run's folder "
            "lies is said by --out."
        )
    return name


def refuse_occupied(folder: Path) -> None:
    """Raise RunError if `folder` holds a run or a model, so that an adapted model written there would destroy it."""
    for name in ("config.json", "model.safetensors"):
        if (folder / name).exists():
            what = "a run" if name == "config.json" else "a model"
            raise RunError(
                f"{folder} already holds {what} ({name}). Choose another folder (--out), or delete it first."
            )


def refuse_replacing(path: Path) -> None:
    """Raise RunError if a result written to `path` would replace something else than a result of its kind before it.

    Such are files of another kind, by what `path` should end in, and what runs and models consist of.
    """
    folder = path.parent
    held = any((folder / name).exists() for name in ("config.json", "model.safetensors"))
    if held and any(path.match(pattern) for pattern in _WRITTEN):
        raise RunError(
            f"{path} is a file of what lies in {folder}, which would be destroyed. Choose another file with --out."
        )
    if path.is_file() and path.suffix.lower() not in _RESULTS:
        raise RunError(
            f"{path} exists, and is no result that could be replaced: those are called {' or '.join(_RESULTS)}. Choose "
            "another file with --out."
        )


def refuse_mixing(folder: Path, result: str) -> None:
    """Raise RunError if results written into `folder` would lie among other files, and might replace some.

    result: the file that tells a folder of such results, which may be replaced.
    """
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder} is a file, but a folder is needed. Choose another with --out.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / result).is_file():
        raise RunError(f"{folder} holds files that are no results ({result} is missing). Choose another with --out.")


def take_folder(name: str, out: str | Path | None, overwrite: bool) -> Held:
    """Hold the folder of a new run, empty: `out`; or runs/<name>, numbered if that is taken.

    Of several processes that ask for one name at the same moment, each gets a folder of its own. What a killed start
    has left behind is removed. Raises RunError where `out` holds something else, or is held by another process.
    """
    for folder in [Path(out)] if out is not None else _numbered(check_name(name)):
        held = _held(folder)
        if held is None:
            if out is not None or overwrite:
                raise _in_use(folder)
            continue
        try:
            if _emptied(folder, overwrite):
                return held
        except BaseException:
            held.release()
            raise
        held.release()
        if out is not None:
            raise RunError(
                f"The folder {folder} exists and is not empty. Choose another (--out), or, where you train, go on with "
                f"it (quickstudy train --resume {folder}) or replace it (--overwrite)."
            )
    raise AssertionError("there is no last number")


def take_run(folder: Path) -> Held:
    """Hold the folder of a run that is there, to go on with it. RunError if another process holds it."""
    held = take(folder)
    _sweep(folder)
    return held


def take(folder: Path, wait: bool = False) -> Held:
    """Hold a folder, whatever is in it, once nobody else does if there is to be a `wait`. RunError if another process
    holds it, or if it cannot be made."""
    held = _held(folder, wait)
    if held is None:
        raise _in_use(folder)
    return held


def _in_use(folder: Path) -> RunError:
    return RunError(
        f"The folder {folder} is in use: another process writes to it. Wait for it or stop it, or choose another "
        "folder (--out)."
    )


def _numbered(name: str) -> Iterator[Path]:
    yield RUNS / name
    yield from (RUNS / f"{name}-{number}" for number in count(2))


def _held(folder: Path, wait: bool = False) -> Held | None:
    if any(path.exists() and not path.is_dir() for path in (folder, *folder.parents)):
        raise RunError(f"{folder} cannot be a folder: a file is in its way. Choose another folder with --out.")
    try:
        return hold(folder, wait)
    except OSError as error:
        raise RunError(f"Could not make the folder {folder}: {error.strerror}. Choose another with --out.") from error


def _sweep(folder: Path) -> None:
    """Remove what a process left in the folder of a run that was killed while it wrote a file."""
    for pattern in _WRITTEN:
        for path in leftovers((folder / pattern).parent, Path(pattern).name):
            path.unlink(missing_ok=True)


def _emptied(folder: Path, overwrite: bool) -> bool:
    """Remove what killed starts have left, and with `overwrite` the run that is there; whether the folder is empty."""
    _sweep(folder)
    if {path.name for path in folder.iterdir()} <= {"splits.json"}:  # which is written before the config
        (folder / "splits.json").unlink(missing_ok=True)
        return True
    if overwrite:
        _clear(folder)
    return overwrite


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


def runs() -> list[Path]:
    """The folders of the runs under runs/, sorted by name, also damaged ones; other programs' folders are left out."""
    folders = sorted(RUNS.iterdir()) if RUNS.is_dir() else []
    return [folder for folder in folders if (folder / "config.json").exists() and _is_run(folder) is not False]


def _is_run(folder: Path) -> bool | None:
    """Whether the folder's config.json is one of ours: other programs call theirs so too. None if it cannot be read."""
    try:
        config = read_json(folder / "config.json")
    except QuickstudyError:
        return None
    return isinstance(config, dict) and {"format", "tasks", "model", "learner"} <= config.keys()
