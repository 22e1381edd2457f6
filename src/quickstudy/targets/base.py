"""The contract of a target: what an answer is, what a wrong one costs, and how it reads to people."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from quickstudy.episode import Examples, Params, State
from quickstudy.errors import ConfigError
from quickstudy.masked import masked_mean
from quickstudy.targets.distribution import Distribution
from quickstudy.targets.metric import Metric, announce
from quickstudy.targets.reported import Figure, Hits
from quickstudy.targets.shown import Shown


class Target(Shown):
    """What is asked of a task. A frozen dataclass: its fields are its JSON, and it is registered in `targets`.

    A prediction has the shape (n, *prediction_shape); a label is (n, *shape) in `Examples.y`. Methods that know a kind
    of target need not be asked for it: what makes no sense for a target refuses (`require_…`), or does nothing.
    """

    metric: ClassVar[Metric]
    """The headline: the first of `metrics`. Its name is its own: stored figures are shown again by it."""
    relabels: ClassVar[bool] = False
    """Whether the outputs are names that each task gives anew, so that one task's mean nothing to another."""
    density: ClassVar[bool] = False
    """Whether a network that says how sure it is gives a mean and a spread for each output."""
    calibrates: ClassVar[bool] = False
    """Whether tasks of a known truth tell how far answers can be believed; see `quickstudy.trust`."""
    promises: ClassVar[Literal["nothing", "classes", "intervals", "pixels"]] = "nothing"
    """What is fitted over such tasks: all that is told of classes, intervals of numbers, calibrated pixels."""
    whole_only: ClassVar[bool] = False
    """Whether an answer is about all of a record, so that answers about parts of it have no mean."""
    steps_shown: ClassVar[tuple[int | None, ...]] = (None,)
    """The inner steps that results are published for beside each other; None are the learner's own."""
    remedy: ClassVar[str] = "more varied tasks"
    """What keeps a learner from guessing tasks without their support sets, as an option of `quickstudy train`."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "metric" in vars(cls):
            announce(cls.metric)

    @property
    @abstractmethod
    def outputs(self) -> int:
        """How many numbers a network gives for one example."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The shape of one label."""

    @property
    def prediction_shape(self) -> tuple[int, ...]:
        """The shape of the prediction for one example."""
        return (self.outputs,)

    @property
    def grid(self) -> tuple[int, ...]:
        """The places (height, width) of one example that each have an answer of their own; () where there is one."""
        return ()

    @property
    def ways(self) -> int:
        """How many classes there are to tell apart; 0 where labels are no classes."""
        return 0

    def at(self, ways: int) -> Self:
        """The same target for tasks of so many classes."""
        return self

    def of(self, examples: Examples) -> Self:
        """The same target for as many classes as these examples have."""
        return self

    def learn(self, labels: Any) -> Self:
        """The same target with what the labels of all tasks teach it, such as an alphabet, before any is encoded."""
        return self

    def taking(self, labels: Any) -> Self:
        """The same target where these labels of a new task, which may be longer than those of training, have room."""
        return self

    def fits(self, other: Target) -> bool:
        """Whether a network for the one can be used for the other, but for the number of classes."""
        return type(self) is type(other) and (self.relabels or self.prediction_shape == other.prediction_shape)

    def require_classes(self, who: str, instead: str) -> None:
        """ConfigError that `who` needs classes, with what to use instead."""
        raise ConfigError(f"{who} needs classes, but the targets of these tasks are {self}. {instead}")

    def require_numbers(self, who: str, instead: str) -> None:
        """ConfigError that `who` needs numbers, with what to use instead."""
        raise ConfigError(f"{who} needs targets that are numbers, but those of these tasks are {self}. {instead}")

    def require_actions(self, who: str, instead: str) -> Any:
        """The target of agents; ConfigError that `who` needs actions, with what to use instead."""
        raise ConfigError(f"{who} acts in environments, but the targets of these tasks are {self}. {instead}")

    # What examples hold

    @abstractmethod
    def check(self, y: Tensor, name: str, lead: int) -> None:
        """Refuse labels y (*lead, *shape), padding included, that do not fit: ShapeError or DataError, naming them."""

    @abstractmethod
    def encode(self, labels: Any) -> tuple[Tensor, tuple[str, ...]]:
        """Labels of the user's as y (n, *shape) and, where they are names, the names in the order of their ids.

        Raises DataError, naming the example, for labels that are missing or of the wrong kind.
        """

    def known(self, labels: Any, names: Sequence[str]) -> Tensor:
        """Labels of the user's as y (n, *shape), for a task whose classes have these names; DataError for others."""
        return self.encode(labels)[0]

    def decoded(self, y: Tensor, names: Sequence[str]) -> list[Any]:
        """The inverse of `encode`: labels of the user's, of y (n, *shape)."""
        listed: list[Any] = (y[:, 0] if self.shape == (1,) else y).tolist()
        return listed

    def united(self, parts: Sequence[tuple[Tensor, Sequence[str]]]) -> tuple[Tensor, tuple[str, ...]]:
        """Encoded labels of parts of a support set, each y (n, *shape) with its names, as `encode` gives all of it."""
        return torch.cat([y for y, _ in parts]), tuple(parts[0][1])

    def forgetting(
        self, y: Tensor, names: Sequence[str], classes: Sequence[str]
    ) -> tuple[Tensor, Tensor, tuple[str, ...]]:
        """Which examples are left, (n,) bool, once the classes of these names are forgotten, the labels of those, and
        the names of what they are; a class that no example is of has gone, too. ConfigError where there are none."""
        if classes:
            self.require_classes("Forgetting a class", "Name examples: without(examples=…).")
        return torch.ones(len(y), dtype=torch.bool, device=y.device), y, tuple(names)

    def answerable(self, support: Examples, query: Examples) -> Tensor:
        """Which queries (T, n) a support set can say something of; both with a task axis."""
        return query.mask

    def statistics(self, examples: Examples) -> dict[str, Any]:
        """What the labels of a data set are like, as plain data."""
        return {}

    # What learning needs

    @abstractmethod
    def losses(self, prediction: Tensor, y: Tensor, smoothing: float = 0.0) -> Tensor:
        """What the prediction for each example costs: (n,). smoothing: of labels, where they are classes."""

    @abstractmethod
    def scores(self, prediction: Tensor, y: Tensor) -> Tensor:
        """The headline for each example: (n,)."""

    def loss(self, prediction: Tensor, examples: Examples, smoothing: float = 0.0) -> Tensor:
        """The mean of `losses` over real examples: a scalar."""
        return masked_mean(self.losses(prediction, examples.y, smoothing), examples.mask)

    def score(self, prediction: Tensor, examples: Examples) -> Tensor:
        """The headline over real examples: a scalar."""
        return masked_mean(self.scores(prediction, examples.y), examples.mask)

    def metrics(self, prediction: Tensor, examples: Examples) -> dict[str, Tensor]:
        """Figures of one task by name, the headline first: scalars."""
        return {self.metric.name: self.score(prediction, examples)}

    @abstractmethod
    def coded(self, examples: Examples, dtype: torch.dtype) -> Tensor:
        """Labels as networks and linear systems take them, (n, outputs): one-hot or values, 0 for padding."""

    @abstractmethod
    def baseline(self, support: Examples, query: Examples) -> Tensor:
        """What one would answer without a look at the inputs: predictions for the queries."""

    def seen(self, support: Examples) -> State:
        """What of the outputs the support set has shown, as entries of ψ; see `among`."""
        return {}

    def among(self, prediction: Tensor, state: State) -> Tensor:
        """The prediction, which never is what the support set has not shown."""
        return prediction

    def readout(self) -> Params:
        """Entries of φ, scalars, by which `read` makes predictions of least-squares values."""
        return {}

    def read(self, values: Tensor, params: Params) -> Tensor:
        """Predictions from the values (n, outputs) of a linear system fitted to `coded` labels."""
        return values.reshape(-1, *self.prediction_shape)

    def terms(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """What the log-likelihood of one example's answers is made of, and the weights of its parts: see `fisher`."""
        return output, torch.ones_like(output)

    def scatter(self, z: Tensor, centred: Tensor, weights: Tensor, examples: Examples) -> tuple[Tensor, Tensor]:
        """How features z (n, D) vary within what labels say alike, and with them: two (D,) vectors.

        centred: z less its mean, times the roots of `weights` (n,), which sum to 1 over real examples. By default, how
        far they vary, and with the `coded` labels.
        """
        codes = self.coded(examples, z.dtype)
        varying = (codes - weights @ codes) * weights.sqrt()[:, None]
        return centred.square().sum(0).sqrt(), (varying.T @ centred).square().sum(0).sqrt()

    def layer(self) -> nn.Module | None:
        """What must follow a linear layer of `outputs` numbers to give predictions; None where nothing must."""
        if len(self.prediction_shape) == 1:
            return None
        return nn.Unflatten(1, self.prediction_shape) if self.prediction_shape else nn.Flatten(0)

    # What one adapted model is told by, on labelled records

    def strange(self, labels: Any, names: Sequence[str]) -> list[str]:
        """For each label what of it no model of a task with these names can say, such as a class that it was not shown;
        '' where there is nothing of the kind."""
        return [""] * len(labels)

    def reported(self, prediction: Tensor, examples: Examples) -> list[Figure]:
        """The figures that one model is told by, the headline first, in the units of the labels."""
        metric = self.metric
        found = {name.replace("_", " "): value for name, value in self.metrics(prediction, examples).items()}
        if metric.percent:
            return [Figure.of_share(name, value, metric.higher_is_better) for name, value in found.items()]
        return [Figure(name, value, higher=metric.higher_is_better, least=-math.inf) for name, value in found.items()]

    def hits(self, prediction: Tensor, examples: Examples, names: Sequence[str]) -> list[Hits]:
        """How each name that answers hold was found; none where they hold none."""
        return []

    def claims(self, prediction: Tensor, examples: Examples) -> tuple[Tensor, Tensor] | None:
        """Probabilities (m,) that answers gave, and whether what they gave them to is so, (m,) bool; None where they
        give none."""
        return None

    # Answers that are made of many, as masks are of pixels: what fits embeddings to labels sees each as an example

    @property
    def each(self) -> Target:
        """What is asked of one place: of the whole example, where it has no others."""
        return self

    def rows(self, z: Tensor) -> Tensor:
        """Features (n, D, …) of n examples as one row of each place, (m, D). m is n where an example is one place, and
        further axes are flattened."""
        return z.flatten(1)

    def labels(self, examples: Examples, z: Tensor) -> Examples:
        """The labels, and which count, of the m places that `rows` makes of features z. Of x nothing is kept."""
        return examples

    def together(self, said: Tensor, z: Tensor) -> Tensor:
        """Predictions (n, *prediction_shape) of what is said (m, …) of the places of features z (n, D, …)."""
        return said

    # Networks that say how sure they are

    def distribution(self, output: Tensor, scale: State) -> Distribution:
        """Of labels, from the 2 · outputs numbers (n, …) that a network says of each; where there is a `density`.

        scale: as `scale` gave it, empty where labels keep their units.
        """
        raise ConfigError(f"There is no density over {self}: `predict` says what is known.")

    def surprise(self, said: Distribution, y: Tensor) -> Tensor:
        """The negative log-density of labels y, (n,), in nats for each number."""
        raise ConfigError(f"There is no density over {self}.")

    def scale(self, support: Examples) -> State:
        """A task's own units, learned from its support set, as entries of ψ; empty where labels have none."""
        return {}

    def scaled(self, coded: Tensor, scale: State) -> Tensor:
        """`coded` labels in a task's own units."""
        return coded
