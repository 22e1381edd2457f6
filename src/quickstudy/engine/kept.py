"""A frozen encoder is run once over a pool: learners then work on features, which are kept for the next time."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor

from quickstudy.engine.core import Engine
from quickstudy.engine.told import digest, told
from quickstudy.entries import prefixed
from quickstudy.episode import Features, Params, leaves, map_features
from quickstudy.files import cache_folder
from quickstudy.formats.base import Format
from quickstudy.learners import Learner, Network
from quickstudy.learners.halves import Halves, halves
from quickstudy.registry import formats
from quickstudy.storage.tensors import checksum, pack
from quickstudy.tasks.base import Source
from quickstudy.tasks.cached import read_cached, write_cached
from quickstudy.tasks.classes import ClassSource
from quickstudy.tasks.pool import TensorPool
from quickstudy.tasks.wrapped import changed, innermost

_BATCH = 128  # examples that are encoded at once
_SLOW = 2.0  # seconds of encoding above which features are kept on disk
_POOLS = 16  # in memory
PROBED = 8
"""Examples of a pool that are encoded again at each use, to see that the features are still theirs."""
_EXACT = 1e-3, 1e-5  # by which shares of their spread and of themselves equal features differ
_ROUNDED = 5e-2, 2e-2  # the same, in bfloat16 and where the kernels may be others
_FAILS = (
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
)  # what a network raises that lacks something
_log = logging.getLogger("quickstudy")
_known: OrderedDict[tuple[str, ref[Network]], _Kept] = OrderedDict()
_split: WeakKeyDictionary[Network, tuple[Format, Halves | None]] = WeakKeyDictionary()


class _Kept(NamedTuple):
    """The features z (n, …) of all examples of a pool, and those of a few, which were encoded by themselves."""

    z: Tensor
    few: Tensor


def on_features(engine: Engine, params: Params, source: Source) -> tuple[Engine, Source]:
    """The engine and the source with the features of a frozen encoder in the place of what it is given.

    Both as they are where there is no such encoder, where examples change before it sees them (episodes that are made
    up, symmetries, augmentation), or where its features of an example are not all that the rest of the network sees of
    it. φ is that of the whole network.
    """
    format = engine.learner.spec.format
    if source.spec.format != format or not all(map(_as_held, innermost(source))):
        return engine, source
    parts = _halves(engine.learner.network, format)
    if parts is None:
        return engine, source
    kept: dict[int, Source] = {}
    for inner in innermost(source):
        assert isinstance(inner, ClassSource) and isinstance(inner.pool, TensorPool)
        if id(inner) in kept:
            continue
        z = _features(engine, parts, params, inner.pool)
        if z is None:
            return engine, source
        seen = formats.make("array", shape=tuple(z.shape[1:]))
        pool = replace(inner.pool, format=seen, x=z)
        kept[id(inner)] = replace(inner, pool=pool, spec=replace(inner.spec, format=seen))
    learner: Learner = replace(engine.learner, network=parts.after, spec=replace(engine.learner.spec, format=seen))
    return replace(engine, learner=learner, chosen=None), changed(source, lambda inner: kept[id(inner)])


def _as_held(source: Source) -> bool:
    """Whether the examples of a source that wraps none reach the network as a pool holds them."""
    if not isinstance(source, ClassSource) or not isinstance(source.pool, TensorPool):
        return False
    return source.symmetries == 1 and not source.augmentation and not source.spec.format.prepares


def _halves(network: Network, format: Format) -> Halves | None:
    if network not in _split or _split[network][0] != format:
        _split[network] = format, halves(network, format)
    return _split[network][1]


def _features(engine: Engine, parts: Halves, params: Params, pool: TensorPool) -> Tensor | None:
    """The features of all examples of a pool (n, …), from memory, from disk, or by encoding them; None where they
    cannot stand for the examples.

    In memory they are known by the encoder itself, whatever it is; on disk by all that it was told, if that can be
    named. Neither says what its code does, so a few examples are encoded again at each use.
    """
    encoder, count = parts.encoder, len(leaves(pool.x)[0])
    entries = prefixed(encoder.prefix, params) if encoder.prefix else params
    own = {n: v for n, v in entries.items() if n.split(".", 1)[-1] in encoder.names or n.startswith("statistics.")}
    facts = repr(pool.format), engine.precision, engine.device.type, *map(digest, leaves(pool.x))
    key = checksum(pack(own), *facts), ref(encoder)
    rows = torch.linspace(0, count - 1, min(count, PROBED)).long()
    few = _run(engine, encoder, params, _examples(pool, rows))
    kept = _known.get(key)
    if few is not None and kept is not None and _alike(few, kept.few):
        _known.move_to_end(key)
        return kept.z.to(engine.device)
    if few is None or not _stand_for(engine, parts, params, pool, rows, few):
        _log.info("The frozen layers are run each time: their features of an example are not all that is seen of it.")
        return None
    if kept is not None:
        _log.warning("The frozen encoder answers otherwise than before: encoding again.")
    name = told(encoder.module)
    path = None if name is None else cache_folder("features", f"{checksum(key[0].encode(), name)[:32]}.safetensors")
    kept = None if path is None else _from_disk(path, few, count)
    kept = kept or _all(engine, encoder, params, pool, few, path)
    if kept is None:
        return None
    _known[key] = kept
    while len(_known) > _POOLS:
        _known.popitem(last=False)
    return kept.z.to(engine.device)


def _from_disk(path: Path, few: Tensor, count: int) -> _Kept | None:
    both = read_cached(path, lambda z: z.is_floating_point() and len(z) == count + len(few))
    if both is None:
        return None
    kept = _Kept(both[:count], both[count:])
    if _alike(few, kept.few):
        return kept
    _log.warning("The features in %s are not those of this encoder: encoding again.", path)
    return None


def _all(
    engine: Engine, encoder: Network, params: Params, pool: TensorPool, few: Tensor, path: Path | None
) -> _Kept | None:
    """All features, by encoding; written to a path if that was slow. None if some are none, or not finite."""
    began, count = time.perf_counter(), len(leaves(pool.x)[0])
    parts, order = [], _by_padding(pool.x)
    for rows in order.split(_BATCH):  # type: ignore[no-untyped-call]
        z = _run(engine, encoder, params, _examples(pool, rows))
        if z is None or z.shape[1:] != few.shape[1:]:
            return None
        parts.append(z)
    kept = _Kept(torch.cat(parts).cpu()[order.argsort()], few.cpu())
    took = time.perf_counter() - began
    if took > _SLOW:
        where = "what the encoder is cannot be written down" if path is None else f"their features are kept in {path}"
        _log.info("Encoded %d examples in %.0f s; %s.", count, took, where)
    if took > _SLOW and path is not None:
        write_cached(path, torch.cat(kept))
    return kept


def _by_padding(x: Features) -> Tensor:
    """The examples (n,) in an order in which those of tokens are together with others as long: some encoders leave out
    what is padding for all."""
    first = leaves(x)[0]
    if first.is_floating_point() or first.dtype == torch.uint8:
        return torch.arange(len(first))
    return first.flatten(1).ne(0).sum(1).cpu().argsort(stable=True)


def _stand_for(engine: Engine, parts: Halves, params: Params, pool: TensorPool, rows: Tensor, few: Tensor) -> bool:
    """Whether the features of a few examples do not depend on what they are encoded with, and the rest of the network
    answers by them as the whole network does."""
    if not stand_alone(lambda some: _run(engine, parts.encoder, params, _examples(pool, some)), rows, few, engine):
        return False
    try:
        answers = _run(engine, parts.after, params, few)
    except _FAILS:  # what it takes from the encoder is not only its output
        return False
    whole = _run(engine, engine.learner.network, params, _examples(pool, rows))
    return answers is not None and whole is not None and _alike(answers, whole, _shares(engine))


def stand_alone(make: Callable[[Tensor], Tensor | None], rows: Tensor, few: Tensor, engine: Engine) -> bool:
    """Whether the features `few` (n, …) that are made of a few examples, by their numbers `rows` (n,), are the same
    whatever these are made with: half of them at a time."""
    apart = [make(some) for some in rows.chunk(2)]
    return all(z is not None for z in apart) and _alike(
        torch.cat([z for z in apart if z is not None]), few, _shares(engine)
    )


def _shares(engine: Engine) -> tuple[float, float]:
    return _ROUNDED if engine.precision == "bfloat16" else _EXACT


def _alike(one: Tensor, other: Tensor, shares: tuple[float, float] = _EXACT) -> bool:
    """Whether features (n, …) of n examples are the same but for rounding."""
    if one.shape != other.shape:
        return False
    other, (of_spread, of_size) = other.to(one.device), shares
    size = one.abs() + 0.1 * one.square().mean().sqrt()
    return bool(((one - other).abs() <= of_spread * one.std(0, correction=0) + of_size * size).all())


def _examples(pool: TensorPool, rows: Tensor) -> Features:
    return pool.format.features(map_features(lambda t: t.index_select(0, rows.to(t.device)), pool.x))


def _run(engine: Engine, network: Network, params: Params, x: Features) -> Tensor | None:
    """What a network makes of n examples, in float32; None for anything else than finite numbers (n, …)."""
    with torch.no_grad(), engine.autocast():
        z = network(params, x)
    sound = isinstance(z, Tensor) and z.is_floating_point() and z.dim() > 1 and len(z) == len(leaves(x)[0])
    return z.float() if sound and bool(torch.isfinite(z).all()) else None
