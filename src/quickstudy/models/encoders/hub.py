"""Folders of models: the user's own, or the Hugging Face hub's, of which the cache is looked at first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from quickstudy.errors import ConfigError, MissingExtra
from quickstudy.storage.json import parsed, read_json

CONFIG = "config.json"
_SAFE = ("model.safetensors", "model.safetensors.index.json", "open_clip_model.safetensors")
_PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")  # read without unpickling anything but tensors
_SETTINGS = (CONFIG, "preprocessor_config.json", "modules.json", "*_Pooling/config.json")


def folder_of(name: str, model: str, weights: bool) -> Path:
    """The folder of a model that is called `name`: a local one, the hub's in its cache, or fetched from the hub.

    model: that asks for it, for messages. weights: whether weights must be in it, beside its config. ConfigError where
    there is no such folder, and no way to fetch it.
    """
    if (folder := Path(name)).is_dir():
        if _complete(folder, weights):
            return folder
        raise ConfigError(
            f"The folder {folder} has no {CONFIG}{' beside weights (model.safetensors)' if weights else ''}, so it "
            "holds no model. Give a folder that save_pretrained, or timm's save_for_hf, has written"
            f"{', or leave the weights out: --model.pretrained False' if weights else ''}."
        )
    if folder.is_absolute() or name.startswith((".", "~")) or not name or name.count("/") > 1:
        raise ConfigError(f"There is no folder {name}. Give the folder of a model, or its name on the hub.")
    return _fetched(name, model, weights)


def settled_place(place: Any) -> Any:
    """A folder or file that is there by its whole path, never to be looked for on the hub; all else as it is."""
    return str(Path(place).resolve()) if isinstance(place, str) and place and Path(place).exists() else place


def weights_in(folder: Path) -> Path:
    """The file in a folder that holds the weights."""
    return next(folder / name for name in (*_SAFE, *_PICKLED) if (folder / name).is_file())


def settings_in(folder: Path, file: str = CONFIG) -> dict[str, Any]:
    """What a JSON file in the folder says, {} where it has none; CheckpointError for one that is damaged."""
    if not (folder / file).is_file():
        return {}
    said: dict[str, Any] = read_json(folder / file, dict[str, Any], "Fetch or save the model again.")
    return said


def architecture_in(text: str) -> dict[str, Any]:
    """What the option 'architecture' of a model says; CheckpointError where it is damaged."""
    said: dict[str, Any] = parsed(text, "The model's option 'architecture'", dict[str, Any])
    return said


def _complete(folder: Path, weights: bool) -> bool:
    there = (folder / CONFIG).is_file()
    return there and (not weights or any((folder / name).is_file() for name in (*_SAFE, *_PICKLED)))


def _fetched(name: str, model: str, weights: bool) -> Path:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError as error:
        raise MissingExtra("huggingface_hub", model, f"The model {model!r}, by a name on the hub,") from error

    def snapshot(patterns: tuple[str, ...], local: bool) -> Path:
        return Path(snapshot_download(name, allow_patterns=list(patterns), local_files_only=local))

    safe = (*_SETTINGS, "model*.safetensors", *_SAFE) if weights else _SETTINGS
    tries: list[Callable[[], Path]] = [lambda: snapshot(safe, True), lambda: snapshot(safe, False)]
    if weights:
        tries.append(lambda: snapshot((*_SETTINGS, "pytorch_model*.bin", *_PICKLED), False))
    reason = ""
    for attempt in tries:
        try:
            if _complete(folder := attempt(), weights):
                return folder
            reason = f"there it has no {CONFIG}{' with weights' if weights else ''}"
        except (OSError, ValueError, HfHubHTTPError) as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    raise ConfigError(
        f"The model {name!r} is no folder here, is not in the cache of the Hugging Face hub, and cannot be fetched "
        f"from there ({reason}). Give the folder of a model, or fetch it once where there is a connection"
        f"{', or leave the weights out: --model.pretrained False' if weights else ''}."
    )
