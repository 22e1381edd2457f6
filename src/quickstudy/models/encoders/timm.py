"""Networks of timm, PyTorch's library of image models."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn

from quickstudy.errors import CheckpointError, ConfigError, MissingExtra, first_of
from quickstudy.models.encoders.hub import architecture_in, folder_of, settings_in, settled_place, weights_in
from quickstudy.models.encoders.library import Library
from quickstudy.models.encoders.pixels import IMAGENET_MEAN, IMAGENET_STD, Pixels, Side, Triple, pixels
from quickstudy.models.head import with_head
from quickstudy.registry import models
from quickstudy.spec import TaskSpec


def _timm() -> Any:
    try:
        import timm
    except ImportError as error:
        raise MissingExtra(error.name or "timm", "timm", "The model 'timm'") from error
    except (RuntimeError, AttributeError) as error:
        raise ConfigError(
            f"timm cannot be imported here ({type(error).__name__}: {str(error)[:200]}). Install a torchvision that "
            "fits this torch."
        ) from error
    return timm


class TimmEncoder(Library):
    """A network of timm without its classifier: images (n, C, H, W) to (n, features)."""

    def __init__(self, pixels: Pixels, made: nn.Module, make: partial[nn.Module] | None) -> None:
        super().__init__(made, make)
        self.pixels = pixels
        for layer in self.network.modules():
            if hasattr(layer, "fused_attn"):
                vars(layer)["fused_attn"] = False  # which has no second derivative

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.network(self.pixels(x)))


def _source(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a name stands for: the architecture with its arguments, and how its weights were trained."""
    timm = _timm()
    if timm.is_model(name.split(".")[0]) and not Path(name).is_dir():
        trained = timm.get_pretrained_cfg(name)
        return {"architecture": name}, {} if trained is None else trained.to_dict()
    said = settings_in(folder_of(name.removeprefix("hf-hub:"), "timm", weights=False))
    if not isinstance(said.get("architecture"), str) or not timm.is_model(said["architecture"]):
        raise ConfigError(
            f"{name} is no model of timm: its config.json names the architecture {said.get('architecture')!r:.60}. "
            "Give the name of one (timm.list_models()), a folder that timm's save_for_hf has written, or --model "
            "transformers."
        )
    architecture = {"architecture": said["architecture"], "arguments": said.get("model_args") or {}}
    return architecture, said.get("pretrained_cfg") or said


def _settled(**options: Any) -> dict[str, Any]:
    if options["architecture"]:
        return options
    architecture, trained = _source(options["name"])
    arguments = dict(architecture.get("arguments", {}))
    for none in ("num_classes", "in_chans"):
        arguments.pop(none, None)
    channels, *size = trained.get("input_size") or (3, 224, 224)
    if channels != 3:
        raise ConfigError(f"{options['name']} takes images of {channels} channels, not 3. Choose another network.")
    side = options["resolution"] or size[0]
    if trained.get("fixed_input_size") and (side != size[0] or "img_size" in arguments):
        arguments["img_size"] = side
    return options | {
        "name": settled_place(options["name"]),
        "pretrained": settled_place(options["pretrained"]),
        "architecture": json.dumps({"architecture": architecture["architecture"], "arguments": arguments}),
        "resolution": side,
        "mean": options["mean"] or tuple(trained.get("mean") or IMAGENET_MEAN),
        "std": options["std"] or tuple(trained.get("std") or IMAGENET_STD),
    }


def _made(architecture: str, **loading: Any) -> nn.Module:
    facts = architecture_in(architecture)
    made: nn.Module = _timm().create_model(facts["architecture"], num_classes=0, **facts["arguments"], **loading)
    return made


def _loaded(architecture: str, name: str, pretrained: bool | str) -> nn.Module:
    """The network with weights; ConfigError where they are not all there."""
    trained = _source(name)[1] | {"source": "", "url": "", "custom_load": False}
    if isinstance(pretrained, str) and Path(pretrained).is_file():
        file = Path(pretrained)
    elif isinstance(pretrained, str):
        file = weights_in(folder_of(pretrained, "timm", weights=True))
    else:
        where = name if Path(name).is_dir() else trained.get("hf_hub_id") or name
        file = weights_in(folder_of(where.removeprefix("hf-hub:"), "timm", weights=True))
    overlay = {"pretrained": True, "pretrained_cfg_overlay": trained | {"file": str(file)}}
    try:
        made, again = (_made(architecture, **overlay) for _ in range(2))
    except Exception as error:  # whatever timm and those that read files raise
        said = " ".join(str(error).split())[:300]
        raise CheckpointError(
            f"timm cannot load {file} as weights of {name} ({type(error).__name__}: {said}). Give those of the same "
            "network, or leave them out: --model.pretrained False."
        ) from error
    drawn = [
        n for (n, one), other in zip(made.named_parameters(), again.parameters(), strict=True) if one.ne(other).any()
    ]
    if drawn:
        raise ConfigError(
            f"{file} lacks {first_of(drawn)} of {name}, which would be random. Give the weights of this very network."
        )
    return made


@models.register("timm", axes=3, drawn={"pretrained": False}, settle=_settled)
def timm(
    spec: TaskSpec,
    head: bool = True,
    *,
    name: str,
    pretrained: bool | str = True,
    resolution: Side | None = None,
    mean: Triple | None = None,
    std: Triple | None = None,
    white: float | None = None,
    architecture: str = "",
) -> nn.Module:
    """An image network of the library timm, without its classifier, started from its weights. Extra 'timm'.

    With `head` a linear layer, drawn anew, gives `spec.outputs` numbers. Folders and the hub's cache are looked at
    before the hub. Weights and architecture become part of a run: nothing of the kind is needed again, but timm.

    name: of a model (resnet18, vit_tiny_patch16_224.augreg_in21k_ft_in1k …), a folder that timm's `save_for_hf` wrote,
    or a repository on the Hugging Face hub (owner/name).
    pretrained: whether it starts from the weights that belong to the name, or the file or folder of others; if not, it
    is drawn from the seed, as timm draws it.
    resolution: the side that images are brought to, in pixels; if not given, that of training.
    mean, std: of red, green and blue, where white is 1; if not given, those of training.
    white: what white is in images whose format does not say: 1 or 255.
    architecture: as JSON, in the place of what the name says; filled in where a run begins.
    """
    facts = _settled(
        name=name, pretrained=pretrained, resolution=resolution, mean=mean, std=std, architecture=architecture
    )
    seen = pixels(spec, "timm", facts["resolution"], facts["mean"], facts["std"], white)
    make = partial(_made, facts["architecture"])
    made = _loaded(facts["architecture"], name, pretrained) if pretrained else make()
    encoder = TimmEncoder(seen, made, None if pretrained else make)
    encoder.tried(spec.format, f"The network {name!r} of timm")
    return with_head(encoder, encoder.features, spec) if head else encoder
