"""Which device to run on."""

from __future__ import annotations

import torch

from quickstudy.engine.distribute import local_rank, standing
from quickstudy.errors import ConfigError


def resolve_device(name: str) -> torch.device:
    """'auto' is the first of CUDA, MPS and CPU that is there; anything else is taken at its word or refused.

    Of several processes each takes the CUDA device that has its number on its machine.
    """
    if standing()[1] > 1:
        return _one_of_many(name)
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda", "mps"):
            raise RuntimeError
    except RuntimeError as error:
        raise ConfigError(f"{name!r:.60} is not a device. Use 'auto', 'cpu', 'cuda', 'cuda:1' or 'mps'.") from error
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        raise ConfigError(
            f"The device {name!r} was asked for, but PyTorch sees {torch.cuda.device_count()} CUDA devices here. "
            "Use --device auto or --device cpu, or install a CUDA build of torch on a machine with an NVIDIA GPU."
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("The device 'mps' was asked for, but there is none here. Use --device auto or --device cpu.")
    return device


def _one_of_many(name: str) -> torch.device:
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if name not in ("auto", "cuda"):
        raise ConfigError(
            f"The device {name!r} was asked for, but several processes train together: each takes the CUDA device of "
            "its own number, or all take the CPU. Use --device cuda or --device cpu, or start one process."
        )
    number, there = local_rank(), torch.cuda.device_count()
    if number >= there:
        raise ConfigError(
            f"Process {number} of this machine finds no CUDA device of its own: PyTorch sees {there}. Start as many "
            "processes as there are devices (torchrun --nproc-per-node), or use --device cpu."
        )
    return torch.device("cuda", number)
