"""One adapted model: a learner that has learned one task. It predicts in the user's own terms, is saved and shipped."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from quickstudy.deploy import answering, grow
from quickstudy.deploy.adapted import Adapted
from quickstudy.deploy.changed import changed
from quickstudy.deploy.export.export import To, export
from quickstudy.deploy.export.subject import Subject
from quickstudy.deploy.grown import IfWorse
from quickstudy.deploy.labelled import Labelled
from quickstudy.deploy.next import next_to_label
from quickstudy.deploy.packing import packed, unpacked
from quickstudy.deploy.scored import Scored
from quickstudy.deploy.scoring import scored
from quickstudy.deploy.shown import Shown
from quickstudy.deploy.store import read_model, write_model
from quickstudy.deploy.threshold import threshold
from quickstudy.deploy.versions import replace_model, undo
from quickstudy.episode import Features
from quickstudy.errors import ConfigError
from quickstudy.formats.records import Broken, Stored, say
from quickstudy.targets.answers.base import Answer
from quickstudy.trust.estimate import Accuracy

_log = logging.getLogger("quickstudy")


class Model(Adapted):
    """A task that was learned: it answers, grows, is saved and shipped. What it holds is in `Adapted`."""

    def frozen(self) -> nn.Module:
        """φ and ψ bound into a private copy of the network: features in, raw predictions out.

        It is what predicts. Any number of threads may call it at once, and it is what an export traces.
        """
        return self.computed.forward.frozen

    def __call__(self, x: Features) -> Tensor:
        """Raw predictions (n, *prediction_shape) for features x (n, …), in the task's units.

        Raises ShapeError or DataError for what the model cannot take.
        """
        return self.computed.raw(x)

    @property
    def estimate(self) -> Accuracy:
        """How often it is right, from its support set alone, with an interval that holds in 90 % of tasks.

        `model.trust.estimate(0.8)` has another level. ConfigError, which says why, where nothing tells.
        """
        return self.trusted("tell how often it is right").estimate()

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
        return threshold(self, background, false_alarms)

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
        x = answering.on_device(self, stored.x)
        if doubts := self.spec.format.doubts(x, self.fitted):
            _log.warning(doubts)
        answer = answering.answered(self, self.computed, x, coverage, false_alarms, least, asked)
        return answer.shown_by(Shown.of(self.spec.format, stored.x, self.fitted, len(answer)))

    def told(
        self,
        stored: Stored,
        *,
        coverage: float | None = None,
        false_alarms: float | None = None,
        embedded: Features | None = None,
        **asked: Any,
    ) -> answering.Told:
        """`answer` with raw predictions, and with how near the inputs are to the support examples, by one forward.

        embedded: what `Learner.embed` gives for the features, where that is known already.
        """
        return answering.told(self, stored, coverage, false_alarms, embedded, asked)

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
        return next_to_label(self, records, count)

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
        return changed(self, grow.more(self, records, labels, broken, if_worse), "more")

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
        return changed(self, grow.without(self, classes, examples, labels, broken, if_worse), "without")

    def sealed(self) -> Model:
        """The same model without the examples that it was adapted to, in their place sums if its learner has such."""
        kept, tally = grow.sealed(self)
        return replace(self, kept=kept, tally=tally)

    def save(self, folder: str | Path, replacing: bool = False) -> Path:
        """Write model.safetensors into `folder`, which must not hold a model or a run yet.

        replacing: take the place of the model that is there, which becomes a version that `undo` brings back; whoever
        reads meanwhile, or after a kill, finds one of the two.
        """
        return (replace_model if replacing else write_model)(Path(folder), *packed(self))

    def export(self, folder: str | Path, to: To = "onnx", adapt: bool = False, wasm: str | Path | None = None) -> Path:
        """Write the model as a graph, for programs that have neither quickstudy nor PyTorch, into a new `folder`.

        to: 'onnx'; 'torch', a program of torch.export; or 'web', a page that answers, and learns, in the browser.
        adapt: with the graph that still learns: support examples, labels and queries in, answers out. wasm: the folder
        of onnxruntime-web, for 'web', if it is not found. What was written is run and held against the model. Extra
        'export'. ConfigError for formats, learners and targets that are not exported, which are named.
        """
        return export(Subject.adapted(self), Path(folder), to, adapt, None if wasm is None else Path(wasm))

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
        return unpacked(cls, tensors, facts, module, device)
