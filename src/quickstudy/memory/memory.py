"""The loop: describe a task, recall what fits, start from it, adjust, and put what was learned back."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from quickstudy.brief import Brief
from quickstudy.entries import PARAMETER, TASK, not_finite, prefixed, reference
from quickstudy.episode import Episode, Examples, Params, State, task
from quickstudy.errors import ConfigError, DataError, unknown_name
from quickstudy.formats.records import moved
from quickstudy.learners.descent import task_parameters
from quickstudy.learners.memory import MemoryLearner
from quickstudy.memory.bank import Bank
from quickstudy.memory.beside import beside
from quickstudy.memory.codec import Codec, decode, encode
from quickstudy.memory.entry import Entry, base_id, pack_examples, signature, statistics_of
from quickstudy.memory.solved import Solved, Start
from quickstudy.spec import TaskSpec, check_examples
from quickstudy.storage.tensors import checksum
from quickstudy.tasks.base import Source

Keep = Literal["hash", "examples"]
"""What of a support set is stored: its hash, or the examples themselves."""
_CANDIDATES = 2  # times `nearest`: some may turn out to be damaged, or to have been removed
_log = logging.getLogger(__name__)


@dataclass
class Memory(Brief):
    """A bank, and the learner that fills it and starts from it.

    learner: see `quickstudy.learners.MemoryLearner`; its rule and steps are the base model's too. params: φ,
    calibrated: it describes the tasks, and is the start where nothing near is remembered. codec: how parameters are
    stored. keep: what of a support set is stored. facts: what is stored beside φ, such as the config of its run.
    """

    bank: Bank
    learner: MemoryLearner
    params: Params
    codec: Codec = "float32"
    keep: Keep = "hash"
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._id = base_id(self.learner, self.params)
        self.signature = signature(self.learner, self.params, self._id)
        self._stored = False

    @property
    def base(self) -> str:
        """The id of φ in the bank; it is stored when it is first asked for."""
        if not self._stored:
            body = self.learner.body(prefixed(PARAMETER, self.params))
            facts = {**self.facts, "body": sorted(body), "codec": self.codec, "keep": self.keep}
            self.bank.phi.add(self._id, self.params, facts)
            self._stored = True
        return self._id

    def recall(self, support: Examples, spec: TaskSpec | None = None) -> tuple[Params, list[Entry]]:
        """φ with the memories near to this support set, and their entries. spec: as for `adapt`.

        Entries that are damaged or were deleted meanwhile are left out with a warning. φ alone where nothing fits.
        """
        learner, support = self._fitting(support, spec)
        return self._recalled(learner.description(self.params, support))

    def _recalled(self, described: Tensor) -> tuple[Params, list[Entry]]:
        learner, params = self.learner, self.params
        if not len(self.bank):
            return params, []
        try:
            near = self.bank.recall(
                learner.asked(params, described), _CANDIDATES * learner.nearest, signature=self.signature
            )
        except DataError as error:
            _log.warning("%s Starting from φ.", error)
            return params, []
        tasks_by_id, wrong = self.bank.load_many([entry.id for entry, _ in near])
        for text in wrong.values():
            _log.warning("%s It is left out.", text)
        entries = [entry for entry, _ in near if entry.id in tasks_by_id]
        tasks = [tasks_by_id[entry.id] for entry in entries]
        if not entries:
            return params, []
        like = reference(params)
        there = [{name: value.to(like) for name, value in one.items()} for one in tasks]
        return learner.remembering(params, torch.stack([e.descriptor for e in entries]).to(like), there), entries

    def search(self, support: Examples, count: int = 5, spec: TaskSpec | None = None) -> list[tuple[Entry, float]]:
        """The `count` remembered tasks most like this one, with their closeness. spec: as for `adapt`.

        Raises DataError if none fits.
        """
        learner, support = self._fitting(support, spec)
        with torch.no_grad():
            asked = learner.asked(self.params, learner.description(self.params, support))
        return self.bank.recall(asked, count, signature=self.signature)

    def _fitting(self, support: Examples, spec: TaskSpec | None) -> tuple[MemoryLearner, Examples]:
        """The learner for as many classes as the support set has, and the support set as `_checked`."""
        if not bool(support.mask.any()):
            raise DataError("There is no example to learn from: the mask is False everywhere.")
        spec = self.learner.spec if spec is None else spec
        learner = self.learner.at(replace(spec, target=spec.target.of(support)))
        return learner, self._checked(support, learner.spec)

    def _checked(self, examples: Examples, spec: TaskSpec) -> Examples:
        """On φ's device and in its precision. Raises ShapeError or DataError for examples that do not fit."""
        like = reference(self.params)
        checked = Examples(moved(examples.x, like), moved(examples.y, like), examples.mask.to(like.device))  # type: ignore[arg-type]
        if not bool(checked.mask.any()):
            raise DataError("There is no example to be judged on: the mask of the query set is False everywhere.")
        check_examples(checked, spec)
        return checked

    def adapt(
        self,
        support: Examples,
        *,
        query: Examples | None = None,
        spec: TaskSpec | None = None,
        name: str = "",
        start: Start = "memory",
        remember: bool = False,
        uri: str = "",
        seed: int = 0,
        even_if_worse: bool = False,
    ) -> Solved:
        """Learn the task that has this support set (n, …); `remember` writes it back.

        Memories are only started from if that is no worse than φ for support examples that are left out, see `Beside`,
        which takes up to ten further adaptations; even_if_worse: without a look at that.

        query: examples to measure on. spec: of the task, where its format is not that of the others, as for tables of
        fewer columns. uri: where the examples lie. seed: of the fresh network of start='random'.
        """
        learner, support = self._fitting(support, spec)
        learner = learner.evaluated()
        query = None if query is None else self._checked(query, learner.spec)
        with torch.no_grad():
            described = learner.description(self.params, support)
            params, entries = self._started(start, described, seed)
            checked = None
            if entries and not even_if_worse:
                checked = beside(learner, params, self.params, support)
                params = self.params if checked.worse else params
            state = learner.adapt(params, support)
            judged = support if query is None else query
            loss, metric = learner.judge(params, state, judged)
        what, of = learner.spec.target.metric.name, "" if query is not None else "support "
        metrics = {f"{of}loss": float(loss), f"{of}{what}": float(metric)}
        numbers, closeness = state["recalled"].tolist(), state["closeness"].tolist()
        recalled = tuple((entries[i], near) for i, near in zip(numbers, closeness, strict=True) if i >= 0)
        id = None
        if remember and (bad := not_finite(state)) is not None:
            _log.warning("The task %r is not remembered: its training diverged (%s). Lower the inner rate.", name, bad)
        elif remember:
            parents = tuple(entry.id for entry, _ in recalled)
            id = self._remember(learner, state, described, support, judged, metrics, name, parents, uri)
        return Solved(state, recalled, metrics, start, id, checked)

    def _started(self, start: Start, described: Tensor, seed: int) -> tuple[Params, list[Entry]]:
        if start == "memory":
            return self._recalled(described)
        if start == "phi":
            return self.params, []
        if start == "random":
            fresh = self.learner.init(torch.Generator().manual_seed(seed))
            return self.params | {name: value.to(self.params[name]) for name, value in fresh.items()}, []
        raise unknown_name("start", start, ("memory", "phi", "random"))

    def _remember(
        self,
        learner: MemoryLearner,
        state: State,
        described: Tensor,
        support: Examples,
        judged: Examples,
        metrics: dict[str, float],
        name: str,
        parents: tuple[str, ...],
        uri: str,
    ) -> str:
        solved, origin = task_parameters(state), prefixed(PARAMETER, self.params)
        data = encode(solved, origin, self.codec)
        with torch.no_grad():  # what is lost by storing it so
            stored = {TASK + n: v.to(solved[n]) for n, v in decode(data, origin, self.codec).items()}
            loss, metric = learner.judge(self.params, state | stored, judged)
        figures = metrics | {f"stored {k}": float(v) for k, v in zip(metrics, (loss, metric), strict=True)}
        examples = pack_examples(support)
        entry = Entry(
            name=name or "task",
            signature=self.signature,
            base=self.base,
            learner=type(self.learner).__name__,
            codec=self.codec,
            descriptor=described,
            statistics=statistics_of(support, learner.spec),
            metrics=figures,
            parents=parents,
            support_hash=checksum(examples),
            support_uri=uri,
        )
        return self.bank.add([(entry, data, examples if self.keep == "examples" else None)])[0]

    def build(
        self,
        source: Source,
        count: int,
        *,
        split: str = "train",
        first: int = 0,
        start: Start = "memory",
        remember: bool = True,
        progress: Callable[[int, Solved], None] | None = None,
        even_if_worse: bool = True,
    ) -> list[Solved]:
        """Learn tasks `first` … `first + count − 1` of a split one after another, and remember each.

        even_if_worse: start from memories unchecked, which is faster; see `adapt`.
        """
        if count < 1:
            raise ConfigError(f"The number of tasks to remember must be at least 1, found {count}.")
        source.check(split)
        solutions = []
        for index in range(first, first + count):
            episode: Episode = task(source.episodes(split, torch.tensor([index])), 0)
            solved = self.adapt(
                episode.support, query=episode.query, name=task_name(source, split, index), start=start,
                remember=remember, uri=f"{split}/{index}", seed=index, even_if_worse=even_if_worse,
            )  # fmt: skip
            solutions.append(solved)
            if progress is not None:
                progress(len(solutions), solved)
        return solutions


def task_name(source: Source, split: str, index: int) -> str:
    """The group that all classes of a task share, if there is one, and the task's number."""
    groups = {name.rpartition("/")[0] for name in source.class_names(split, index)}
    group = groups.pop() if len(groups) == 1 else ""
    return f"{group or split} {index}"
