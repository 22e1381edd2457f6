"""quickstudy: train once over many small tasks, then learn a new one from a handful of examples.

import quickstudy as qs
run = qs.train(qs.recipes.omniglot_protonet())
print(run.evaluate(episodes=1000))
model = run.adapt(support_images, labels)
model.predict(images)
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from quickstudy.version import __version__

if TYPE_CHECKING:
    from quickstudy import (
        averaging,
        choosing,
        episode,
        formats,
        inner,
        learners,
        memory,
        metagrads,
        models,
        optim,
        recipes,
        registry,
        search,
        select,
        targets,
        tasks,
        workers,
    )
    from quickstudy.choosing.search import choose
    from quickstudy.deploy.model import Model
    from quickstudy.engine import Engine
    from quickstudy.engine.encoded import Encoder
    from quickstudy.episode import Episode, Examples
    from quickstudy.errors import QuickstudyError
    from quickstudy.evaluation.evaluate import evaluate
    from quickstudy.evaluation.result import Result
    from quickstudy.optim.optimizer import LearnedOptimizer
    from quickstudy.report import report
    from quickstudy.runs.run import Run
    from quickstudy.runs.train import resume, train
    from quickstudy.shipped import from_hub, pretrained
    from quickstudy.spec import TaskSpec
    from quickstudy.tasks.base import Sampling
    from quickstudy.training.config import RunConfig
    from quickstudy.training.loop import Interrupted
    from quickstudy.training.protocol import Protocol

    load = Model.load

_HOMES = {
    "choosing.search": ("choose",),
    "engine": ("Engine",),
    "engine.encoded": ("Encoder",),
    "episode": ("Episode", "Examples"),
    "errors": ("QuickstudyError",),
    "optim.optimizer": ("LearnedOptimizer",),
    "spec": ("TaskSpec",),
    "tasks.base": ("Sampling",),
    "deploy.model": ("Model",),
    "evaluation.evaluate": ("evaluate",),
    "evaluation.result": ("Result",),
    "report": ("report",),
    "runs.run": ("Run",),
    "runs.train": ("resume", "train"),
    "shipped": ("from_hub", "pretrained"),
    "training.config": ("RunConfig",),
    "training.loop": ("Interrupted",),
    "training.protocol": ("Protocol",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}
_PACKAGES = (
    "averaging",
    "choosing",
    "episode",
    "formats",
    "inner",
    "learners",
    "memory",
    "metagrads",
    "models",
    "optim",
    "recipes",
    "registry",
    "search",
    "select",
    "targets",
    "tasks",
    "workers",
)

__all__ = [
    "Encoder",
    "Engine",
    "Episode",
    "Examples",
    "Interrupted",
    "LearnedOptimizer",
    "Model",
    "Protocol",
    "QuickstudyError",
    "Result",
    "Run",
    "RunConfig",
    "Sampling",
    "TaskSpec",
    "__version__",
    "averaging",
    "choose",
    "choosing",
    "episode",
    "evaluate",
    "formats",
    "from_hub",
    "inner",
    "learners",
    "load",
    "memory",
    "metagrads",
    "models",
    "optim",
    "pretrained",
    "recipes",
    "registry",
    "report",
    "resume",
    "search",
    "select",
    "targets",
    "tasks",
    "train",
    "workers",
]


def __getattr__(name: str) -> Any:
    """What is public is imported when it is asked for first: `quickstudy --help` needs no PyTorch."""
    if name in _PACKAGES:
        return importlib.import_module(f"quickstudy.{name}")
    if name == "load":
        return __getattr__("Model").load
    if name not in _HOME:
        raise AttributeError(f"module 'quickstudy' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"quickstudy.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """Keeps the function `report` from being hidden by the package of the same name, whenever that is imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name == "report" and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
