"""The training loop: episodes, meta-gradient, outer step; held-out validation decides which φ is kept."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.engine import Engine, Tuner, trains_on
from quickstudy.engine.distribute import Group
from quickstudy.engine.kept import on_features
from quickstudy.engine.vectorize import Gradients
from quickstudy.episode import Episode, Params, map_episode
from quickstudy.errors import ConfigError, QuickstudyError, RunError
from quickstudy.evaluation.evaluate import evaluate
from quickstudy.evaluation.result import Result
from quickstudy.registry import learners
from quickstudy.storage.checkpoint import load_checkpoint, save_checkpoint
from quickstudy.tasks.base import held_out
from quickstudy.training.best import Best, Facts
from quickstudy.training.build import Parts, calibrated, initial_params, unfilled_params
from quickstudy.training.choice import Choice, alignment
from quickstudy.training.config import RunConfig
from quickstudy.training.metrics import MetricsLog
from quickstudy.training.outer import Outer
from quickstudy.training.plans import PlanLog
from quickstudy.training.progress import Progress
from quickstudy.training.refusal import not_finite
from quickstudy.training.splits import ON_TRAINING_CLASSES
from quickstudy.training.start import beginning
from quickstudy.training.stop import StopRequests
from quickstudy.training.whole import WholeStep

_log = logging.getLogger("quickstudy")
_OF_VALIDATION = 1 << 41  # indices of validation tasks that gradients are compared with; validation never gets there
_STALE = 0.05  # the share of the untrained φ in a moving average that is worth a word


class Interrupted(Exception):
    """Training was asked to stop; everything is saved in `folder` at `step`."""

    def __init__(self, folder: Path, step: int) -> None:
        super().__init__(f"stopped after step {step}; go on with: quickstudy train --resume {folder}")
        self.folder, self.step = folder, step


class Training:
    """One run from its first to its last outer step.

    folder: where checkpoints, metrics and the kept model go. keep: called with calibrated φ when validation improves.
    If validation is on training classes it chooses nothing: keep is called every time, so that the last φ is kept.
    limit: seconds of training, resumed ones included, after which it ends as after its last step, and can be resumed.
    group: the processes that share the tasks of each step. All of them hold the same φ; its leader alone writes.
    """

    def __init__(
        self,
        parts: Parts,
        config: RunConfig,
        folder: Path,
        keep: Callable[[Params, dict[str, Any]], None],
        group: Group | None = None,
        limit: float = math.inf,
    ) -> None:
        self.parts, self.config, self.folder, self.keep, self.limit = parts, config, folder, keep, limit
        self.group = group or Group()
        if limit < math.inf and self.group.size > 1:
            raise ConfigError("Minutes are counted by one process, and several were started. Give iterations instead.")
        self._stop, self._stopping = StopRequests(), False  # asked of this process; agreed on by all
        self.engine, self.training = parts.training_engine, parts.training
        self.plans = PlanLog(folder, self.group.leads)
        self._key = rng.key(config.seed, "estimator", device=self.engine.device)
        self._latest: tuple[Episode, Tensor]  # of the last step
        self._midway = False  # some of a step's tasks have moved φ already, so that it is of no step
        self.tuner = Tuner(self.engine, config.compile, run=self._run)
        self.tuner.decided = self.plans.decided or not self.group.leads  # the others follow the leader's plan
        self.choice = Choice(self.training, config.choose, config.candidates, config.seed)
        self.outer = self._beginning(unfilled_params if parts.stored else initial_params)
        self.whole = WholeStep(self.outer)
        self.held_out = held_out(parts.source)
        self.step, self.seconds, self.best = 0, 0.0, Best()
        self.validated: Result | None = None  # the last validation of this process
        self.window: list[tuple[Tensor, Tensor]] = []  # loss and metric of the steps since the last line of metrics
        self.metric = parts.engine.learner.spec.target.metric
        self.acts = learners.traits(config.learner.name).acts

    def _beginning(self, params: Callable[[Parts, RunConfig], Params]) -> Outer:
        return Outer(params(self.parts, self.config), self.config.outer, self.engine.learner.moves)

    def resume(self) -> None:
        """Go on from the newest good checkpoint; from the first step where none was written yet."""
        found = load_checkpoint(self.folder, partial(self._beginning, unfilled_params), Facts)
        if found is None:
            _log.warning("%s has no checkpoint yet: training begins with its first step.", self.folder)
            self.outer = self._beginning(initial_params)
            self.whole = WholeStep(self.outer)
            return
        self.outer, self.step, facts = found
        self.whole = WholeStep(self.outer)
        self.seconds = facts["seconds"]
        self.best = Best(facts["best"]["value"], facts["best"]["step"])
        if "choice" in facts and self.choice.arms:
            self.choice.restore(facts["choice"])
        like = next(iter(self.outer.params.values()))
        self.window = [(like.new_tensor(loss), like.new_tensor(metric)) for loss, metric in facts["window"]]

    def run(self, quiet: bool = False) -> None:
        """Train to the end.

        Raises Interrupted, after saving, when asked to stop, and TrainingError when the loss is not finite.
        """
        left = self.config.average**self.config.outer.iterations if self.config.average else 0.0
        if left > _STALE:
            _log.warning(
                "After %d steps the moving average of φ (--average %g) is still %.0f %% the untrained φ. Lower it, or "
                "train longer.", self.config.iterations, self.config.average, 100 * left,
            )  # fmt: skip
        trains_on(self.engine.device)
        self._level()
        if self.config.iterations:
            self.engine, self.training = on_features(self.engine, self.outer.params, self.training)
            self.tuner.engine = self.engine
        config, began, spent = self.config, time.perf_counter(), self.seconds
        title = f"Training {config.name}"
        with (
            self._stop,
            MetricsLog(self.folder, self.step, self.group.leads) as log,
            Progress(title, config.iterations, self.step, quiet or not self.group.leads) as progress,
        ):
            self.tuner.say = lambda line: progress.say(f"{title} {self.step}/{config.iterations}  {line}")
            if self.step == 0 and (words := beginning(config, self.engine.learner, self.outer.params)):
                progress.say(f"{title}: {words}")
                self._save()  # where it begins, which may not be found again
            if not config.iterations:
                self._validate(log)
                self._save()
            mark, mark_step, validated = time.perf_counter(), self.step, ""
            last = self._over
            while not last:
                self.window.append(self._safe_step())
                self.step += 1
                self.seconds = spent + time.perf_counter() - began
                last = self._over
                if self.step % config.log_every == 0 or last:
                    loss, metric = (float(torch.stack(column).mean()) for column in zip(*self.window, strict=True))
                    now = time.perf_counter()
                    rate = (self.step - mark_step) * config.meta_batch / (now - mark)
                    self.window, mark, mark_step = [], now, self.step
                    facts = {"loss": loss, self.metric.name: metric, "episodes_per_second": rate, "lr": self._lr()}
                    facts |= self.engine.reports(self.outer.params, *self._latest)
                    log.write("train", self.step, facts, self.seconds)
                    shown = f"loss {loss:.3f}, {self.metric.show(metric)}, {rate:.0f} episodes/s"
                    progress.update(self.step, shown + validated)
                if self.step % config.validate_every == 0 or last:
                    value = self._validate(log)
                    where = "" if self.held_out else f" {ON_TRAINING_CLASSES}"
                    validated = f", validation{where} {self.metric.show(value)}"
                    mark = time.perf_counter()
                    self._stopping = self.group.any(self._stop.asked, f"validation after step {self.step}")
                if self.step % config.checkpoint_every == 0 or last or self._stopping:
                    self.seconds = spent + time.perf_counter() - began
                    self._save()
                if self._stopping and not last:
                    self.group.wait(f"saving after step {self.step}")
                    raise Interrupted(self.folder, self.step)

    @property
    def _over(self) -> bool:
        return self.step == self.config.iterations or self.seconds >= self.limit

    def _level(self) -> None:
        """The same state in all processes: rank 0's."""
        steps = self.group.gather(self.step, "set-up")
        if len(set(steps)) > 1:
            raise RunError(
                f"The processes found different checkpoints in {self.folder}, of the steps {steps}. "
                "Make the folder visible to all of them."
            )
        self.group.copy(self.outer.tensors().values(), "set-up")

    def _lr(self) -> float:
        return self.outer.rates[0]

    def _safe_step(self) -> tuple[Tensor, Tensor]:
        """The loss and metric of one step. Where it fails, φ from before it is saved, if it is still there."""
        try:
            found = self._one_step()
        except QuickstudyError:
            if not self._midway:
                self._save()
            raise
        self._midway = False
        return found

    def _one_step(self) -> tuple[Tensor, Tensor]:
        indices = self.choice.indices(self.step, self.config.meta_batch).to(self.engine.device)

        def tasks(mine: Tensor, group: Group | None = None) -> tuple[Episode, Tensor]:
            keys, params = rng.fold(self._key, mine), self.outer.params
            self._latest = self.engine.collected(self.training, params, "train", mine, keys, group), keys
            return self._latest

        if self.config.reuse == self.config.parts == 1 and not self.acts:
            return self._moved(indices, tasks)
        parts = indices.tensor_split(self.config.parts)
        shares = [self.group.share(part) for part in parts]
        episodes, keys = tasks(torch.cat(shares), self.group)
        found: list[tuple[Tensor, Tensor]] = []
        for _ in range(self.config.reuse):
            places = torch.split(torch.arange(len(keys), device=keys.device), [len(share) for share in shares])
            for part, place in zip(parts, places, strict=True):
                some = map_episode(itemgetter(place), episodes), keys[place]
                found.append(self._moved(part, partial(_given, some)))
        losses, metrics = zip(*found, strict=True)
        return torch.stack(losses).mean(), torch.stack(metrics).mean()

    def _moved(self, indices: Tensor, tasks: Callable[[Tensor], tuple[Episode, Tensor]]) -> tuple[Tensor, Tensor]:
        """The loss and metric of one outer step along the meta-gradient of these tasks."""
        self._planned()
        if self.group.size == 1 and self.whole.fits(self.tuner.engine) and not self.choice.aligned:
            moved = self.whole(self.tuner.engine, *tasks(indices))
            self._check(moved.norm, moved.loss, indices)
            self.outer.move(moved.changes, moved.slots)
            self._midway = True
            self._stopping = self._stop.asked
            self._refresh(indices)
            self.choice.learned(indices, moved.loss, None)
            return moved.loss.mean(), moved.metric.mean()
        grads, loss, metric = self._together(lambda: self._gradients(*tasks(self.group.share(indices))), len(indices))
        norm = torch.nn.utils.get_total_norm(grads.values())
        self._check(norm, loss, indices)
        self.choice.learned(indices, loss, self._alignment(grads) if self.choice.aligned else None)
        self.outer.step(grads, norm)
        self._midway = True
        self._refresh(indices)
        return loss.mean(), metric.mean()

    def _alignment(self, grads: Params) -> Tensor:
        """The cosine of a step's gradient with that of as many validation tasks, which are others in each step."""
        first, count = self.step * self.config.meta_batch, self.config.meta_batch
        indices = _OF_VALIDATION + first + torch.arange(count, device=self.engine.device)
        engine, source = self.parts.engine, self.parts.source
        keys = rng.fold(self._key, indices)
        episodes = engine.collected(source, self.outer.params, "val", indices, keys)
        return alignment(grads, engine.gradients(self.outer.params, episodes, keys)[0])

    def _refresh(self, indices: Tensor) -> None:
        """Let buffers follow φ that a call in training changes; all processes do so by the step's first task."""
        self.outer.put(self.engine.refreshed(self.outer.params, self.training, indices[0], self._key))

    def _run(self, engine: Engine, params: Params, episodes: Episode, keys: Tensor) -> None:
        """For the tuner's clock: the meta-gradient, and the optimizer's step where one graph holds both; φ stays."""
        if self.group.size == 1 and self.whole.fits(engine):
            self.whole(engine, episodes, keys)
        else:
            engine.gradients(params, episodes, keys)

    def _planned(self) -> None:
        """Take the plan that is in use at this step."""
        before = self.plans.at(self.step)
        if before is not None and before != self.tuner.engine.plan:
            self.tuner.engine = self.engine.planned(before)

    def _gradients(self, episodes: Episode, keys: Tensor) -> Gradients:
        """The meta-gradient by the present plan, which may be measured on the way."""
        plan = self.tuner.engine.plan
        gradients = self.tuner.gradients(self.outer.params, episodes, keys, self.config.iterations - self.step)
        if self.tuner.engine.plan != plan:
            self.plans.add(self.step + 1, self.tuner.engine.plan)
        return gradients

    def _together(self, own: Callable[[], Gradients], total: int) -> Gradients:
        """What all processes found for this step, of so many tasks. They also agree on whether to stop, and on the
        leader's plan."""

        def flags() -> list[bool]:
            return [self._stop.asked, self.group.leads and self.plans.at(self.step + 1) != self.plans.at(self.step)]

        where = f"step {self.step + 1}"
        gradients, (self._stopping, planned) = self.group.mean(own, self.outer.moving, total, flags, where)
        if planned:
            self.plans.follow(self.step + 1, self.group, where)
        return gradients

    def _check(self, norm: Tensor, loss: Tensor, indices: Tensor) -> None:
        if not bool(torch.isfinite(loss.sum() + norm)):
            raise not_finite(self.config, self.step, self._lr(), indices, loss, saved=not self._midway)

    def _validate(self, log: MetricsLog) -> float:
        params = calibrated(self.parts, self.config, self.outer.average)
        tasks, count = self.parts.source, self.config.validation_episodes
        result = evaluate(self.parts.engine, params, tasks, "val", count, group=self.group, compare_supports=False)
        self.validated = result
        mean, note = result.mean, "" if self.held_out else ON_TRAINING_CLASSES
        log.write("val", self.step, {self.metric.name: mean, "ci95": result.ci95}, self.seconds, note)
        if not self.held_out or self.best.improves(mean, self.metric):
            self.best.value, self.best.step = mean, self.step
            facts = {"validation": mean, "validation_ci95": result.ci95, "held_out": self.held_out}
            if self.group.leads:
                self.keep(params, {"step": self.step, **facts})
        return mean

    def _save(self) -> None:
        if not self.group.leads:
            return
        best = {"value": self.best.value, "step": self.best.step}
        window = [[float(loss), float(metric)] for loss, metric in self.window]
        facts = {"seconds": self.seconds, "best": best, "window": window, "choice": self.choice.stored()}
        save_checkpoint(self.folder, self.outer, self.step, facts)


def _given(episodes: tuple[Episode, Tensor], _: Tensor) -> tuple[Episode, Tensor]:
    """Tasks that are at hand, whichever are asked for."""
    return episodes
