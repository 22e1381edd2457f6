"""Adapted models within stored estimators: as the bytes of their files."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from quickstudy.deploy.model import Model
from quickstudy.deploy.store import NAME
from quickstudy.errors import ConfigError
from quickstudy.registry import OWN


def packed(model: Model) -> bytes:
    """The bytes of an adapted model's file, which holds no pickle. ConfigError for a network of one's own, which is not
    in it."""
    if model.config.model.name == OWN:
        raise ConfigError(
            "This estimator's run holds a network of your own, for which a stored estimator has no place. Register it "
            "by a name (quickstudy.registry.models) and train with that."
        )
    with TemporaryDirectory() as folder:
        return (model.save(Path(folder, "model")) / NAME).read_bytes()


def unpacked(data: bytes, device: str) -> Model:
    """The inverse of `packed`. CheckpointError for bytes that are damaged."""
    with TemporaryDirectory() as folder:
        Path(folder, NAME).write_bytes(data)
        return Model.load(folder, device=device)
