"""Folders of the library sentence-transformers: a network of transformers, and how its output becomes an embedding."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple

from quickstudy.errors import ConfigError
from quickstudy.models.encoders.hub import CONFIG, folder_of, settings_in
from quickstudy.storage.json import read_json

Pool = Literal["mean", "cls", "own"]
_MODULES = "modules.json"
_POOLS: dict[str, Pool] = {"mean": "mean", "cls": "cls"}
_OLD = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}


class SentenceFolder(NamedTuple):
    """folder: of the network. pool, normalise: how its output becomes an embedding; None where nothing says."""

    folder: Path
    pool: Pool | None = None
    normalise: bool | None = None


def sentence_folder(name: str, weights: bool) -> SentenceFolder:
    """The folder of the network of transformers that is called `name`, see `folder_of`, and what `modules.json` says.

    Raises ConfigError for steps after the network that are not built here.
    """
    if not Path(name).is_dir():
        return _said(folder_of(name, "transformers", weights))
    said = _said(Path(name))
    return said._replace(folder=folder_of(str(said.folder), "transformers", weights))


def _said(folder: Path) -> SentenceFolder:
    if not (folder / _MODULES).is_file():
        return SentenceFolder(folder)
    steps = read_json(folder / _MODULES, list[dict[str, Any]], "Fetch or save the model again.")
    kinds = [str(step.get("type", "")).rpartition(".")[2] for step in steps]
    if kinds not in (["Transformer"], ["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise ConfigError(
            f"{folder / _MODULES} says that an embedding is made by {', '.join(kinds)}; only a Transformer, Pooling "
            "and Normalize are known here. Choose another model, or give it as a module of your own: "
            "qs.train(config, module=…)."
        )
    places = [folder / str(step.get("path", "")) for step in steps]
    return SentenceFolder(places[0], _pool(places[1]) if len(places) > 1 else None, "Normalize" in kinds)


def _pool(folder: Path) -> Pool:
    said = settings_in(folder)
    chosen = said.get("pooling_mode") or [
        _OLD.get(name, name) for name, value in said.items() if name.startswith("pooling_mode_") and value is True
    ]
    chosen = [chosen] if isinstance(chosen, str) else chosen
    if len(chosen) != 1 or chosen[0] not in _POOLS:
        raise ConfigError(
            f"{folder / CONFIG} pools by {', '.join(map(str, chosen)) or 'nothing that it names'}; known here are the "
            "mean over tokens and the first token. Choose another model, or say how: --model.pool mean."
        )
    return _POOLS[chosen[0]]
