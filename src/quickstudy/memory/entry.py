"""What a bank holds of one task, and as which columns."""

from __future__ import annotations

import json
import platform
import re
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any, TypedDict
from uuid import uuid4

import torch
from torch import Tensor

from quickstudy.brief import Brief
from quickstudy.entries import CONSTANT, PARAMETER, prefixed
from quickstudy.episode import Examples, Params, named
from quickstudy.errors import CheckpointError, DataError
from quickstudy.learners.memory import MemoryLearner
from quickstudy.memory.codec import Codec
from quickstudy.spec import TaskSpec
from quickstudy.storage.json import parsed
from quickstudy.storage.tensors import checksum, pack, unpack
from quickstudy.version import __version__


@dataclass(frozen=True)
class Entry(Brief):
    """One remembered task, without its parameters; `Bank.load` fetches those. Raises DataError for ids that are none.

    signature: of the learner and architecture whose parameters fit, see `signature`. base: the φ that it belongs to.
    descriptor: (D,) what the task is like. statistics: of its data set. metrics: figures by name. parents: the
    ids of the memories that it started from. support_hash, support_uri: which examples it was learned from, and
    where they lie. kept: whether the examples themselves are stored.
    """

    name: str
    signature: str
    base: str
    learner: str
    codec: Codec
    descriptor: Tensor
    statistics: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    parents: tuple[str, ...] = ()
    support_hash: str = ""
    support_uri: str = ""
    kept: bool = False
    size: int = 0
    id: str = field(default_factory=lambda: uuid4().hex)
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="microseconds"))
    versions: dict[str, str] = field(
        default_factory=lambda: {
            "quickstudy": __version__,
            "torch": str(torch.__version__),
            "python": platform.python_version(),
        }
    )

    def __post_init__(self) -> None:
        for id in (self.id, self.base, *self.parents):
            check_id(id)


def check_id(id: str) -> str:
    """The id; DataError if it is not of hexadecimal digits, as exported files are called by it."""
    if not isinstance(id, str) or not re.fullmatch(r"[0-9a-f]{1,64}", id):
        raise DataError(f"An id in a bank is up to 64 hexadecimal digits (0-9, a-f), found {id!r:.80}.")
    return id


DESCRIBING = ("id", "signature", "descriptor", "told")
"""The columns that are read without the parameters: few, as each costs a read of its own. 'told' is JSON."""
_COLUMNS = ("id", "signature", "descriptor")
_TOLD = tuple(f.name for f in fields(Entry) if f.name not in _COLUMNS)


def to_row(entry: Entry, parameters: bytes, support: bytes | None) -> dict[str, Any]:
    """The columns of an entry, with a checksum over all of them."""
    entry = replace(entry, size=len(parameters) + len(support or b""), kept=support is not None)
    row: dict[str, Any] = {
        "id": entry.id,
        "signature": entry.signature,
        "told": json.dumps({name: getattr(entry, name) for name in _TOLD}, sort_keys=True),
        "descriptor": entry.descriptor.detach().cpu().float().numpy(),
        "parameters": parameters,
        "support": support,
    }
    return row | {"sha256": row_checksum(row)}


def row_checksum(row: dict[str, Any]) -> str:
    """Over everything that an entry says of itself, its parameters and its support set."""
    vector = torch.as_tensor(row["descriptor"], dtype=torch.float32).numpy().tobytes()
    return checksum(row["id"], row["signature"], row["told"], vector, row["parameters"], row["support"] or b"")


def label(row: dict[str, Any]) -> str:
    """What to call the entry of a row, even a damaged one: its name and id, or its id."""
    name = re.search(r'"name": ("(?:[^"\\]|\\.)*")', str(row["told"]))
    return f"{json.loads(name[1])!r} ({row['id']})" if name else repr(row["id"])


def from_row(row: dict[str, Any]) -> Entry:
    """The entry of a row's columns; CheckpointError if they cannot be read."""
    what = f"The entry {label(row)}"
    told = parsed(row["told"] or "", what, _Told)
    try:
        descriptor = torch.as_tensor(row["descriptor"], dtype=torch.float32)
        return Entry(
            id=row["id"],
            signature=row["signature"],
            descriptor=descriptor,
            **told | {"parents": tuple(told["parents"])},
        )
    except (ValueError, TypeError, DataError) as error:
        raise CheckpointError(f"{what} is damaged: {str(error).rstrip('.')}.") from error


class _Told(TypedDict):
    """What an entry tells of itself, as JSON; see `Entry`."""

    name: str
    base: str
    learner: str
    codec: Codec
    statistics: dict[str, Any]
    metrics: dict[str, float]
    parents: list[str]
    support_hash: str
    support_uri: str
    kept: bool
    size: int
    created: str
    versions: dict[str, str]


def base_id(learner: MemoryLearner, params: Params) -> str:
    """What descriptions are made by and parameters belong to: φ, and how it describes. 12 hexadecimal digits."""
    return checksum(pack(params), learner.describe)[:12]


def signature(learner: MemoryLearner, params: Params, base: str) -> str:
    """Which parameters fit, and which descriptions can be compared. 12 hexadecimal digits.

    Of the kind of tasks, the network's layers, the names and shapes of what is recalled, and φ. base: its `base_id`.
    """
    own = prefixed(PARAMETER, params) | prefixed(CONSTANT, params)
    body = learner.body({name: value for name, value in own.items() if value.is_floating_point()})
    shapes = [f"{name}{tuple(value.shape)}" for name, value in sorted(body.items())]
    layers = [type(layer).__name__ for layer in learner.network.module.modules()]
    spec = learner.spec
    leaves = [f"{name}{leaf.shape}" for name, leaf in spec.format.layout.items()]
    kind = (type(spec.format).__name__, *leaves, type(spec.target).__name__, learner.network.norm, *layers)
    return checksum(base, *kind, *shapes)[:12]


def pack_examples(examples: Examples) -> bytes:
    """A support set as safetensors bytes."""
    x = {f"x.{name}": value for name, value in named(examples.x).items()}
    return pack(x | {"y": examples.y, "mask": examples.mask})


def unpack_examples(data: bytes) -> Examples:
    """The inverse of `pack_examples`."""
    stored = unpack(data)
    x = {name.removeprefix("x."): value for name, value in stored.items() if name.startswith("x.")}
    if not x or not {"y", "mask"} <= stored.keys():
        raise CheckpointError(f"A stored support set is damaged: it holds {', '.join(stored) or 'nothing'} only.")
    if len({value.shape[:1] for value in stored.values()}) > 1:
        raise CheckpointError("A stored support set is damaged: its inputs, labels and mask differ in length.")
    return Examples(x[""] if set(x) == {""} else x, stored["y"], stored["mask"])


def statistics_of(examples: Examples, spec: TaskSpec) -> dict[str, Any]:
    """What one can say of a data set without looking at it: how many examples, what labels, how large."""
    known = examples.mask
    statistics: dict[str, Any] = {"examples": int(known.sum())} | spec.target.statistics(examples)
    for name, x in named(examples.x).items():
        of = f"{name} " if name else ""
        statistics |= {f"{of}shape": list(x.shape[1:]), f"{of}mean": float(x[known].float().mean())}
    return statistics
