"""A cache of the Hugging Face hub that holds one model, and no way to the hub."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


def offline(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection, and `cache` in the place of the user's."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def put(folder: Path, cache: Path, repository: str) -> None:
    """Lay the files of a folder down as the hub's client does after fetching them."""
    revision = "0" * 40
    place = cache / f"models--{repository.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(revision)
    shutil.copytree(folder, place / "snapshots" / revision)
