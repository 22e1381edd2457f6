"""quickstudy: train once over many small tasks, then learn a new one from a handful of examples.

import quickstudy as qs
run = qs.train(qs.recipes.omniglot_protonet())
print(run.evaluate(episodes=1000))
model = run.adapt(support_images, labels)
model.predict(images)
"""

from quickstudy import inner, learners, metagrads, models, recipes, registry, tasks
from quickstudy.engine import Engine
from quickstudy.episode import Episode, Examples, ImageFormat, TaskSpec
from quickstudy.errors import QuickstudyError
from quickstudy.tasks.base import Sampling
from quickstudy.train.adapted import AdaptedModel, Predictions
from quickstudy.train.config import Protocol, RunConfig
from quickstudy.train.evaluate import Result, evaluate
from quickstudy.train.loop import Interrupted
from quickstudy.train.run import Run, resume, train
from quickstudy.version import __version__

load = AdaptedModel.load

__all__ = [
    "AdaptedModel",
    "Engine",
    "Episode",
    "Examples",
    "ImageFormat",
    "Interrupted",
    "Predictions",
    "Protocol",
    "QuickstudyError",
    "Result",
    "Run",
    "RunConfig",
    "Sampling",
    "TaskSpec",
    "__version__",
    "evaluate",
    "inner",
    "learners",
    "load",
    "metagrads",
    "models",
    "recipes",
    "registry",
    "resume",
    "tasks",
    "train",
]
