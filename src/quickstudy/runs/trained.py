"""What is asked of a `Run` by those who tell of it, give it on, size its tasks, and find how far it can be believed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from quickstudy.engine import Engine
from quickstudy.episode import Params
from quickstudy.learners import Learner
from quickstudy.spec import TaskSpec
from quickstudy.tasks.base import Sampling, Source
from quickstudy.training.build import Parts
from quickstudy.training.config import RunConfig


class Trained(Protocol):
    """A `Run`, which says what each is."""

    folder: Path
    config: RunConfig

    @property
    def parts(self) -> Parts: ...
    @property
    def spec(self) -> TaskSpec: ...
    @property
    def kept(self) -> dict[str, Any]: ...
    @property
    def params(self) -> Params: ...
    @property
    def seconds(self) -> float | None: ...

    def sampled(
        self, sampling: Sampling, steps: int | None = None, learner: Learner | None = None
    ) -> tuple[Source, Engine]: ...
