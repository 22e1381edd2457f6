"""ONNX files, run by onnxruntime as one function of PyTorch: for one task or many, and without a gradient."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from quickstudy.errors import CheckpointError, ConfigError, MissingExtra, ModelError
from quickstudy.models.encoders.onnx_file import found, onnx_checksum
from quickstudy.traced import traced

_NO_GRADIENT = (
    "What is asked needs a gradient through an encoder that is an ONNX file, and there is none. Learn on its features "
    "(protonet, r2d2, simpleshot, anil …), or give the network as a PyTorch module: qs.train(config, module=…)."
)
_AT_ONCE = 1 << 20  # numbers of inputs, about: what lies between the layers of a network takes much more
_TYPES = {"tensor(float)": torch.float32, "tensor(float16)": torch.float16}


class Session(NamedTuple):
    """A model that is ready to run. inputs: in words. input: the name of the first, of a type in floating point.

    shape: of its input, where numbers are fixed sizes; () where it has several inputs, or one of another type.
    """

    run: Any
    inputs: str
    input: str
    outputs: tuple[str, ...]
    dtype: torch.dtype
    shape: tuple[int | str | None, ...]

    @property
    def batch(self) -> int:
        """How many examples it takes at once; 0 for any number."""
        return self.fixed(0)

    def fixed(self, axis: int) -> int:
        """The size of an axis of its input; 0 where the file leaves it open."""
        size = self.shape[axis]
        return size if isinstance(size, int) and size > 0 else 0

    def at_once(self, numbers: int) -> int:
        """How many examples of so many numbers each it is given at once."""
        return self.batch or max(1, _AT_ONCE // max(1, numbers))

    def output(self, file: str, name: str) -> str:
        """The output of this name; the only one for ''. ConfigError where that leaves it open."""
        chosen = name or (self.outputs[0] if len(self.outputs) == 1 else "")
        if chosen not in self.outputs:
            raise ConfigError(
                f"{file} has the outputs {', '.join(self.outputs)}. Say which is the embedding: --model.output NAME."
            )
        return chosen


def session(file: str, checksum: str) -> Session:
    """The model in a file whose checksum this is; CheckpointError for another one."""
    return _opened(file, checksum, os.getpid())  # a process that was forked needs threads of its own


@lru_cache(16)
def _opened(file: str, checksum: str, process: int) -> Session:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtra("onnxruntime", "onnx", "The model 'onnx'") from error
    if (present := onnx_checksum(file)) != checksum:
        raise CheckpointError(
            f"{file} is not the encoder that this was trained with: its checksum is {present[:12]}…, expected "
            f"{checksum[:12]}…. Put the file from then in its place."
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # others may need the cores
    options.log_severity_level = 3  # errors
    try:
        made = onnxruntime.InferenceSession(str(found(file)), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no base class of their own
        raise CheckpointError(f"onnxruntime cannot read {file} ({str(error)[:200]}). Export it again.") from error
    inputs = made.get_inputs()
    usable = len(inputs) == 1 and inputs[0].type in _TYPES
    told = "; ".join(f"{one.name}: {one.type} {one.shape}" for one in inputs)
    names = tuple(one.name for one in made.get_outputs())
    dtype = _TYPES[inputs[0].type] if usable else torch.float32
    return Session(made, told, inputs[0].name, names, dtype, tuple(inputs[0].shape) if usable else ())


def embedded(x: Tensor, file: str, checksum: str, output: str, alone: bool = False) -> Tensor:
    """What the file makes of x (n, …) with n > 0, on the CPU: (n, features). alone: of each example by itself."""
    opened, parts = session(file, checksum), []
    x = x.detach().to("cpu", opened.dtype).contiguous()
    for part in torch.split(x, 1 if alone else opened.at_once(x[0].numel())):
        lacking = opened.batch - len(part) if opened.batch else 0
        whole = torch.cat([part, part.new_zeros((lacking, *part.shape[1:]))]) if lacking else part
        (z,) = opened.run.run([output], {opened.input: whole.numpy()})
        parts.append(torch.from_numpy(z).flatten(1)[: len(part)])
    return torch.cat(parts)


def _computed(x: Tensor, file: str, checksum: str, output: str, features: int, alone: bool) -> Tensor:
    """`embedded`, where x is; computed on the CPU."""
    z = embedded(x, file, checksum, output, alone) if len(x) else x.new_empty((0, features))
    return z.to(x.device, x.dtype, copy=True)


_encode = torch.library.custom_op("quickstudy::onnx", _computed, mutates_args=())


@_encode.register_fake
def _(x: Tensor, file: str, checksum: str, output: str, features: int, alone: bool) -> Tensor:
    return x.new_empty((x.shape[0], features))


class _Frozen(torch.autograd.Function):
    """`_encode` for one task or many; a gradient through it is refused."""

    @staticmethod
    def forward(x: Tensor, *facts: Any) -> Tensor:
        z: Tensor = _encode(x, *facts) if traced(x) else _computed(x, *facts)  # an operator imports PyTorch's compiler
        return z

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Nothing is kept: there is no way back."""

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> Any:
        raise ModelError(_NO_GRADIENT)

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Any:
        raise ModelError(_NO_GRADIENT)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], x: Tensor, *facts: Any) -> tuple[Tensor, int]:
        assert in_dims[0] is not None
        x = x.movedim(in_dims[0], 0)
        z: Tensor = _Frozen.apply(x.flatten(0, 1), *facts)  # type: ignore[no-untyped-call]
        return z.reshape(*x.shape[:2], z.shape[1]), 0


def encode(x: Tensor, file: str, checksum: str, output: str, features: int, alone: bool = False) -> Tensor:
    """`embedded` of x (n, …), (n, features), in the precision of x and where it is; a gradient is refused."""
    z: Tensor = _Frozen.apply(x, file, checksum, output, features, alone)  # type: ignore[no-untyped-call]
    return z
