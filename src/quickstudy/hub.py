"""Data sets of the Hugging Face hub, by the names they have there."""

from __future__ import annotations

import logging
import re
import secrets
import shutil
from pathlib import Path
from typing import Any

from quickstudy.errors import ConfigError, DataError, MissingExtra
from quickstudy.files import cache_folder

_NAME = r"[A-Za-z0-9][\w.-]*"
_PLACE = re.compile(
    rf"hf:/+(?:datasets/)?(?P<name>{_NAME}/{_NAME})(?:@(?P<revision>{_NAME}))?(?::(?P<config>{_NAME}))?"
    rf"(?:/(?P<split>{_NAME}))?/?"
)
_log = logging.getLogger("quickstudy")


def on_hub(place: Any) -> bool:
    """Whether a place is written as 'hf://…'; a `Path` has lost one of its slashes."""
    return isinstance(place, str | Path) and str(place).startswith("hf:/")


def local(place: Any) -> Any:
    """A place as it is; for 'hf://OWNER/NAME' the folder with a copy of that data set, fetched where there is none.

    'hf://OWNER/NAME@REVISION:CONFIG/SPLIT' names, each if wanted, a commit or tag of the data set, one of its
    configurations, and one of its splits. Extra 'data'. Raises ConfigError for a name that is none and for a split that
    is not there, DataError for a data set that cannot be had.
    """
    if not on_hub(place):
        return place
    asked = _PLACE.fullmatch(str(place))
    if asked is None:
        raise ConfigError(
            f"{str(place)!r:.200} names no data set of the hub. Write hf://OWNER/NAME, with @REVISION, :CONFIG and "
            "/SPLIT after it where there are several."
        )
    name, revision, config, split = asked.group("name", "revision", "config", "split")
    parts = (name.replace("/", "--"), revision and f"@{revision}", config)
    folder = cache_folder("hub", "--".join(filter(None, parts)))
    if not folder.exists():
        _fetch(folder, name, revision, config)
    if split is None:
        return str(folder)
    if not (folder / split).is_dir():
        there = ", ".join(sorted(path.name for path in folder.iterdir() if path.is_dir()))
        raise ConfigError(f"The data set {name} has no split {split!r}, only {there}. Name one of these.")
    return str(folder / split)


def _fetch(folder: Path, name: str, revision: str | None, config: str | None) -> None:
    """Fetch a data set and save it in `folder`, which appears whole."""
    try:
        import datasets
    except ImportError as error:
        raise MissingExtra("datasets", "data", "Reading data sets of the hub") from error
    part = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}")
    try:
        datasets.load_dataset(name, config, revision=revision).save_to_disk(str(part))
        part.replace(folder)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        said = " ".join(str(error).split())
        raise DataError(
            f"The data set {name} could not be had from the hub: {said:.500}. Check its name and the network, or fetch "
            "it elsewhere, save it (save_to_disk), and give the folder."
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    _log.info("The data set %s was fetched and is kept in %s; without that folder it is fetched anew.", name, folder)
