"""What is exported: an adapted model, or one that has not learned a task yet, on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from quickstudy.deploy.adapted import Adapted
from quickstudy.deploy.support import Kept
from quickstudy.episode import Params, State
from quickstudy.learners import Learner
from quickstudy.spec import TaskSpec
from quickstudy.training.config import RunConfig
from quickstudy.trust.base import Trust
from quickstudy.trust.task import AnyTrust, restored


@dataclass(frozen=True, eq=False)
class Subject:
    """state: ψ; None where no task is learned yet, so that there are no classes either. task_trust: of the task. trust:
    of the run. why: there is no trust, '' where there is. name: for people. Everything else as in `Model`."""

    config: RunConfig
    learner: Learner
    params: Params
    state: State | None
    names: tuple[str, ...] = ()
    fitted: State = field(default_factory=dict)
    task_trust: AnyTrust | None = None
    trust: Trust | None = None
    kept: Kept | None = None
    name: str = ""
    why: str = ""

    @property
    def spec(self) -> TaskSpec:
        return self.learner.spec

    @classmethod
    def adapted(cls, model: Adapted) -> Subject:
        """An adapted model, wherever it is."""
        trust, here = model.trust, None
        if trust is not None:
            here = restored(trust.trust.to_json(), on_cpu(trust.tensors()))
        why = "" if trust is not None else str(model.provenance.get("no trust", "it was made without."))
        return cls(
            model.config, model.learner, on_cpu(model.params), on_cpu(model.state), model.names, on_cpu(model.fitted),
            here, None if trust is None else trust.trust, model.kept, model.config.learner.name, why,
        )  # fmt: skip

    @classmethod
    def start(
        cls, config: RunConfig, learner: Learner, params: Params, trust: Trust | None, why: str, name: str
    ) -> Subject:
        """What a run has learned of all its tasks, and of none yet."""
        return cls(config, learner.evaluated(), on_cpu(params), None, trust=trust, name=name, why=why)


def on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu() for name, value in tensors.items()}
