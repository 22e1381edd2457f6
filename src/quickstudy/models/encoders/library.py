"""Networks that other libraries build, as encoders: started from their weights, or drawn as the library draws them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from quickstudy.errors import ConfigError
from quickstudy.formats.base import Format
from quickstudy.formats.passing import arguments
from quickstudy.models.given import keep_weights


class Library(nn.Module):
    """A network of another library, called in eval mode, where nothing of it is random.

    made: it, with weights. make: another one, drawn anew from PyTorch's generator; None where the weights were loaded,
    which are then kept where φ is drawn.
    """

    features: int

    def __init__(self, made: nn.Module, make: Callable[[], nn.Module] | None) -> None:
        super().__init__()
        self.network, self.make = made.float().eval(), make
        keep_weights(self if make is None else self.network)
        for layer in self.network.modules():
            if isinstance(layer, _DropoutNd):
                layer.p = 0.0

    def reset_parameters(self) -> None:
        """Draw the network, as its library does."""
        if self.make is None:
            return
        drawn = dict(self.make().named_parameters())
        with torch.no_grad():
            for name, value in self.network.named_parameters():
                value.copy_(drawn[name])

    def tried(self, format: Format, name: str) -> list[str]:
        """Call it once, to find `features`, and freeze the parameters that do not matter, whose names are returned.

        name: of the network, for messages. ConfigError where it cannot take inputs of this format, or gives no
        embedding.
        """
        given, named = arguments(self, format.nothing(1))
        parameters = dict(self.network.named_parameters())
        try:
            with torch.enable_grad():
                z: Any = self(*given, **named)
                grads = torch.autograd.grad(z.sum(), list(parameters.values()), allow_unused=True)
        except (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError) as error:
            said = " ".join(str(error).split())[:200]
            raise ConfigError(
                f"{name} cannot embed {format} ({type(error).__name__}: {said}). Choose another network, another "
                "--model.resolution, or give the network as a module of your own: qs.train(config, module=…)."
            ) from error
        if not isinstance(z, Tensor) or z.dim() != 2:
            raise ConfigError(f"{name} gives {tuple(z.shape)} for one input, and no embedding (1, D). Choose another.")
        self.features = z.shape[1]
        unused = [name for name, grad in zip(parameters, grads, strict=True) if grad is None]
        for one in unused:
            parameters[one].requires_grad_(False)
        return unused
