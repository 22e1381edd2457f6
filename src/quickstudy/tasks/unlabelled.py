"""Tasks from records that nobody has labelled: each record is a class, or clusters of features are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import Features, joined, leaves, map_features
from quickstudy.errors import ConfigError, DataError
from quickstudy.formats.base import Format
from quickstudy.formats.distortion import Distortion
from quickstudy.formats.records import Broken, Records, say
from quickstudy.hints import Size
from quickstudy.options import pairs
from quickstudy.registry import formats, sources, targets
from quickstudy.spec import TaskSpec
from quickstudy.tasks.classes import ClassSource
from quickstudy.tasks.clustered import Given, clustered, encoded
from quickstudy.tasks.divide import named_places
from quickstudy.tasks.folder import labels_of, starts_of
from quickstudy.tasks.pool import RepeatedPool
from quickstudy.tasks.stored import Read, read

Method = Literal["umtra", "cactus"]
_AGAIN = 1 << 20  # how often one record may be drawn for a task


@sources.register("unlabelled", data="a folder of unsorted files", places=("root",))
def unlabelled(
    *,
    root: str,
    format: str = "image",
    options: tuple[str, ...] = (),
    method: Method = "umtra",
    distort: tuple[str, ...] = (),
    symmetries: int = 1,
    encoder: str = "",
    encoder_options: tuple[str, ...] = (),
    clusters: Size = 500,
    partitions: Size = 10,
    min_class: int = 20,
    val: float = 0.1,
    split_seed: int = 0,
    broken: Broken = "refuse",
) -> ClassSource:
    """Your own records without labels, of any format: unsorted files, or rows.

    root: where they lie, at any depth. What lies in a sub-folder 'val' or 'test' is not among them: these hold records
        with labels, one sub-folder for each class, for validation and test. They are not needed.
    format: of the records; see `quickstudy list formats`. options: its own, names and values in turn, such as size 28.
    method: 'umtra' takes each record as a class, whose examples are distorted copies of it (Khodadadeh et al. 2019);
        'cactus' takes clusters of features as classes (Hsu, Levine & Finn 2019).
    distort: how training examples are distorted, names and values in turn, such as rotate 20 scale 0.3; 'umtra' needs
        it, as nothing else tells the examples of a class apart.
    symmetries: 4 takes turned images as training classes of their own, 8 mirrored ones too.
    encoder: the model whose features are clustered, such as squeezenet; what the format gives, pixels for instance, if
        not given. encoder_options: its own, names and values in turn, such as weights squeezenet.safetensors.
    clusters: how many there are in a partition. partitions: how many of them, each by features weighted otherwise; all
        classes of a task come from one.
    min_class: clusters of fewer records are left out.
    val: the share of the records that is held out for validation where there is no folder 'val': each is then a class
        of distorted copies, whatever the method.
    split_seed: which records these are, and how the partitions are drawn.
    broken: whether a record that cannot be read stops everything ('refuse') or is left out ('skip').

    Raises DataError, naming file or class, for broken files and too few of them.
    """
    seen: Format = formats.make(format, **pairs("--tasks.options", options))
    if seen.labels_itself:
        raise ConfigError(f"{seen.what.capitalize()} are their own labels. Use the tasks 'series_csv'.")
    how = _distortion(seen, pairs("--tasks.distort", distort))
    if not 0.0 <= val < 1.0:
        raise ConfigError(f"The share val must lie in [0, 1), found {val}.")
    records = _records(seen, root)
    seen = seen.learn(records["train"].items, broken) if seen.learns else seen
    found = {split: read(seen, part, broken) for split, part in records.items()}
    for split, part in found.items():
        say(part.stored.notices)
        records[split] = records[split].chosen(part.stored.kept)
    kept = _different(found["train"].prints, records["train"].names, seen.what)
    x = map_features(lambda t: t[kept], found["train"].stored.x)
    names = [_below(records["train"].names[i], root) for i in kept.tolist()]
    held = round(val * len(kept)) if "val" not in records else 0
    order = rng.permutation(rng.key(split_seed, "unlabelled"), len(kept))
    rest, out = order[held:].sort().values, order[:held].sort().values
    if method == "umtra":
        _require_copies(how, seen)
        train = _one_each(rest, names)
    else:
        z = encoded(
            seen, map_features(lambda t: t[rest], x), encoder, pairs("--tasks.encoder-options", encoder_options)
        )
        train = clustered(z, rest, clusters, partitions, min_class, split_seed)
    if held:
        _require_copies(how, seen, "Or give labelled records for validation, in a folder 'val', or none: val=0.")
    return _source(seen, x, train, _one_each(out, names), records, found, how, symmetries)


def _records(format: Format, root: str) -> dict[str, Records]:
    """The records without labels, 'train', and those with labels at 'val' and 'test', where there are such."""
    places = named_places(root, format.row_files)
    own = places.pop("train", None)
    records = format.find(root if own is None else own, labelled=False)
    labelled = [path.absolute() for path in places.values()]

    def of_another(item: Any) -> bool:
        return isinstance(item, Path) and any(path in item.absolute().parents for path in labelled)

    if any(map(of_another, records.items)):
        records = records.chosen([i for i, item in enumerate(records.items) if not of_another(item)])
    if not records.items:
        raise DataError(f"There are no {format.what} in {root} but those of {' and '.join(places)}. Add unsorted ones.")
    if "test" not in places:
        say([f"There is no folder 'test' with labelled {format.what} in {root}, so that nothing can be tested there."])
    return {"train": records} | {split: format.find(place) for split, place in places.items()}


def _distortion(format: Format, amounts: dict[str, Any]) -> Distortion:
    if not amounts:
        return Distortion()
    if format.distortion is None:
        raise ConfigError(f"{format.what.capitalize()} cannot be distorted. Leave distort out (--tasks.method cactus).")
    known = [one.name for one in fields(format.distortion)]
    for name in amounts:
        if name not in known:
            raise ConfigError(f"{format.what.capitalize()} have no distortion {name!r}, only {', '.join(known)}.")
    return format.distortion(**amounts)


def _require_copies(how: Distortion, format: Format, instead: str = "Or take clusters: --tasks.method cactus.") -> None:
    """ConfigError where nothing tells copies of a record apart."""
    if not how:
        known = "" if format.distortion is None else f" ({', '.join(one.name for one in fields(format.distortion))})"
        raise ConfigError(
            f"The examples of a class are copies of one of the {format.what}, and nothing distorts them: there is "
            f"nothing to learn. Say how: --tasks.distort NAME VALUE …{known}. {instead}"
        )


def _different(found: Tensor, names: Sequence[str], what: str) -> Tensor:
    """The first of each set of equal records (m,), in order: two classes of one record could not be told apart."""
    _, which = found.unique(return_inverse=True)  # type: ignore[no-untyped-call]
    first = torch.full((int(which.max()) + 1,), len(found)).scatter_reduce(0, which, torch.arange(len(found)), "amin")
    kept = first.sort().values
    if len(kept) < len(found):
        gone = next(i for i, k in enumerate([*kept.tolist(), len(found)]) if i != k)
        say([f"{len(found) - len(kept)} of {len(found)} {what} left out, which are equal to others: {names[gone]} …"])
    return kept


def _below(name: str, root: str) -> str:
    """A record's name, below the folder that all of them lie in."""
    return str(Path(name).relative_to(root)) if Path(name).is_relative_to(root) else name


def _one_each(rows: Tensor, names: Sequence[str]) -> Given:
    ones = torch.ones_like(rows)
    return Given(rows, ones, _AGAIN * ones, torch.zeros_like(rows), [names[i] for i in rows.tolist()])


def _source(
    format: Format,
    x: Features,
    train: Given,
    held: Given,
    records: dict[str, Records],
    found: dict[str, Read],
    how: Distortion,
    symmetries: int,
) -> ClassSource:
    """The source of classes without labels in the stored x, for training and (`held`) validation, and of the labelled
    records beside them."""
    target = targets.make("classes")
    parts, first, splits = [train, held], len(leaves(x)[0]), {}
    encoded_labels = {s: target.encode(labels_of(part)) for s, part in records.items() if s != "train"}
    starts = starts_of({"train": train.names, "held": held.names} | {s: n for s, (_, n) in encoded_labels.items()})
    for split, (ids, names) in encoded_labels.items():
        own = ids.bincount()
        parts.append(Given(first + ids.argsort(stable=True), own, own, torch.zeros_like(own), list(names)))
        x, first = joined(x, found[split].stored.x), first + len(ids)
        splits[split] = starts[split] + torch.arange(len(names))
    own = torch.cat([part.own for part in parts])
    pool = RepeatedPool(
        format=format, x=x, rows=torch.cat([part.rows for part in parts]), starts=own.cumsum(0) - own, own=own,
        counts=torch.cat([part.counts for part in parts]), groups=torch.cat([part.groups for part in parts]),
        names=tuple(name for part in parts for name in part.names),
    )  # fmt: skip
    training = torch.arange(len(train.names))
    if "val" not in splits:
        splits["val"] = len(training) + torch.arange(len(held.names)) if held.names else training
    copies = ("train",) if "val" in records else ("train", "val")
    return ClassSource(
        pool=pool, splits={"train": training, "test": training[:0]} | splits, spec=TaskSpec(format, target),
        within=bool(train.groups.any()), symmetries=symmetries, symmetric_splits=("train",), augmentation=how,
        augmented_splits=copies,
    )  # fmt: skip
