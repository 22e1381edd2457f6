"""Weights from files, into networks that have them all."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from quickstudy.errors import CheckpointError, ConfigError
from quickstudy.files import require_regular
from quickstudy.storage.tensors import unpack


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file. ConfigError if there is none, CheckpointError for one that is damaged."""
    require_regular(path)
    if not Path(path).exists():
        raise ConfigError(f"There is no file of weights {path}. Give the path of one.")
    try:
        return unpack(Path(path).read_bytes())
    except (CheckpointError, OSError) as error:
        raise CheckpointError(
            f"{path} is truncated or not a safetensors file ({error}). Fetch it again, or convert it with "
            "safetensors.torch.save_file."
        ) from error


def load_weights(network: nn.Module, path: str | Path, unused: tuple[str, ...] = ()) -> None:
    """Fill the parameters of `network`, in place and in their own precision, with those in a file.

    unused: beginnings of names that the file may have beyond those. Raises ConfigError, naming an entry, where names or
    shapes differ.
    """
    stored, own = read_weights(path), dict(network.named_parameters())
    for name in sorted(own.keys() | stored.keys()):
        here, there = (tuple(some[name].shape) if name in some else None for some in (own, stored))
        if here != there and not (here is None and name.startswith(unused)):
            raise ConfigError(
                f"{path} holds {name!r} as {there or 'nothing'}, but in the network it is {here or 'nothing'}: these "
                "are the weights of another network. Give the right file, or leave it out."
            )
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(stored[name])
