"""Encoders that are given as ONNX files: they are run, and nothing of them is learned."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from quickstudy.errors import CheckpointError, ConfigError, MissingExtra, ModelError
from quickstudy.models.encoders.onnx_file import found, onnx_checksum
from quickstudy.models.encoders.pixels import IMAGENET_MEAN, IMAGENET_STD, Pixels, Side, Triple, pixels
from quickstudy.models.head import with_head
from quickstudy.registry import models
from quickstudy.spec import TaskSpec

_RESOLUTION = 224  # where the file leaves it open
_NO_GRADIENT = (
    "What is asked needs a gradient through an encoder that is an ONNX file, and there is none. Learn on its features "
    "(protonet, r2d2, simpleshot, anil …), or give the network as a PyTorch module: qs.train(config, module=…)."
)
_TYPES = {"tensor(float)": torch.float32, "tensor(float16)": torch.float16}


class _Session(NamedTuple):
    """A model that is ready to run. batch: how many images it takes at once, 0 for any number. last: whether channels
    are the last axis of an image."""

    run: Any
    input: str
    outputs: tuple[str, ...]
    dtype: torch.dtype
    batch: int
    side: int
    last: bool


def _session(file: str, checksum: str) -> _Session:
    """The model in a file whose checksum this is; CheckpointError for another one."""
    return _opened(file, checksum, os.getpid())  # a process that was forked needs threads of its own


@lru_cache(16)
def _opened(file: str, checksum: str, process: int) -> _Session:
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
        session = onnxruntime.InferenceSession(str(found(file)), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no base class of their own
        raise CheckpointError(f"onnxruntime cannot read {file} ({str(error)[:200]}). Export it again.") from error
    inputs = session.get_inputs()
    shape = inputs[0].shape if len(inputs) == 1 else []
    if len(shape) != 4 or 3 not in (shape[1], shape[3]) or inputs[0].type not in _TYPES:
        told = "; ".join(f"{one.name}: {one.type} {one.shape}" for one in inputs)
        raise ConfigError(
            f"{file} is no encoder of images: it must have one input (n, 3, height, width) or (n, height, width, 3) of "
            f"floating-point numbers, found {told}. Export it so."
        )
    last = shape[1] != 3
    height, width = shape[1:3] if last else shape[2:]
    if height != width and isinstance(height, int) and isinstance(width, int):
        raise ConfigError(
            f"{file} takes images of {height} x {width} pixels, and images here are square. Export it so."
        )
    batch, side = (size if isinstance(size, int) and size > 0 else 0 for size in (shape[0], height))
    names = tuple(one.name for one in session.get_outputs())
    return _Session(session, inputs[0].name, names, _TYPES[inputs[0].type], batch, side, last)


def _embedded(x: Tensor, file: str, checksum: str, output: str) -> Tensor:
    """(n, features) for images x (n, 3, H, W) with n > 0, on the CPU."""
    session, parts = _session(file, checksum), []
    images = x.detach().to("cpu", session.dtype)
    images = (images.permute(0, 2, 3, 1) if session.last else images).contiguous()
    for part in torch.split(images, session.batch or len(images)):
        lacking = session.batch - len(part) if session.batch else 0
        whole = torch.cat([part, part.new_zeros((lacking, *part.shape[1:]))]) if lacking else part
        (z,) = session.run.run([output], {session.input: whole.numpy()})
        parts.append(torch.from_numpy(z).flatten(1)[: len(part)])
    return torch.cat(parts)


@torch.library.custom_op("quickstudy::onnx", mutates_args=())
def _encode(x: Tensor, file: str, checksum: str, output: str, features: int) -> Tensor:
    """Embeddings (n, features) of images x (n, 3, H, W), where x is; computed on the CPU."""
    z = _embedded(x, file, checksum, output) if len(x) else x.new_empty((0, features))
    return z.to(x.device, x.dtype, copy=True)


@_encode.register_fake
def _(x: Tensor, file: str, checksum: str, output: str, features: int) -> Tensor:
    return x.new_empty((x.shape[0], features))


class _Frozen(torch.autograd.Function):
    """`_encode` for one task or many; a gradient through it is refused."""

    @staticmethod
    def forward(x: Tensor, *facts: Any) -> Tensor:
        z: Tensor = _encode(x, *facts)
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


class OnnxEncoder(nn.Module):
    """The network of an ONNX file, frozen: images (n, C, H, W) to (n, features), by onnxruntime on the CPU.

    It has no parameters, and no gradient goes through it. Copies and pickles name the file, by its checksum, and open
    it where they are used; any number of threads may call it.
    """

    def __init__(self, pixels: Pixels, file: str, checksum: str, output: str) -> None:
        super().__init__()
        self.pixels, self.file, self.checksum, self.output = pixels, file, checksum, output
        nothing = torch.zeros(1, 3, pixels.resolution, pixels.resolution)
        try:
            self.features = _embedded(nothing, file, checksum, output).shape[1]
        except Exception as error:  # onnxruntime's errors have no base class of their own
            raise ConfigError(
                f"{file} cannot encode images of {pixels.resolution} x {pixels.resolution} pixels "
                f"({str(error)[:200]}). Choose another resolution (--model.resolution)."
            ) from error

    def forward(self, x: Tensor) -> Tensor:
        facts = (self.file, self.checksum, self.output, self.features)
        z: Tensor = _Frozen.apply(self.pixels(x), *facts)  # type: ignore[no-untyped-call]
        return z


def _settled(**options: Any) -> dict[str, Any]:
    return options | {"checksum": options["checksum"] or onnx_checksum(options["file"])}


@models.register("onnx", axes=3, settle=_settled)
def onnx(
    spec: TaskSpec,
    head: bool = True,
    *,
    file: str,
    resolution: Side | None = None,
    mean: Triple = IMAGENET_MEAN,
    std: Triple = IMAGENET_STD,
    white: float | None = None,
    output: str = "",
    checksum: str = "",
) -> nn.Module:
    """An encoder of images from an ONNX file, run as it is by onnxruntime: nothing of it is learned.

    With `head` a linear layer gives `spec.outputs` numbers, and is all that is learned. Weights stay in the file, which
    a run names but does not hold. Needs the extra 'onnx'.

    file: its path.
    resolution: the side that images are brought to, in pixels; if not given what the file says, or 224.
    mean, std: of red, green and blue, where white is 1; images are given less the mean, in units of the deviation.
    white: what white is in images whose format does not say: 1 or 255.
    output: the name of the output to take, where the file has several; its numbers are flattened.
    checksum: of the file, which is refused if it is another; filled in where a run begins.
    """
    checksum = checksum or onnx_checksum(file)
    session = _session(file, checksum)
    if session.side and resolution not in (None, session.side):
        raise ConfigError(
            f"{file} takes images of {session.side} x {session.side} pixels, and no others: leave resolution="
            f"{resolution} out."
        )
    chosen = output or (session.outputs[0] if len(session.outputs) == 1 else "")
    if chosen not in session.outputs:
        raise ConfigError(
            f"{file} has the outputs {', '.join(session.outputs)}. Say which is the embedding: --model.output NAME."
        )
    seen = pixels(spec, "onnx", resolution or session.side or _RESOLUTION, mean, std, white)
    encoder = OnnxEncoder(seen, file, checksum, chosen)
    return with_head(encoder, encoder.features, spec) if head else encoder
