"""Runs that are given on: in a folder, or on the Hugging Face hub; safetensors and JSON, nothing pickled."""

from __future__ import annotations

import json
import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from quickstudy.errors import CheckpointError, ConfigError, DataError, MissingExtra, RunError
from quickstudy.hints import misfit
from quickstudy.registry import OWN
from quickstudy.runs.card import NAME as CARD
from quickstudy.runs.card import PAGE, Card, read_card, write_card
from quickstudy.runs.trained import Trained
from quickstudy.storage.atomic import write_atomically
from quickstudy.storage.folders import refuse_occupied, take
from quickstudy.storage.json import read_json, write_json
from quickstudy.storage.tensors import load_tensors, save_tensors
from quickstudy.training.config import RunConfig

CONFIG, TENSORS = "config.json", "model.safetensors"
CARRIED = ("splits.json", "trust.json")
"""What else of a run goes with it, where it is there: its classes, and how far its answers can be trusted."""
GIVEN = (CONFIG, TENSORS, *CARRIED, CARD, PAGE)
"""All files that are given on, and that are fetched."""


def save(run: Trained, folder: Path, about: dict[str, Any]) -> Path:
    """Write what `Run` needs of a run, with its card, into a folder that holds no run or model yet. about: see
    `Run.save_pretrained`."""
    if run.config.model.name == OWN:
        raise ConfigError(
            "The run's network is a module of your own, which its folder does not hold, so that nobody else could use "
            "it. Register the network (quickstudy.registry.models.register) and train it by its name."
        )
    card = card_of(run, about)
    tensors, meta = load_tensors(run.folder / TENSORS, "run")
    with take(folder):
        refuse_occupied(folder)
        save_tensors(folder / TENSORS, tensors, meta)
        for name in CARRIED:
            if (run.folder / name).exists():
                write_atomically(folder / name, (run.folder / name).read_bytes())
        write_card(folder, card)
        write_json(folder / CONFIG, _without_places(run).to_json())
    return folder


def _without_places(run: Trained) -> RunConfig:
    """The run's config, in which folders and files of this machine are called by their last names, for any device."""
    config = run.config
    tasks, network = (replace(part, options=_bare(part.options)) for part in (config.tasks, config.model))
    start, teacher = _bare(config.start), _bare(config.teacher)
    return replace(config, device="auto", tasks=tasks, model=network, start=start, teacher=teacher)


def _bare(value: Any) -> Any:
    """A value of settings, in which absolute paths are their last names; also within texts that are JSON."""
    if isinstance(value, dict):
        return {name: _bare(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_bare, value))
    if isinstance(value, str) and value.startswith("{"):
        try:
            return json.dumps(_bare(json.loads(value)))
        except ValueError:
            return value
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def card_of(run: Trained, about: dict[str, Any]) -> Card:
    """The card of a run: the one in its folder, or what is known of it; with what `about` says."""
    known = {"summary", "licence", "data", "limits", "figures", "name"}
    if strange := sorted(about.keys() - known):
        raise ConfigError(f"A card says nothing of {strange[0]!r}. Give of {', '.join(sorted(known))} what you know.")
    kept, config = run.kept, run.config
    card = read_card(run.folder) or Card(
        version=1,
        name=config.name,
        summary=f"{config.learner.name} on {config.tasks.name}, for tasks of {run.spec}.",
        licence="",
        takes=str(run.spec.format),
        answers=str(run.spec.target),
        parameters=sum(value.numel() for value in load_tensors(run.folder / TENSORS, "run")[0].values()),
        data=[],
        training={
            "recipe": config.name,
            "commit": kept.get("commit", ""),
            "machine": kept.get("machine", "an unknown machine"),
            "step": kept["step"],
            "seconds": run.seconds,
        },
        figures=[]
        if kept["validation"] != kept["validation"]  # of a run that was never validated
        else [
            {
                "what": f"validation tasks of {config.ways} ways and {config.shots} shots",
                "metric": run.spec.target.metric.name,
                "mean": kept["validation"],
                "ci95": kept["validation_ci95"],
                "count": config.validation_episodes,
                "percent": run.spec.target.metric.percent,
            }
        ],
        limits=[],
    )
    told: Card = card | about  # type: ignore[assignment]
    if wrong := misfit(told, Card, "the card"):
        raise ConfigError(f"{wrong}. Give it so: help(quickstudy.Run.save_pretrained).")
    return told


def push(run: Trained, name: str, about: dict[str, Any], private: bool, token: str | None) -> str:
    """Put a run on the hub as OWNER/NAME; its address there."""
    _require_name(name)
    hub = _hub("Giving a run to")
    with tempfile.TemporaryDirectory() as place:
        folder = save(run, Path(place) / "run", about)
        try:
            api = hub.HfApi(token=token)
            api.create_repo(name, private=private, exist_ok=True)
            done = api.upload_folder(
                repo_id=name, folder_path=folder, allow_patterns=list(GIVEN), commit_message=f"quickstudy: {name}"
            )
        except Exception as error:  # whatever huggingface_hub, and what it reaches the hub by, raise
            raise RunError(
                f"The run could not be put on the hub as {name}: {_first(error)}. Check the name, the network, and "
                "that you are logged in (hf auth login) or gave a token that may write."
            ) from error
    return str(done.commit_url)


def fetched(name: str, revision: str | None = None, token: str | None = None) -> Path:
    """The folder with the run that OWNER/NAME of the hub holds, or a folder as it is.

    It is fetched where there is a connection, and else as it was when there last was one. Raises RunError where it
    cannot be had, and where what is there is no run of quickstudy.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        if folder.is_absolute() or name.startswith((".", "~")):
            raise RunError(f"There is no folder {name}. Give the folder of a run, or OWNER/NAME of the hub.")
        _require_name(name)
        folder = _snapshot(name, revision, token)
    elif revision is not None:
        raise ConfigError(f"{name} is a folder here, which has no revisions. Leave revision out.")
    for file in (CONFIG, TENSORS):
        if not (folder / file).is_file():
            raise RunError(
                f"{name} is no run of quickstudy: it has no {file}. Give one that save_pretrained or push_to_hub has "
                "written; encoders of other libraries are models of a run: --model timm, --model transformers."
            )
    _require_ours(name, folder)
    return folder


def _require_ours(name: str, folder: Path) -> None:
    """RunError for files that are called as ours, but are of another library, or damaged."""
    try:
        RunConfig.from_json(read_json(folder / CONFIG))
        load_tensors(folder / TENSORS, "run")
    except (CheckpointError, ConfigError, DataError) as error:
        raise RunError(f"{name} is no run that this quickstudy can read: {error} Nothing of it was used.") from error


def _snapshot(name: str, revision: str | None, token: str | None) -> Path:
    hub = _hub("Fetching a run from")
    try:
        return Path(hub.snapshot_download(name, revision=revision, token=token, allow_patterns=list(GIVEN)))
    except Exception as error:  # whatever huggingface_hub, and what it reaches the hub by, raise
        raise RunError(
            f"{name} is no folder here, and could not be had from the hub: {_first(error)}. Check the name and the "
            "network, or fetch it where there is a connection, and give the folder."
        ) from error


def _hub(purpose: str) -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise MissingExtra("huggingface_hub", "hub", f"{purpose} the Hugging Face hub") from error
    return huggingface_hub


def _require_name(name: str) -> None:
    if re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", name) is None:
        raise ConfigError(f"{name!r:.100} names no run of the hub, and no folder here. Write OWNER/NAME.")


def _first(error: Exception) -> str:
    return " ".join(str(error).split())[:300].rstrip(".")
