"""One adapted model: a learner that has learned one task. It predicts in the user's own terms, is saved and shipped."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from quickstudy.deploy.domain import Shift, shifted
from quickstudy.deploy.partly import one_by_one, partly_encoded, say_doubtful
from quickstudy.deploy.store import read_model, write_model
from quickstudy.engine import place, resolve_device
from quickstudy.entries import reference
from quickstudy.episode import Examples, Features, Params, State, joined, leaves, map_features
from quickstudy.errors import CheckpointError, ConfigError, DataError, ShapeError, first_of, fitting_together
from quickstudy.formats.base import Format
from quickstudy.formats.records import Broken, Stored, moved, say
from quickstudy.learners import Learner
from quickstudy.learners.frozen import Frozen, frozen
from quickstudy.registry import OWN, models
from quickstudy.spec import TaskSpec, check_examples
from quickstudy.targets.answers import Answer
from quickstudy.targets.base import Distribution
from quickstudy.targets.maps import BACKGROUND, IGNORED, LabelMaps
from quickstudy.training.config import RunConfig
from quickstudy.training.learner import restored_learner

_log = logging.getLogger("quickstudy")
_RESTORE = "Restore it from a copy, or adapt anew."
_TRIED = 7  # records; few axes of anything else are as long


@dataclass(frozen=True, repr=False, eq=False)
class Model:
    """φ and ψ of one task, with what its inputs and answers mean.

    config: of the run. learner: at this task's spec. params, state: φ and ψ. names: of the classes, in the order of
    their ids; () where there are none. fitted: what the format learned of the task, such as the scale of a series.
    built: the tasks that the network was built for, where this one has fewer classes or columns. provenance: from what
    it was learned, and when.
    """

    config: RunConfig
    learner: Learner
    params: Params
    state: State
    names: tuple[str, ...] = ()
    fitted: State = field(default_factory=dict)
    built: TaskSpec | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        told = f"classes {', '.join(self.names)}" if self.names else str(self.spec.target)
        mark = ", transductive" if self.transductive else ""
        return f"Model({self.config.learner.name}, {self.spec.format}, {told}{mark})"

    @property
    def spec(self) -> TaskSpec:
        """What goes in and comes out."""
        return self.learner.spec

    @property
    def transductive(self) -> bool:
        """Whether it followed unlabelled inputs, which may be those that it is asked about, or answers so."""
        return self.learner.transductive or bool(self.provenance.get("transductive"))

    @cached_property
    def _frozen(self) -> Frozen:
        return frozen(self.learner, self.params, self.state)

    def frozen(self) -> nn.Module:
        """φ and ψ bound into a private copy of the network: features in, raw predictions out.

        It is what predicts. Any number of threads may call it at once, and it is what an export traces.
        """
        return self._frozen

    def __call__(self, x: Features) -> Tensor:
        """Raw predictions (n, *prediction_shape) for features x (n, …), in the task's units.

        Raises ShapeError or DataError for what the model cannot take.
        """
        x = self._fitting(x)
        with torch.no_grad():
            raw: Tensor = self._frozen(x)
        _require_finite(raw)
        return raw

    def _fitting(self, x: Features) -> Features:
        """Features where φ is. Raises ShapeError or DataError, naming what does not fit."""
        spec = self.spec
        x = moved(map_features(torch.as_tensor, x), reference(self.params))
        spec.format.check(x, 1, "x")
        for tensor in leaves(x):
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise DataError("x holds NaN or infinite values. Remove or fill them before predicting.")
        return x

    def _said(self, x: Features) -> Distribution:
        x = self._fitting(x)
        with torch.no_grad():
            said = self._frozen.predictive(x)
            said = Distribution(self._frozen(x)) if said is None else said
        _require_finite(said.mean, *([] if said.spread is None else [said.spread]))
        return said

    def predict(self, records: Any, **asked: Any) -> Answer:
        """What the model says of records: files, arrays, rows, the seen values of a series … as the format takes them.

        asked: what else the format can be asked, such as `steps=12` values of a series. Classes come with
        probabilities, numbers in the user's units and, from learners that know how sure they are, with a spread.
        """
        stored = self.spec.format.query(records)
        say(stored.notices)
        return self.answer(stored, **asked)

    def answer(self, stored: Stored, **asked: Any) -> Answer:
        """`predict` for records that the format has stored, by `Format.query`."""
        x = map_features(lambda t: t.to(reference(self.params).device), stored.x)
        if doubts := self.spec.format.doubts(x, self.fitted):
            _log.warning(doubts)
        said = self.spec.format.ask(self._said, x, self.fitted, **asked)
        return self.spec.target.answer(said, self.names, self.spec.format.units(self.fitted))

    def save(self, folder: str | Path) -> Path:
        """Write model.safetensors into `folder`, which must not hold a model or a run yet."""
        return write_model(
            Path(folder),
            {"meta": self.params, "task": self.state, "fitted": self.fitted},
            {
                "config": self.config.to_json(),
                "names": list(self.names),
                "spec": self.spec.to_json(),
                "built": (self.built or self.spec).to_json(),
                "provenance": dict(self.provenance),
            },
        )

    @classmethod
    def load(cls, folder: str | Path, module: nn.Module | None = None, device: str = "auto") -> Model:
        """Read what `save` wrote. `module`: the network, where it was a module of your own."""
        return cls.restored(*read_model(Path(folder)), module, device)

    @classmethod
    def restored(
        cls, tensors: Mapping[str, Any], facts: Mapping[str, Any], module: nn.Module | None, device: str
    ) -> Model:
        """The model of what its file holds; see `load`."""
        config, spec = RunConfig.from_json(facts["config"]), TaskSpec.from_json(facts["spec"])
        built = TaskSpec.from_json(facts["built"])
        learner = restored_learner(config, built, tensors["meta"], module)
        names, on = tuple(facts["names"]), resolve_device(device)
        if spec.ways and len(names) != spec.ways:
            raise CheckpointError(f"The model names {len(names)} classes, but tells {spec.ways} apart. {_RESTORE}")
        with fitting_together("What the model has learned does not fit its settings", _RESTORE):
            learner = (learner if built == spec else learner.at(spec)).evaluated()
            params, state = (place(tensors[part], on, learner.inner_loop) for part in ("meta", "task"))
            fitted = {name: value.to(on) for name, value in tensors["fitted"].items()}
            model = cls(config, learner, params, state, names, fitted, built, facts["provenance"])
            spec.format.ask(model._said, map_features(lambda t: t.to(on), spec.format.trial(_TRIED)), fitted)
        return model


def _require_finite(*said: Tensor) -> None:
    if not all(bool(torch.isfinite(tensor).all()) for tensor in said):
        raise DataError(
            "What the model says is NaN or infinite: its training diverged, its file was damaged, or the input is far "
            "from all that it has learned. Look at the input first, then adapt anew with smaller inner rates."
        )


def adapt(
    config: RunConfig,
    learner: Learner,
    params: Params,
    records: Any = None,
    labels: Any = None,
    provenance: Mapping[str, Any] | None = None,
    broken: Broken = "refuse",
    unlabelled: Any = None,
    shift: Shift = "none",
    shift_steps: int = 10,
    classes: Sequence[str] = (),
    template: str = "{}",
) -> Model:
    """Learn one new task from support records and their labels.

    records: what the format takes: files, arrays, rows, or the seen values of a series, which is its own labels.
    labels: one for each: class names, or numbers. unlabelled: further records without labels, for learners that are
    `semi_supervised`; a class name that is None says the same of one of `records`. shift: what of φ follows them first,
    as inputs of a new domain; see `shifted`. shift_steps: of 'entropy'. classes: names that are examples of their
    classes themselves, put into the template, for texts; `records` are then not needed. params: calibrated φ. Classes
    are numbered in the order of their names. Models of tables take fewer columns than they were built for. broken: what
    to do with a record that cannot be read.
    """
    built, like = learner.spec, reference(params)
    if shift != "none" and unlabelled is None:
        raise ConfigError(f"shift={shift!r} follows unlabelled inputs, and there are none. Give them: unlabelled=….")
    extra: list[tuple[Any, Any]] = [(built.format.of_names(classes, template), list(classes))] if classes else []
    if records is None and extra:
        records, labels = extra.pop()
    if unlabelled is not None and shift == "none" and not learner.semi_supervised:
        raise ConfigError(
            f"The learner {config.learner.name!r} makes nothing of support examples without a label. Leave unlabelled "
            "out, let φ follow them (shift='statistics'), or train one that learns from them: --learner semi-protonet."
        )
    if unlabelled is not None and learner.semi_supervised:
        extra.append((unlabelled, None))
    support, names, fitted, spec = support_set(learner, config, records, labels, like, broken, extra)
    learner = (learner if spec == built else learner.at(spec)).evaluated()
    told: dict[str, Any] = {"support": len(support.mask)} | ({"classes": list(classes)} if classes else {})
    with torch.no_grad():
        if shift != "none":
            domain = spec.format.store(unlabelled, broken).x
            x = moved(spec.format.features(map_features(lambda t: t.to(like.device), domain), fitted), like)
            params = shifted(learner, params, support, x, shift, shift_steps)
            told |= {"shift": shift, "unlabelled": len(leaves(x)[0]), "transductive": True}
        state = place(learner.adapt(params, support), like.device, learner.inner_loop)
    return Model(config, learner, params, state, names, fitted, built, {**(provenance or {}), **told})


def support_set(
    learner: Learner,
    config: RunConfig,
    records: Any,
    labels: Any,
    like: Tensor,
    broken: Broken = "refuse",
    extra: Sequence[tuple[Any, Any]] = (),
) -> tuple[Examples, tuple[str, ...], State, TaskSpec]:
    """The support set of records and labels, the names of its classes, what the format learned, and the task's spec.

    learner: built for the tasks of training. like: a tensor where the examples are to lie, in their precision. extra:
    further records and their labels, None for those that have none.
    """
    built = learner.spec
    if built.target.grid and labels is None and isinstance(records, str | Path):
        found = built.find(records)
        records, labels = found.items, found.labels
    opened = built.format.opened(records)
    stored = opened.store(records, broken)
    say(stored.notices)
    if built.target.grid:
        stored, labels = with_maps(built.format, stored, records, labels, broken)
    elif broken == "skip" and labels is not None:
        labels = [labels[i] for i in stored.kept]
    if not len(leaves(stored.x)[0]):
        raise DataError("There is no support example to learn from. Give at least one of each class.")
    for more, told in extra:
        further = opened.store(more, broken)
        say(further.notices)
        given = [None] * len(further.kept) if told is None else [told[i] for i in further.kept]
        labels = [*one_by_one(labels), *given]
        stored = stored._replace(x=joined(stored.x, further.x))
    format = opened.fitting(stored.x, records)
    narrower = models.traits(config.model.name).narrower
    if format.layout != built.format.layout and not _takes(learner, config, format):
        most = " and takes no larger ones" if narrower else ""
        raise ShapeError(
            f"The support set is {format}, but the run was trained on {built.format}{most}. Give examples of that "
            "shape, or train on such as these."
        )
    x = map_features(lambda t: t.to(like.device), stored.x)
    fitted = format.prepare(x)
    features, labels = format.examples(x, labels, fitted)
    target = built.target.taking(labels)
    y, names = partly_encoded(target, labels, learner.semi_supervised)
    count = len(leaves(features)[0])
    if len(y) != count:
        raise DataError(f"There are {count} support examples but {len(y)} labels. Give one label for each.")
    if built.target.relabels and len(names) < 2:
        raise DataError(f"All support examples are of one class ({', '.join(names)}). Give at least two classes.")
    if built.target.relabels and y.dim() == 1 and len(leaves(stored.x)[0]) == count:
        say_doubtful(stored.x, y, names, records, stored.kept, format.what)
    spec = TaskSpec(format, target).at(len(names))
    mask = torch.ones(count, dtype=torch.bool, device=like.device)
    support = Examples(moved(features, like), leaves(moved(y, like))[0], mask)
    check_examples(support, spec, partly=learner.semi_supervised)
    return support, names, fitted, spec


def with_maps(format: Format, stored: Stored, records: Any, labels: Any, broken: Broken) -> tuple[Stored, LabelMaps]:
    """The stored records that have maps of labels, and these."""
    if labels is None:
        raise DataError(f"Learning masks needs one for each of the {format.what}. Give them: run.adapt(images, masks).")
    if len(stored.kept) < len(records):
        records = [records[i] for i in stored.kept]
        labels = labels.chosen(stored.kept) if isinstance(labels, LabelMaps) else [labels[i] for i in stored.kept]
    maps, kept, left_out = format.maps(records, labels, broken)
    if left_out:
        say([f"{len(left_out)} masks left out: {first_of(left_out)}"])
    void = (maps.ids == IGNORED).flatten(1).all(1).nonzero().flatten().tolist()
    if void:
        record = records[kept[void[0]]]
        name = str(record) if isinstance(record, str | Path) else f"example {kept[void[0]]}"
        raise DataError(f"The mask of {name} labels no pixel: all are to be ignored. Drop it, or label some.")
    there = set(maps.ids.unique().tolist())  # type: ignore[no-untyped-call]
    unseen = [name for i, name in enumerate(maps.names) if i not in there and name != BACKGROUND]
    if len(unseen) == len(set(maps.names) - {BACKGROUND}):
        raise DataError(f"The masks show nothing but {BACKGROUND}. Give one at least that shows what is to be found.")
    if unseen:
        say([f"Classes that no mask shows are left out of all answers: {first_of(unseen)}"])
    x = map_features(lambda t: t[kept], stored.x)
    return Stored(x, [stored.kept[i] for i in kept], stored.notices), maps


def _takes(learner: Learner, config: RunConfig, format: Format) -> bool:
    """Whether the network takes another format than it was built for: if its model says so, or one of one's own does
    when it is tried."""
    built, traits = learner.spec.format, models.traits(config.model.name)
    if traits.wider and format.accepts(built):
        return True
    if not built.accepts(format):
        return False
    if config.model.name != OWN:
        return traits.narrower
    try:
        learner.network.output_shape(format)
    except (RuntimeError, ValueError, TypeError, LookupError):  # what networks raise for a shape that they do not take
        return False
    return True
