"""Networks of transformers, for text and for images."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.errors import CheckpointError, ConfigError, MissingExtra, first_of
from quickstudy.models.encoders.hub import CONFIG, architecture_in, settings_in, settled_place
from quickstudy.models.encoders.library import Library
from quickstudy.models.encoders.pixels import IMAGENET_MEAN, IMAGENET_STD, Pixels, Side, Triple, pixels
from quickstudy.models.encoders.sentences import Pool, sentence_folder
from quickstudy.models.head import with_head
from quickstudy.registry import models
from quickstudy.spec import TaskSpec
from quickstudy.traced import traced

_IDS, _MASK = "input_ids", "attention_mask"
_NOT_KEPT = ("id2label", "label2id", "architectures", "transformers_version", "dtype", "torch_dtype", "_name_or_path")


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise MissingExtra("transformers", "transformers", "The model 'transformers'") from error
    return transformers


class TransformersEncoder(Library):
    """A network of transformers, and one embedding for each input: (n, features).

    It takes images (n, C, H, W), or text by the names of its tensors: `input_ids` (n, L), with `attention_mask` (n, L),
    which is 1 where a token is. pool: 'mean' over the tokens that are there, or over space; 'cls', the first token;
    'own', what the network itself makes of all. normalise: embeddings have the length 1. pixels: None for text.
    """

    def __init__(
        self,
        pixels: Pixels | None,
        pool: Pool,
        made: nn.Module,
        make: Callable[[], nn.Module] | None,
        normalise: bool = False,
    ) -> None:
        super().__init__(made, make)
        self.pixels, self.pool, self.normalise = pixels, pool, normalise

    def forward(self, x: Tensor | None = None, **named: Tensor) -> Tensor:
        z = self._embedded(x, **named)
        return F.normalize(z, dim=1) if self.normalise else z

    def _embedded(self, x: Tensor | None = None, **named: Tensor) -> Tensor:
        if x is not None and self.pixels is not None:
            return self._pooled(self.network(pixel_values=self.pixels(x)), None)
        mask = named.get(_MASK)
        if mask is not None:
            # Where no token is, as in padded examples, there is nothing to attend to and no mean: all are looked at.
            mask = torch.where(mask.any(1, keepdim=True), mask, torch.ones_like(mask))
            named = named | {_MASK: mask}
            if (longest := _longest(mask)) is not None:
                mask = mask[:, :longest]
                named = {name: value[:, :longest] for name, value in named.items()}
        return self._pooled(self.network(**named), mask)

    def _pooled(self, output: Any, mask: Tensor | None) -> Tensor:
        states: Tensor = output.last_hidden_state
        if self.pool == "own":
            own: Tensor = output.pooler_output
            return own.flatten(1)
        if self.pool == "cls":
            return states[:, 0]
        if states.dim() == 4:
            return states.mean((2, 3))
        if mask is None:
            return states.mean(1)
        known = mask.to(states.dtype)[..., None]
        return (states * known).sum(1) / known.sum(1)


def _longest(mask: Tensor) -> int | None:
    """How many positions are more than padding; None where shapes must be fixed, as under `vmap` and in graphs."""
    if traced(mask) or not len(mask):
        return None
    return int(mask.ne(0).any(0).nonzero().max()) + 1


def _settled(**options: Any) -> dict[str, Any]:
    if options["architecture"]:
        return options
    folder, pool, normalise = sentence_folder(options["name"], weights=False)
    try:
        config = _transformers().AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        said = " ".join(str(error).split())[:200]
        raise ConfigError(f"{folder / CONFIG} describes no network that transformers knows ({said}).") from error
    kept = {name: value for name, value in config.to_diff_dict().items() if name not in _NOT_KEPT}
    images = settings_in(folder, "preprocessor_config.json")
    size = images.get("size")
    size = next(iter(size.values())) if isinstance(size, dict) and size else size
    return options | {
        "name": settled_place(options["name"]),
        "pretrained": settled_place(options["pretrained"]),
        "architecture": json.dumps(kept),
        "resolution": options["resolution"] or _side(kept.get("image_size")) or _side(size) or 224,
        "mean": options["mean"] or tuple(images.get("image_mean") or IMAGENET_MEAN),
        "std": options["std"] or tuple(images.get("image_std") or IMAGENET_STD),
        "pool": options["pool"] or pool,
        "normalise": normalise if options["normalise"] is None else options["normalise"],
    }


def _side(size: Any) -> int | None:
    size = size[0] if isinstance(size, list | tuple) and size else size
    return size if isinstance(size, int) and not isinstance(size, bool) else None


def _config(architecture: str) -> Any:
    """The network's settings, without dropout: it is drawn from a generator that no run knows."""
    facts = _without_dropout(architecture_in(architecture))
    config = _transformers().AutoConfig.for_model(**facts)
    config.use_cache = False
    return config


def _without_dropout(facts: Any) -> Any:
    if not isinstance(facts, dict):
        return facts
    still = {name: 0.0 for name, value in facts.items() if "drop" in name and type(value) in (int, float)}
    return {name: _without_dropout(value) for name, value in facts.items()} | still


def _made(architecture: str) -> nn.Module:
    # Attention that is fused has no second derivative.
    made: nn.Module = _transformers().AutoModel.from_config(_config(architecture), attn_implementation="eager")
    return made


def _loaded(architecture: str, name: str, pretrained: bool | str) -> tuple[nn.Module, set[str]]:
    """The network with weights, and the names of the parameters that these lack."""
    place = pretrained if isinstance(pretrained, str) else name
    folder = sentence_folder(place, weights=True).folder
    try:
        made, facts = _transformers().AutoModel.from_pretrained(
            folder, config=_config(architecture), dtype=torch.float32, attn_implementation="eager",
            local_files_only=True, output_loading_info=True,
        )  # fmt: skip
    except Exception as error:  # whatever transformers and those that read files raise
        said = " ".join(str(error).split())[:300]
        raise CheckpointError(
            f"transformers cannot load the weights in {folder} ({type(error).__name__}: {said}). Give those of the "
            "same network, or leave them out: --model.pretrained False."
        ) from error
    return made, set(facts["missing_keys"]) | {one[0] for one in facts["mismatched_keys"]}


def _require_vocabulary(spec: TaskSpec, made: nn.Module, name: str) -> None:
    """ConfigError where the tasks have ids of tokens that the network does not know."""
    ids, known = spec.format.layout.get(_IDS), getattr(made.config, "vocab_size", None)
    if ids is not None and ids.below is not None and isinstance(known, int) and ids.below > known:
        raise ConfigError(
            f"The network {name!r} knows {known} tokens, but these are {spec.format}, with {ids.below} different ones: "
            f"it was made for another tokenizer. Give its own: --tasks.tokenizer {name}"
        )


@models.register("transformers", axes=3, several=True, drawn={"pretrained": False}, settle=_settled)
def transformers(
    spec: TaskSpec,
    head: bool = True,
    *,
    name: str,
    pretrained: bool | str = True,
    pool: Pool | None = None,
    normalise: bool | None = None,
    resolution: Side | None = None,
    mean: Triple | None = None,
    std: Triple | None = None,
    white: float | None = None,
    architecture: str = "",
) -> nn.Module:
    """A network of the library transformers, for images or text, started from its weights. Extra 'transformers'.

    Text comes as several tensors: `input_ids`, with `attention_mask` and what else the network takes by name. With
    `head` a linear layer, drawn anew, gives `spec.outputs` numbers. Folders and the hub's cache are looked at before
    the hub. Weights and architecture become part of a run: nothing of the kind is needed again, but transformers.

    name: a folder that `save_pretrained` wrote, or one of sentence-transformers, or a repository on the Hugging Face
    hub (owner/name).
    pretrained: whether it starts from the weights that belong to the name, or the folder of others; if not, it is drawn
    from the seed, as transformers draws it.
    pool: the embedding: 'mean' over the tokens that are there, or over space; 'cls', the first token; 'own', what the
    network itself makes of all (pooler_output). If not given, what sentence-transformers say, or 'mean'.
    normalise: whether embeddings are brought to the length 1; if not given, what sentence-transformers say, or not.
    resolution: the side that images are brought to, in pixels; if not given, that of training.
    mean, std: of red, green and blue, where white is 1; if not given, those of training.
    white: what white is in images whose format does not say: 1 or 255.
    architecture: as JSON, in the place of what the name says; filled in where a run begins.
    """
    facts = _settled(
        name=name, pretrained=pretrained, resolution=resolution, mean=mean, std=std, architecture=architecture,
        pool=pool, normalise=normalise,
    )  # fmt: skip
    seen = None
    if len(spec.format.layout) == 1:
        seen = pixels(spec, "transformers", facts["resolution"], facts["mean"], facts["std"], white)
    make = partial(_made, facts["architecture"])
    made, lacking = _loaded(facts["architecture"], name, pretrained) if pretrained else (make(), set())
    _require_vocabulary(spec, made, name)
    encoder = TransformersEncoder(
        seen, facts["pool"] or "mean", made, None if pretrained else make, bool(facts["normalise"])
    )
    unused = encoder.tried(spec.format, f"The network {name!r} of transformers")
    if random := sorted(lacking - set(unused)):
        raise ConfigError(
            f"The weights of {Path(name)} lack {first_of(random)}, which would "
            "be random. Give the weights of this very network, or another pool."
        )
    return with_head(encoder, encoder.features, spec) if head else encoder
