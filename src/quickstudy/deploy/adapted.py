"""What is known of one adapted model: φ and ψ of its task, and what goes in and comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from quickstudy.deploy.forward import Forward, Guarded
from quickstudy.deploy.support import Kept
from quickstudy.episode import Params, State
from quickstudy.errors import ConfigError, first_of
from quickstudy.learners import Learner
from quickstudy.pages.notebook import card
from quickstudy.spec import TaskSpec
from quickstudy.tally import Tally
from quickstudy.training.config import RunConfig
from quickstudy.trust.task import AnyTrust


@dataclass(frozen=True, repr=False, eq=False)
class Adapted:
    """What everything that is done with a `Model` reads of it.

    config: of the run. learner: at this task's spec. params, state: φ and ψ. names: of the classes, in the order of
    their ids; () where there are none. fitted: what the format learned of the task, such as the scale of a series.
    built: the tasks that the network was built for, where this one has fewer classes or columns. provenance: from what
    it was learned, and when. trust: how far it can be believed, see `quickstudy.trust`; None where nothing tells. kept:
    its support set, and tally: sums that say as much, where they are there to go on from.
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
        return f"{type(self).__name__}({self.config.learner.name}, {self.spec.format}, {told}{mark})"

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
    def computed(self) -> Guarded:
        """Its raw predictions."""
        return Guarded(Forward(self.learner, self.params, self.state))

    def trusted(self, what: str) -> AnyTrust:
        """Its trust; ConfigError that it cannot do `what`, and why, where it has none."""
        if self.trust is None:
            why = self.provenance.get("no trust", "it was made without, or by an earlier quickstudy.")
            raise ConfigError(f"This model cannot {what}: {why}")
        return self.trust
