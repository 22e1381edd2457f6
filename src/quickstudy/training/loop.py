"""The training loop: episodes, meta-gradient, outer step; held-out validation decides which φ is kept."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from quickstudy.engine import trains_on
from quickstudy.engine.distribute import Group
from quickstudy.episode import Params
from quickstudy.errors import ConfigError, QuickstudyError, RunError
from quickstudy.evaluation.evaluate import evaluate
from quickstudy.evaluation.result import Result
from quickstudy.storage.checkpoint import load_checkpoint, save_checkpoint
from quickstudy.tasks.base import held_out
from quickstudy.training.best import Best, Facts
from quickstudy.training.build import Parts, calibrated, initial_params, unfilled_params
from quickstudy.training.config import RunConfig
from quickstudy.training.metrics import MetricsLog
from quickstudy.training.outer import Outer
from quickstudy.training.progress import Progress
from quickstudy.training.splits import ON_TRAINING_CLASSES
from quickstudy.training.start import beginning
from quickstudy.training.step import Steps
from quickstudy.training.stop import StopRequests

_log = logging.getLogger("quickstudy")
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
        self._stop = StopRequests()
        outer = self._beginning(unfilled_params if parts.stored else initial_params)
        self.steps = Steps(parts, config, folder, self.group, self._stop, outer)
        self.held_out = held_out(parts.source)
        self.step, self.seconds, self.best = 0, 0.0, Best()
        self.validated: Result | None = None  # the last validation of this process
        self.window: list[tuple[Tensor, Tensor]] = []  # loss and metric of the steps since the last line of metrics
        self.metric = parts.engine.learner.spec.target.metric

    @property
    def outer(self) -> Outer:
        """φ and what moves it."""
        return self.steps.outer

    def _beginning(self, params: Callable[[Parts, RunConfig], Params]) -> Outer:
        return Outer(params(self.parts, self.config), self.config.outer, self.parts.training_engine.learner.moves)

    def resume(self) -> None:
        """Go on from the newest good checkpoint; from the first step where none was written yet."""
        found = load_checkpoint(self.folder, partial(self._beginning, unfilled_params), Facts)
        if found is None:
            _log.warning("%s has no checkpoint yet: training begins with its first step.", self.folder)
            self.steps.begin(self._beginning(initial_params))
            return
        outer, self.step, facts = found
        self.steps.begin(outer)
        self.seconds = facts["seconds"]
        self.best = Best(facts["best"]["value"], facts["best"]["step"])
        if "choice" in facts and self.steps.choice.arms:
            self.steps.choice.restore(facts["choice"])
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
        trains_on(self.parts.training_engine.device)
        self._level()
        if self.config.iterations:
            self.steps.embed()
        config, began, spent = self.config, time.perf_counter(), self.seconds
        title = f"Training {config.name}"
        with (
            self._stop,
            MetricsLog(self.folder, self.step, self.group.leads) as log,
            Progress(title, config.iterations, self.step, quiet or not self.group.leads) as progress,
        ):
            self.steps.tuner.say = lambda line: progress.say(f"{title} {self.step}/{config.iterations}  {line}")
            if self.step == 0 and (words := beginning(config, self.steps.engine.learner, self.outer.params)):
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
                    facts = {
                        "loss": loss,
                        self.metric.name: metric,
                        "episodes_per_second": rate,
                        "lr": self.outer.rates[0],
                    }
                    facts |= self.steps.engine.reports(self.outer.params, *self.steps.latest)
                    log.write("train", self.step, facts, self.seconds)
                    shown = f"loss {loss:.3f}, {self.metric.show(metric)}, {rate:.0f} episodes/s"
                    progress.update(self.step, shown + validated)
                if self.step % config.validate_every == 0 or last:
                    value = self._validate(log)
                    where = "" if self.held_out else f" {ON_TRAINING_CLASSES}"
                    validated = f", validation{where} {self.metric.show(value)}"
                    mark = time.perf_counter()
                    self.steps.stopping = self.group.any(self._stop.asked, f"validation after step {self.step}")
                if self.step % config.checkpoint_every == 0 or last or self.steps.stopping:
                    self.seconds = spent + time.perf_counter() - began
                    self._save()
                if self.steps.stopping and not last:
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

    def _safe_step(self) -> tuple[Tensor, Tensor]:
        """The loss and metric of one step. Where it fails, φ from before it is saved, if it is still there."""
        try:
            found = self.steps.take(self.step)
        except QuickstudyError:
            if not self.steps.midway:
                self._save()
            raise
        self.steps.midway = False
        return found

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
        facts = {"seconds": self.seconds, "best": best, "window": window, "choice": self.steps.choice.stored()}
        save_checkpoint(self.folder, self.outer, self.step, facts)
