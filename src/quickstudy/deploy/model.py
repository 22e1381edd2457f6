"""One adapted model: a learner that has learned one task. It predicts in the user's own terms, is saved and shipped."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from quickstudy.deploy import grow
from quickstudy.deploy.answering import Told, answered, cosines, most_of, threshold, trusted
from quickstudy.deploy.export.export import To, export
from quickstudy.deploy.export.subject import Subject
from quickstudy.deploy.grown import Grown, IfWorse
from quickstudy.deploy.labelled import Labelled
from quickstudy.deploy.scored import Scored
from quickstudy.deploy.scoring import scored
from quickstudy.deploy.shown import Shown
from quickstudy.deploy.store import read_model, write_model
from quickstudy.deploy.support import Kept
from quickstudy.deploy.versions import replace_model, undo
from quickstudy.engine import place, resolve_device
from quickstudy.entries import reference
from quickstudy.episode import Features, Params, State, leaves, map_features
from quickstudy.errors import CheckpointError, ConfigError, DataError, first_of, fitting_together
from quickstudy.formats.records import Broken, Stored, moved, say
from quickstudy.learners import Learner
from quickstudy.learners.frozen import Frozen, frozen
from quickstudy.pages.notebook import card
from quickstudy.spec import TaskSpec
from quickstudy.tally import Tally
from quickstudy.targets.answers.base import Answer
from quickstudy.targets.base import Distribution
from quickstudy.training.config import RunConfig
from quickstudy.training.learner import restored_learner
from quickstudy.trust.ask import worth
from quickstudy.trust.estimate import Accuracy
from quickstudy.trust.task import AnyTrust, TaskTrust, trust_or_why
from quickstudy.trust.task import restored as restored_trust

_log = logging.getLogger("quickstudy")
_RESTORE = "Restore it from a copy, or adapt anew."
_TRIED = 7  # records; few axes of anything else are as long


@dataclass(frozen=True, repr=False, eq=False)
class Model:
    """φ and ψ of one task, with what its inputs and answers mean.

    config: of the run. learner: at this task's spec. params, state: φ and ψ. names: of the classes, in the order of
    their ids; () where there are none. fitted: what the format learned of the task, such as the scale of a series.
    built: the tasks that the network was built for, where this one has fewer classes or columns. provenance: from what
    it was learned, and when. trust: how far it can be believed, see `quickstudy.trust`; None where nothing tells.
    """

    config: RunConfig
    learner: Learner
    params: Params
    state: State
    names: tuple[str, ...] = ()
    fitted: State = field(default_factory=dict)
    built: TaskSpec | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    trust: AnyTrust | None = None
    kept: Kept | None = None
    tally: Tally | None = None

    def __repr__(self) -> str:
        told = f"classes {first_of(self.names)}" if self.names else str(self.spec.target)
        mark = ", transductive" if self.transductive else ""
        return f"Model({self.config.learner.name}, {self.spec.format}, {told}{mark})"

    def _repr_html_(self) -> str:
        told = dict(self.provenance)
        count = told.get("support")
        known = {"run": "of the run", "adapted_at": "learned", "recalled": "started from"}
        return card(
            f"An adapted model: {self.config.learner.name}",
            [
                ("takes", str(self.spec.format)),
                ("says", first_of(self.names) if self.names else str(self.spec.target)),
                *(
                    [("learned from", f"{count} {self.spec.format.example}{'' if count == 1 else 's'}")]
                    if count
                    else []
                ),
                *((what, str(told[name])) for name, what in known.items() if told.get(name)),
                *([("transductive", "its answers may depend on each other")] if self.transductive else []),
            ],
        )

    @property
    def spec(self) -> TaskSpec:
        """What goes in and comes out."""
        return self.learner.spec

    @property
    def count(self) -> int:
        """How many examples it was adapted to."""
        return int(self.provenance.get("support", 0))

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
        if torch.compiler.is_exporting():  # where nobody knows the values yet
            return x
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

    @property
    def estimate(self) -> Accuracy:
        """How often it is right, from its support set alone, with an interval that holds in 90 % of tasks.

        `model.trust.estimate(0.8)` has another level. ConfigError, which says why, where nothing tells.
        """
        return trusted(self, "tell how often it is right").estimate()

    def predict(
        self,
        records: Any,
        *,
        coverage: float | None = None,
        false_alarms: float | None = None,
        background: Any = None,
        **asked: Any,
    ) -> Answer:
        """What the model says of records: files, arrays, rows, the seen values of a series … as the format takes them.

        asked: what else the format can be asked, such as `steps=12` values of a series. Classes come with
        probabilities, numbers in the user's units and, from learners that know how sure they are, with a spread. A
        model of classes with `trust` also says how likely an input is of one of them (`known`), and its probabilities
        are calibrated. coverage: also give the set of classes that holds the right one in this share of cases, or of
        numbers the interval that holds the true one. false_alarms: also say which inputs are of none of the classes,
        such that this share of those that are is taken for others. background: records that are of none; no more than
        the same share of the like is then taken for a class, see `threshold`.
        """
        stored = self.spec.format.query(records)
        say(stored.notices)
        least = None
        if background is not None:
            if false_alarms is None:
                raise ConfigError(
                    "Background says which inputs to refuse at a rate of false alarms: false_alarms=0.05."
                )
            least = self.threshold(background, false_alarms)
        return self.answer(stored, coverage=coverage, false_alarms=false_alarms, least=least, **asked)

    def threshold(self, background: Any, false_alarms: float = 0.05) -> float:
        """How likely an input must be of one of the classes (`known`), so that at most this share of inputs like
        `background`, records that are of none, is taken for one. ConfigError, with how many are needed, for too few."""
        return threshold(self, self._embedded, background, false_alarms)

    def answer(
        self,
        stored: Stored,
        *,
        coverage: float | None = None,
        false_alarms: float | None = None,
        least: float | None = None,
        **asked: Any,
    ) -> Answer:
        """`predict` for records that the format has stored, by `Format.query`. least: what `threshold` gives."""
        x = map_features(lambda t: t.to(reference(self.params).device), stored.x)
        if doubts := self.spec.format.doubts(x, self.fitted):
            _log.warning(doubts)
        answer = answered(self, self._said, self._embedded, x, coverage, false_alarms, least, asked)
        return answer.shown_by(Shown.of(self.spec.format, stored.x, self.fitted, len(answer)))

    def told(
        self,
        stored: Stored,
        *,
        coverage: float | None = None,
        false_alarms: float | None = None,
        embedded: Features | None = None,
        **asked: Any,
    ) -> Told:
        """`answer` with raw predictions, and with how near the inputs are to the support examples, by one forward.

        embedded: what `Learner.embed` gives for the features, where that is known already.
        """
        x = map_features(lambda t: t.to(reference(self.params).device), stored.x)
        logits, near = list[Tensor](), list[Tensor]()

        def embed(features: Features) -> tuple[Tensor, Features]:
            said, z = self._embedded(features) if embedded is None else self._after(embedded)
            logits.append(said)
            if (support := self._compared) is not None:
                near.append(cosines(leaves(z)[0], support))
            return said, z

        answer = answered(self, self._said, embed, x, coverage, false_alarms, None, asked)
        owner = self.spec.format.owners(x)
        return Told(
            answer, torch.cat(logits).cpu() if logits else None, most_of(torch.cat(near), owner).cpu() if near else None
        )

    @cached_property
    def _compared(self) -> Tensor | None:
        """The support examples (n, D) as the learner compares them; None where nothing does."""
        if isinstance(self.trust, TaskTrust):
            return None if self.trust.support is None else leaves(self.trust.support.x)[0]
        return None

    def score(
        self,
        records: Any,
        labels: Any = None,
        broken: Broken = "refuse",
        *,
        coverage: float | None = None,
        false_alarms: float | None = None,
        **asked: Any,
    ) -> Scored:
        """How good the model is on labelled records that it was not adapted to, beside answering without a look.

        records, labels: as `Run.adapt` takes them, or a place that has both: a folder with a sub-folder for each class,
        a file of rows; of a series its values alone, of which the last `steps` are forecast from the others. Records
        that hold what the model was not shown are counted apart, see `Scored.unknown`. coverage,
        false_alarms, asked: as for `predict`; how often sets held the truth is then in `Scored.promises`, and how many
        records were taken for none of the classes in `Scored.refusals`.

        >>> print(model.score("labelled-photos"))  # doctest: +SKIP
        accuracy 91.0 % (83.8 to 95.2 %) on 100 images; guessing 20.0 %
        """
        given = Labelled.of(self.spec, records, labels, broken)
        answer = partial(self.answer, coverage=coverage, false_alarms=false_alarms)
        return scored(self.spec, self.names, answer, given, broken, self.transductive, false_alarms, **asked)

    def next(self, records: Any, count: int = 1) -> list[int]:
        """Which of these unlabelled records to label next, by their numbers, the one that would help most first.

        Those between two classes, likely of one of the classes at all, and unlike each other. ConfigError for models
        that tell no classes apart.
        """
        if not self.spec.target.calibrates:
            raise ConfigError(
                f"Which record to label next is said by models of classes; this one tells {self.spec.target}."
            )
        if count < 1:
            raise ConfigError(f"At least 1 record can be labelled next, found count={count}.")
        stored = self.spec.format.query(records)
        say(stored.notices)
        x = map_features(lambda t: t.to(reference(self.params).device), stored.x)
        known: list[Tensor | None] = []

        def asked(features: Features) -> Distribution:
            logits, z = self._embedded(features)
            judged = self.trust.judge(logits, z) if isinstance(self.trust, TaskTrust) else None
            p = (logits if judged is None else judged.logits).softmax(1)
            place = p if self.learner.embedded is None else leaves(z)[0]
            known.append(None if judged is None else judged.known)
            return Distribution(torch.cat([p, place.flatten(1)], dim=1))

        p, place = self.spec.format.ask(asked, x, self.fitted).mean.tensor_split([len(self.names)], dim=1)
        told = [one for one in known if one is not None]
        familiar = most_of(torch.cat(told), self.spec.format.owners(x)) if told else None
        return [stored.kept[i] for i in worth(p, familiar, place, count)]

    def _embedded(self, x: Features) -> tuple[Tensor, Features]:
        """Raw predictions for features x, and their embeddings as they are compared, or x as it is."""
        x = self._fitting(x)
        with torch.no_grad():
            if self.learner.embedded is None:
                logits: Tensor = self._frozen(x)
                z = x
            else:
                return self._after(self.learner.embed(self.params, x))
        _require_finite(logits)
        return logits, z

    def _after(self, z: Features) -> tuple[Tensor, Features]:
        """Raw predictions for what the learner has embedded, and the embeddings as they are compared."""
        after = self._head
        with torch.no_grad():
            logits, compared = after.predict(self.params, self.state, z), after.compared(self.params, z)
        _require_finite(logits)
        return logits, compared

    @cached_property
    def _head(self) -> Learner:
        if (after := self.learner.embedded) is None:
            raise ConfigError(f"The learner {self.config.learner.name!r} embeds nothing. Leave embeddings out.")
        return after

    @cached_property
    def _actor(self) -> Any:
        return self.learner.acting(self.params, self.state)

    def act(self, observation: Any, reward: float | None = None, first: bool = False) -> Any:
        """What an agent does next, see `quickstudy.rl.acting.Actor`; it remembers what came before.

        For several environments at once, or threads, make an actor for each: model.actor().
        """
        return self._actor.act(observation, reward, first)

    def actor(self, greedy: bool = False, seed: int = 0, space: Any = None) -> Any:
        """One that acts as `act` does, with a memory of its own. greedy: by the likeliest actions. seed: of others.
        space: the action_space of an environment of Gymnasium, to whose bounds numbers are mapped."""
        return self.learner.acting(self.params, self.state, greedy=greedy, seed=seed, space=space)

    def more(self, records: Any, labels: Any = None, broken: Broken = "refuse", if_worse: IfWorse = "say") -> Model:
        """The model after further examples, of classes that it knows or of new ones, without the run.

        It is what adapting to all examples at once gives. records, labels, broken: as in `Run.adapt`; of a series, the
        values that followed. if_worse: whether a model that answers worse for the examples that it knew before is
        told as a warning, or refused by a DataError. Raises ConfigError for a model that has kept neither its examples
        nor sums of them.

        >>> model = model.more(["cat3.jpg", "owl1.jpg"], ["cat", "owl"])  # doctest: +SKIP
        """
        return self._changed(grow.more(self, records, labels, broken, if_worse), "more")

    def without(
        self,
        classes: Any = (),
        examples: Any = None,
        labels: Any = None,
        broken: Broken = "refuse",
        if_worse: IfWorse = "say",
    ) -> Model:
        """The model as if classes, by name, or examples had never been there. A class that loses its last example goes.

        classes: one name, or several. examples: their indices in the support set, a mask over it, or the records
        themselves. labels: of these, which only a model
        needs that has not kept its examples. if_worse: as in `more`. Raises ConfigError where what is kept does not
        tell them from the others, DataError where fewer than two classes would be left.
        """
        return self._changed(grow.without(self, classes, examples, labels, broken, if_worse), "without")

    def sealed(self) -> Model:
        """The same model without the examples that it was adapted to, in their place sums if its learner has such."""
        kept, tally = grow.sealed(self)
        return replace(self, kept=kept, tally=tally)

    def _changed(self, grown: Grown, how: str) -> Model:
        """The model after a change, which its provenance tells."""
        learner, state, names, fitted, kept, tally, count, effect, examples = grown
        told: dict[str, Any] = {
            "change": how,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "support": [self.count, count],
            "classes added": [name for name in names if name not in self.names],
            "classes gone": [name for name in self.names if name not in names],
        }
        if effect is not None:
            told["known"] = effect.to_json()
        provenance = {**self.provenance, "support": count, "history": [*self.provenance.get("history", ()), told]}
        trust = self.trust
        if trust is not None:
            trust, why = (
                (None, "it has changed without its examples, which it has not kept (keep=False).")
                if examples is None
                else trust_or_why(trust.trust, learner, self.params, examples)
            )
            provenance |= {"no trust": why} if trust is None else {}
        return replace(
            self, learner=learner, state=state, names=names, fitted=fitted, trust=trust, kept=kept, tally=tally,
            provenance=provenance,
        )  # fmt: skip

    def save(self, folder: str | Path, replacing: bool = False) -> Path:
        """Write model.safetensors into `folder`, which must not hold a model or a run yet.

        replacing: take the place of the model that is there, which becomes a version that `undo` brings back; whoever
        reads meanwhile, or after a kill, finds one of the two.
        """
        parts = {
            "meta": self.params,
            "task": self.state,
            "fitted": self.fitted,
            "support": {} if self.kept is None else self.kept.entries(),
            "tally": {} if self.tally is None else self.tally.entries(),
            "trust": {} if self.trust is None else self.trust.tensors(),
        }
        facts = {
            "config": self.config.to_json(),
            "names": list(self.names),
            "spec": self.spec.to_json(),
            "built": (self.built or self.spec).to_json(),
            "provenance": dict(self.provenance),
            **({} if self.trust is None else {"trust": self.trust.trust.to_json()}),
        }
        return (replace_model if replacing else write_model)(Path(folder), parts, facts)

    def export(self, folder: str | Path, to: To = "onnx", adapt: bool = False, wasm: str | Path | None = None) -> Path:
        """Write the model as a graph, for programs that have neither quickstudy nor PyTorch, into a new `folder`.

        to: 'onnx'; 'torch', a program of torch.export; or 'web', a page that answers, and learns, in the browser.
        adapt: with the graph that still learns: support examples, labels and queries in, answers out. wasm: the folder
        of onnxruntime-web, for 'web', if it is not found. What was written is run and held against the model. Extra
        'export'. ConfigError for formats, learners and targets that are not exported, which are named.
        """
        subject = Subject.adapted(
            self.config, self.learner, self.params, self.state, self.names, self.fitted, self.trust, self.kept,
            self.provenance,
        )  # fmt: skip
        return export(self, subject, Path(folder), to, adapt, None if wasm is None else Path(wasm))

    @classmethod
    def undo(cls, folder: str | Path, module: nn.Module | None = None, device: str = "auto") -> Model:
        """Bring back, and load, the model that was in `folder` before the last `save(folder, replacing=True)`."""
        return cls.load(undo(folder), module, device)

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
            trust = None
            if "trust" in facts:
                trust = restored_trust(facts["trust"], {n: v.to(on) for n, v in tensors["trust"].items()})
            kept, tally = Kept.of(tensors.get("support", {})), Tally.of(place(tensors.get("tally", {}), on))
            model = cls(config, learner, params, state, names, fitted, built, facts["provenance"], trust, kept, tally)
            spec.format.ask(model._said, map_features(lambda t: t.to(on), spec.format.trial(_TRIED)), fitted)
        return model


def _require_finite(*said: Tensor) -> None:
    if torch.compiler.is_exporting():
        return
    if not all(bool(torch.isfinite(tensor).all()) for tensor in said):
        raise DataError(
            "What the model says is NaN or infinite: its training diverged, its file was damaged, or the input is far "
            "from all that it has learned. Look at the input first, then adapt anew with smaller inner rates."
        )
