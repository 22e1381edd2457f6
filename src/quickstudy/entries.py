"""The names of entries of φ and ψ: what stands under which prefix, and who moves it.

φ, the meta-parameters:

| prefix                  | name                | what it holds                                 | moved by        |
|-------------------------|---------------------|-----------------------------------------------|-----------------|
| `network.`              | PARAMETER           | the module's parameters                       | outer optimizer |
| `head.`                 | HEAD                | scalars of a closed-form head, such as its λ  | outer optimizer |
| `inner.`                | INNER               | rates, or a learned rule's weights            | outer optimizer |
| `classifier.`           | CLASSIFIER          | the layer over all classes, of pretraining    | outer optimizer |
| `constant.`             | CONSTANT            | the module's buffers                          | nobody          |
| `statistics.`           | STATISTICS          | what is measured on training tasks            | calibration     |
| `statistics.network.`   | NORMALISATION       | of it, mean and variance for BatchNorm layers | calibration     |
| `teacher.`              | TEACHER             | another run's φ, whose answers are imitated   | nobody          |
| `memory.`               | MEMORY              | tasks solved before, and their descriptions   | nobody          |
| `memory.task.`          | SOLVED              | of it, the solved tasks' parameters           | nobody          |

ψ, what is known about one task:

| prefix                  | name                | what it holds                                 | moved by        |
|-------------------------|---------------------|-----------------------------------------------|-----------------|
| `task.`                 | TASK                | the task's own parameters                     | inner loop      |
| `task.(head).`          | TASK + NEW_HEAD     | of it, a new head on a pretrained encoder     | inner loop      |
| `rule.`                 | RULE                | slots of the inner rule, named by the rule    | inner loop      |
| `state.`                | READ                | what a reader or agent has read, named by it  | nobody          |

In φ and ψ alike, names without a prefix (`count`, `present`, …) belong to the learner that wrote them. A parameter that
the inner loop moves keeps its module's name in both: `network.0.weight` becomes `task.0.weight`. Single entries:
EMBEDDING_MEAN and WHITENING, of pretrained encoders, and CENTRE and SPREAD, of descriptions of tasks, are taken by
calibration;
DESCRIPTORS are the descriptions of the solved tasks, and METRIC weighs them.

A learner's second network has the entries that a first one has, after its name: `relation.network.0.weight`,
`relation.constant.k`, `relation.statistics.network.1.mean`. What the inner loop moves of it is called
`task.relation.0.weight`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from quickstudy.episode import Params
from quickstudy.errors import CheckpointError

PARAMETER, HEAD, INNER, CLASSIFIER = "network.", "head.", "inner.", "classifier."
CONSTANT, STATISTICS, MEMORY, TEACHER = "constant.", "statistics.", "memory.", "teacher."
NORMALISATION, EMBEDDING_MEAN = STATISTICS + "network.", STATISTICS + "embedding.mean"
WHITENING = STATISTICS + "embedding.whitening"
SOLVED = MEMORY + "task."
DESCRIPTORS, CENTRE, SPREAD, METRIC = (MEMORY + name for name in ("descriptors", "centre", "spread", "metric"))

_FIRST = (PARAMETER, HEAD, INNER, CLASSIFIER, CONSTANT, STATISTICS, MEMORY, TEACHER)
_OF_A_NETWORK = (PARAMETER, CONSTANT, STATISTICS)

TASK, RULE, READ = "task.", "rule.", "state."
NEW_HEAD = "(head)."


def of_kind(name: str, prefixes: tuple[str, ...]) -> bool:
    """Whether the entry `name` of φ stands under one of `prefixes`, after the name of a second network if it has one.

    >>> of_kind("relation.constant.k", (CONSTANT,)), of_kind("network.constant.weight", (CONSTANT,))
    (True, False)
    """
    own = name.partition(".")[2]
    second = not name.startswith(_FIRST) and own.startswith(_OF_A_NETWORK)
    return (own if second else name).startswith(prefixes)


def names_a_network(name: str) -> bool:
    """Whether a second network can be called so: as nothing else is that stands before entries of φ."""
    return "." not in name and not f"{name}.".startswith(_FIRST)


def trainable(name: str) -> bool:
    """Whether the entry `name` of φ is moved by the outer optimizer; buffers and what was measured or kept is not."""
    return not of_kind(name, (CONSTANT, STATISTICS, MEMORY, TEACHER))


def prefixed(prefix: str, params: Params) -> Params:
    """The entries of `params` whose name starts with `prefix`, without it."""
    return {name[len(prefix) :]: value for name, value in params.items() if name.startswith(prefix)}


def with_prefix(prefix: str, params: Params) -> Params:
    """The same entries, `prefix` before each name."""
    return {prefix + name: value for name, value in params.items()}


def reference(params: Params) -> Tensor:
    """A tensor that lies where φ does, in its precision."""
    return next(value for value in params.values() if value.is_floating_point())


def not_finite(entries: Params) -> str | None:
    """The name of the first entry that holds NaN or infinite values, if there is one."""
    return next((n for n, v in entries.items() if v.is_floating_point() and not bool(torch.isfinite(v).all())), None)


def require_alike(wanted: Params, stored: Params, whose: str, where: str) -> None:
    """CheckpointError, naming an entry, where entries stored in `where` have other names, shapes or types than wanted.

    whose: the wanted entries are, in words.
    """
    for name in sorted(wanted.keys() | stored.keys()):
        here, there = (_kind(params.get(name)) for params in (wanted, stored))
        if here != there:
            raise CheckpointError(
                f"{where} holds {name!r} as {there}, but in {whose} it is {here}: they do not belong together. Restore "
                "the file from a copy, or give the network that was trained."
            )


def _kind(value: Tensor | None) -> str:
    return "nothing" if value is None else f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
