"""Keras 3 models on its PyTorch backend, as modules whose parameters are their own."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from quickstudy.errors import ConfigError, MissingExtra, ModelError
from quickstudy.models.given import keep_weights
from quickstudy.models.head import with_head
from quickstudy.registry import models
from quickstudy.spec import TaskSpec

_log = logging.getLogger("quickstudy")
_BACKEND = (
    "Set the environment variable KERAS_BACKEND=torch before Keras is imported, and load the model again: .keras files "
    "are the same for all backends."
)


class _Shared:
    """The Keras model behind a module and all its copies, which only describes what is computed."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def __deepcopy__(self, memo: Any) -> _Shared:
        return self

    def __reduce__(self) -> Any:
        return _loaded, (self.model.to_json(),)


def _loaded(text: str) -> _Shared:
    import keras

    return _Shared(keras.models.model_from_json(text))


class KerasModule(nn.Module):
    """A Keras model as a function of its variables, by its own `stateless_call`: inputs (n, …) to (n, …).

    Parameters are its trainable variables, and buffers all others, called by number and layer ('0_dense.kernel').
    Images (n, C, H, W) are turned to (n, H, W, C) where the model takes them so. A model that ends in probabilities is
    taken as it is, with a warning: losses here take logits. Raises ModelError for models that are
    not built yet, and ConfigError for those of another backend.

    >>> KerasModule(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]))  # doctest: +SKIP
    """

    foreign = True  # what it draws and changes is not known beforehand

    def __init__(self, model: Any) -> None:
        super().__init__()
        _require_torch(type(model))
        if not model.built:
            raise ModelError(
                "The Keras model has no variables yet. Begin it with keras.Input(shape), or call it once on an input."
            )
        _say_probabilities(model)
        self._shared = _Shared(model)
        owners = list(dict.fromkeys(v.path.rpartition("/")[0] for v in model.variables))
        places = {owner: f"{i}_{_plain(owner)}" for i, owner in enumerate(owners)}
        self._trained = [self._add(v, places, True) for v in model.trainable_variables]
        self._others = [self._add(v, places, False) for v in model.non_trainable_variables]

    def _add(self, variable: Any, places: dict[str, str], trained: bool) -> str:
        """Register what a variable holds; its name."""
        owner, _, own = variable.path.rpartition("/")
        place, own, value = places[owner], own.replace(".", "_"), torch.as_tensor(variable.value).detach().cpu().clone()
        if place not in self._modules:
            self.add_module(place, nn.Module())
        if trained:
            self.get_submodule(place).register_parameter(own, nn.Parameter(value))
        else:
            self.get_submodule(place).register_buffer(own, value)
        return f"{place}.{own}"

    def forward(self, *inputs: Tensor, **named: Tensor) -> Any:
        model = self._shared.model
        x: Any = self._turned(inputs[0]) if inputs else named
        trained, others = ([self._value(name) for name in names] for names in (self._trained, self._others))
        output, after = model.stateless_call(trained, others, x, training=self.training)
        for name, value in zip(self._others, after, strict=True) if self.training else ():
            place, _, own = name.rpartition(".")
            setattr(self.get_submodule(place), own, value.detach())
        return output

    def _value(self, name: str) -> Tensor:
        """What stands for a variable in this call: not always a parameter."""
        place, _, own = name.rpartition(".")
        value: Tensor = getattr(self.get_submodule(place), own)
        return value

    def _turned(self, x: Tensor) -> Tensor:
        shape = getattr(self._shared.model, "input_shape", None)
        if not isinstance(shape, tuple) or len(shape) != 4 or x.dim() != 4:
            return x
        turned = x.permute(0, 2, 3, 1)
        return x if _fits(x, shape) or not _fits(turned, shape) else turned

    @property
    def output_shape(self) -> tuple[int | None, ...]:
        """What it gives, with None for the number of inputs."""
        return tuple(self._shared.model.output_shape)

    def to_keras(self) -> Any:
        """A Keras model with the weights that this module holds."""
        import keras

        model = keras.models.clone_model(self._shared.model)
        variables = (*model.trainable_variables, *model.non_trainable_variables)
        values = [self._value(name) for name in (*self._trained, *self._others)]
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value.detach())
        return model


def _say_probabilities(model: Any) -> None:
    last = [model, *getattr(model, "layers", ())][-1]
    ending = getattr(getattr(last, "activation", None), "__name__", "") or ""
    ending = "softmax" if type(last).__name__ == "Softmax" else ending
    if ending in ("softmax", "sigmoid"):
        _log.warning(
            "The Keras model ends in %s, and losses here take what is before it: with probabilities, learning is slow "
            "and answers are too unsure. Build its last layer with activation=None, or set "
            "model.layers[-1].activation = keras.activations.linear, which keeps the weights.",
            ending,
        )


def _plain(owner: str) -> str:
    """The name of a layer without the number that Keras gives it, which depends on what was built before."""
    return re.sub(r"_\d+$", "", owner.rpartition("/")[2]).replace(".", "_")


def _fits(x: Tensor, shape: tuple[int | None, ...]) -> bool:
    return all(wanted in (None, size) for size, wanted in zip(x.shape[1:], shape[1:], strict=True))


def is_keras(module: Any) -> bool:
    """Whether something is a layer or model of Keras, of any backend; Keras is not imported for it."""
    return any(kind.__module__.startswith("keras.src.layers.layer") for kind in type(module).__mro__)


def _require_torch(kind: type) -> None:
    import keras

    if keras.config.backend() != "torch":
        raise ConfigError(f"The {kind.__name__} is a Keras model on the backend {keras.config.backend()!r}. {_BACKEND}")


def _model(file: str, architecture: str) -> Any:
    try:
        import keras
    except ImportError as error:
        if error.name != "keras":
            lacking = (error.name or str(error)).partition(".")[0]
            raise ConfigError(f"Keras cannot be imported: its backend needs {lacking!r}. {_BACKEND}") from error
        raise MissingExtra("keras", "keras", "The model 'keras'") from error
    if keras.config.backend() != "torch":
        raise ConfigError(f"Keras runs on the backend {keras.config.backend()!r} here. {_BACKEND}")
    if file and not Path(file).is_file():
        raise ConfigError(f"There is no file {file}. Give a model that was saved by model.save('NAME.keras').")
    try:
        return keras.saving.load_model(file, compile=False) if file else keras.models.model_from_json(architecture)
    except (ValueError, TypeError, OSError, KeyError) as error:
        raise ConfigError(
            f"Keras cannot read {file or 'the architecture in the settings'} ({str(error)[:200]}). Save it anew by "
            "model.save('NAME.keras'), of layers that Keras knows."
        ) from error


def _settled(**options: Any) -> dict[str, Any]:
    return options | {"architecture": options["architecture"] or _model(options["file"], "").to_json()}


@models.register("keras", several=True, drawn={"file": ""}, settle=_settled)
def keras_file(spec: TaskSpec, head: bool = True, *, file: str, architecture: str = "") -> nn.Module:
    """A Keras 3 model from a .keras file, on its PyTorch backend; it starts from the weights in the file.

    With `head` a linear layer, drawn anew, gives `spec.outputs` numbers. The weights and the architecture become part
    of a run: the file is not needed again. Needs the extra 'keras', and the environment variable KERAS_BACKEND=torch.

    file: its path.
    architecture: what the file says of the layers, as JSON; filled in where a run begins.
    """
    encoder = KerasModule(_model(file, architecture))
    if file:
        keep_weights(encoder)
    if not head:
        return encoder
    shape = encoder.output_shape
    if len(shape) != 2 or shape[1] is None:
        raise ConfigError(f"The Keras model gives {shape}, and features (n, size) are needed. End it so.")
    return with_head(encoder, shape[1], spec)
