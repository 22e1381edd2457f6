"""A frozen encoder is run once over a pool: learners then work on features, which are kept for the next time."""

from __future__ import annotations

import json
import logging
import time
from collections import OrderedDict
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from quickstudy.engine.core import Engine
from quickstudy.entries import prefixed
from quickstudy.episode import Features, Params, leaves, map_features
from quickstudy.formats.base import Format
from quickstudy.learners import Learner, Network
from quickstudy.learners.halves import Halves, halves
from quickstudy.registry import formats
from quickstudy.storage.tensors import checksum, pack
from quickstudy.tasks.base import Source
from quickstudy.tasks.cached import read_cached, write_cached
from quickstudy.tasks.classes import ClassSource
from quickstudy.tasks.download import cache_folder
from quickstudy.tasks.pool import TensorPool
from quickstudy.tasks.wrapped import Wrapped

_BATCH = 128  # examples that are encoded at once
_SLOW = 2.0  # seconds of encoding above which features are kept on disk
_POOLS = 4  # in memory
_PROBED = 8  # examples of a pool that are encoded again, to see that the features on disk are theirs
_Kinds = tuple[type, ...]
_log = logging.getLogger("quickstudy")
_known: OrderedDict[tuple[str, _Kinds], Tensor] = OrderedDict()
_split: WeakKeyDictionary[Network, tuple[Format, Halves | None]] = WeakKeyDictionary()
_digests: Any = WeakTensorKeyDictionary()


def on_features(engine: Engine, params: Params, source: Source) -> tuple[Engine, Source]:
    """The engine and the source with the features of a frozen encoder in the place of what it is given.

    Both as they are where there is no such encoder, or where examples change before it sees them: episodes that are
    made up, symmetries, augmentation. φ is that of the whole network.
    """
    inner = _classes(source)
    if inner is None or inner.spec.format != engine.learner.spec.format:
        return engine, source
    parts = _halves(engine.learner.network, inner.spec.format)
    if parts is None:
        return engine, source
    assert isinstance(inner.pool, TensorPool)
    z = _features(engine, parts.encoder, params, inner.pool)
    format = formats.make("array", shape=tuple(z.shape[1:]))
    pool = replace(inner.pool, format=format, x=z)
    kept = replace(inner, pool=pool, spec=replace(inner.spec, format=format))
    learner: Learner = replace(engine.learner, network=parts.after, spec=replace(engine.learner.spec, format=format))
    return replace(engine, learner=learner, chosen=None), _around(source, kept)


def _classes(source: Source) -> ClassSource | None:
    """The classes behind a source, if their examples reach the network as the pool holds them."""
    while isinstance(source, Wrapped):
        source = source.inner
    if not isinstance(source, ClassSource) or not isinstance(source.pool, TensorPool):
        return None
    changes = source.symmetries != 1 or bool(source.augmentation) or source.spec.format.prepares
    return None if changes else source


def _around(source: Source, kept: ClassSource) -> Source:
    return source.around(lambda inner: _around(inner, kept)) if isinstance(source, Wrapped) else kept


def _halves(network: Network, format: Format) -> Halves | None:
    if network not in _split or _split[network][0] != format:
        _split[network] = format, halves(network, format)
    return _split[network][1]


def _features(engine: Engine, encoder: Network, params: Params, pool: TensorPool) -> Tensor:
    """The features of all examples of a pool (n, …), from memory, from disk, or by encoding them."""
    entries = prefixed(encoder.prefix, params) if encoder.prefix else params
    own = {n: v for n, v in entries.items() if n.split(".", 1)[-1] in encoder.names or n.startswith("statistics.")}
    layers = list(encoder.module.modules())
    told = json.dumps([str(encoder.module), list(map(_settings, layers)), repr(pool.format), engine.precision])
    name = checksum(pack(own), told, *(_digest(leaf) for leaf in leaves(pool.x)))[:32]
    key = name, tuple(map(type, layers))  # a class that was written anew may have the name and the weights of another
    if key not in _known:
        _known[key] = _from_disk(engine, encoder, params, pool, name)
        while len(_known) > _POOLS:
            _known.popitem(last=False)
    _known.move_to_end(key)
    return _known[key].to(engine.device)


def _settings(layer: nn.Module) -> dict[str, str]:
    """What a layer was told, such as the file of an encoder, beside what it prints of itself."""
    plain = (str, int, float, bool, tuple, type(None))
    return {name: repr(value) for name, value in sorted(vars(layer).items()) if isinstance(value, plain)}


def _digest(x: Tensor) -> str:
    """A checksum of a tensor's bytes; of one that is known, without a look at them."""
    if x not in _digests:
        data = x.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
        _digests[x] = checksum(data, str(tuple(x.shape)), str(x.dtype))
    known: str = _digests[x]
    return known


def _from_disk(engine: Engine, encoder: Network, params: Params, pool: TensorPool, name: str) -> Tensor:
    path = cache_folder("features", f"{name}.safetensors")
    count = len(leaves(pool.x)[0])
    z = read_cached(path, lambda z: z.is_floating_point() and len(z) == count)
    if z is not None:
        some = torch.linspace(0, count - 1, min(count, _PROBED)).long()
        fresh = _encoded(engine, encoder, params, pool, some).cpu()
        if fresh.shape[1:] == z.shape[1:] and torch.allclose(fresh, z[some], rtol=1e-2, atol=1e-3):
            return z
        _log.warning("The features in %s are not those of this encoder: encoding again.", path)
    began = time.perf_counter()
    z = _encoded(engine, encoder, params, pool, torch.arange(count)).cpu()
    took = time.perf_counter() - began
    if took > _SLOW:
        _log.info("Encoded %d examples in %.0f s; their features are kept in %s.", count, took, path)
        write_cached(path, z)
    return z


def _encoded(engine: Engine, encoder: Network, params: Params, pool: TensorPool, rows: Tensor) -> Tensor:
    def examples(some: Tensor) -> Features:
        return pool.format.features(map_features(lambda t: t.index_select(0, some.to(t.device)), pool.x))

    with torch.no_grad(), engine.autocast():
        parts = [encoder(params, examples(some)) for some in torch.split(rows, _BATCH)]
    return torch.cat([part.float() for part in parts])
