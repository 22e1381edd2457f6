"""Learners that adapt by gradient descent; the algorithms of the field are its settings, see `maml_family`."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from quickstudy.entries import CONSTANT, INNER, MEMORY, PARAMETER, TASK, prefixed, with_prefix
from quickstudy.episode import Examples, Features, Params, State
from quickstudy.errors import ConfigError, ModelError
from quickstudy.inner import EVERYTHING, Partition, Rule
from quickstudy.learners.descent import begin, descend, task_parameters
from quickstudy.learners.describe import fit_head, head_names
from quickstudy.learners.iterative import IterativeLearner
from quickstudy.spec import TaskSpec


@dataclass(frozen=True, kw_only=True)
class GradientLearner(IterativeLearner):
    """ψ are the task's own parameters, moved from φ by an inner rule along the gradient of the support loss.

    rule, partition: how they move and which. learn_rates: the rule's rates, or the weights of a learned rule's network,
    are part of φ ('inner.*'). proximal: λ of the term λ/2 ‖ψ − φ‖² in the inner loss, over what moves (Rajeswaran et
    al. 2019); 0 leaves it out.
    fresh_head: tasks have another number of classes than the network was built for, see `at`.
    State: 'task.<parameter>', 'rule.<slot>', and 'count', the number of steps taken.
    """

    rule: Rule
    partition: Partition = EVERYTHING
    learn_rates: bool = False
    proximal: float = 0.0
    fresh_head: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.proximal >= 0:
            raise ConfigError(f"The strength of the proximal term cannot be negative, found {self.proximal}.")
        if self.rule.learned and not self.learn_rates:
            raise ConfigError(
                f"The inner rule {type(self.rule).__name__} is a network, which must be meta-learned, but learn_rates "
                "is off. Set learn_rates=True, or choose a rule that needs no training, such as 'adam'."
            )
        module = self.network.module
        own = [name for name, _ in [*module.named_parameters(), *module.named_buffers()]]
        others = {prefix: network for prefix, network in self.networks.items() if prefix}
        if alike := next((name for name in own if name.startswith(tuple(others))), None):
            raise ConfigError(
                f"A second network is called as a part of the first one, which has {alike!r}: the inner loop could not "
                "tell them apart. Give the second another name."
            )
        self.partition.select(
            [*own, *(p + n for p, other in others.items() for n, _ in other.module.named_parameters())]
        )
        if not self.fresh_head:
            self._check_outputs(self.network.output_shape(self.spec.format))

    def _check_outputs(self, shape: tuple[int, ...]) -> None:
        target = self.spec.target
        if shape != target.prediction_shape:
            raise ModelError(
                f"The network gives {shape} numbers for one input, but a gradient learner on these tasks needs "
                f"{target.prediction_shape} ({target}). End the module with a layer of {target.outputs} outputs."
            )

    def init(self, generator: torch.Generator) -> Params:
        params = self.network.init(generator)
        rates = self.rule.init_hyper(self._movable(params), generator) if self.learn_rates else {}
        return params | with_prefix(INNER, rates)

    def _movable(self, params: Params) -> Params:
        """What the inner loop moves of φ, without prefix but for the name of a second network; buffers and second
        networks only where the partition names them."""
        values, more = self.network.movable(params), prefixed(CONSTANT, params)
        for prefix, network in self.networks.items():
            if prefix:
                own = prefixed(prefix + PARAMETER, params)
                more |= {prefix + n: v for n, v in own.items() if PARAMETER + n not in network.frozen}
        values |= {name: more[name] for name in self.partition.named(more)}
        values = {n: v for n, v in values.items() if v.is_floating_point() and not self._per_step(n)}
        head = head_names(self.network) if self.fresh_head else ()
        return {name: values[name] for name in self.partition.select(values) if name not in head}

    def _hyper(self, params: Params) -> Params | None:
        """What of φ the inner rule takes; for a head of other classes, rates of its elements are the mean over those of
        the meta-learned one's classes."""
        if not self.learn_rates:
            return None
        rates = prefixed(INNER, params)
        for name in head_names(self.network) if self.fresh_head else ():
            rate = rates.get(f"lr.{name}")
            if rate is not None and rate.dim():
                rates[f"lr.{name}"] = rate.mean(0).expand(self.spec.ways, *rate.shape[1:])
            elif rate is None and any(one.startswith("lr.") for one in rates):  # it is not moved
                rates[f"lr.{name}"] = next(iter(rates.values())).new_zeros(())
        return rates

    def _per_step(self, name: str) -> bool:
        prefix = next((p for p in self.networks if p and name.startswith(p)), "")
        return self.networks[prefix].per_step(name.removeprefix(prefix))

    def start(self, params: Params, support: Examples) -> State:
        count = torch.zeros((), dtype=torch.int64, device=support.mask.device)
        task = self._movable(params)
        if self.fresh_head:
            task |= fit_head(self.network, params, task, support, self.spec)
        return begin(self.rule, task) | {"count": count}

    def step(self, params: Params, state: State, support: Examples) -> State:
        def objective(task: Params, shared: Params) -> Tensor:
            return self._objective(shared, task, support, state["count"])

        return descend(self.rule, state, objective, params, self._hyper(params)) | {"count": state["count"] + 1}

    def inner_loss(self, params: Params, task: Params, support: Examples, count: Tensor) -> Tensor:
        """What a step of the inner loop lowers in ψ: a scalar, by default the target's loss on the support set.

        params: φ. task: the parameters that move, by the names that `network(params, x, task, count)` takes. count: ()
        int64, how many steps were taken. A learner of your own may put another in its place: a learned loss, weights of
        the examples or an augmentation, with entries of φ or a second network of its own, which train through it; it
        then names in `inside` what acts nowhere else. It must be differentiable twice, and see no padding.
        """
        return self.spec.target.loss(self.network(params, support.x, task, count), support)

    def _objective(self, params: Params, task: Params, support: Examples, count: Tensor) -> Tensor:
        """The inner loss, and what holds ψ near φ."""
        loss = self.inner_loss(params, task, support, count)
        if not self.proximal:
            return loss
        distances = [(task[name] - value).square().sum() for name, value in self._movable(params).items()]
        return loss + self.proximal / 2 * torch.stack(distances).sum()

    def objective(self, params: Params, state: State, support: Examples) -> Tensor | None:
        if not self.proximal:
            return None
        return self._objective(params, task_parameters(state), support, state["count"])

    def moved(self, state: State) -> Params:
        own = {
            prefix + name: prefix + PARAMETER + name
            for prefix, network in self.networks.items()
            for name, _ in network.module.named_parameters()
        }
        return {own.get(name, CONSTANT + name): value for name, value in task_parameters(state).items()}

    def inside(self, params: Params) -> dict[str, str]:
        rates = [name for name in params if name.startswith(INNER)]
        remedy = "choose an inner rule that is not learned" if self.rule.learned else "keep the inner rates fixed"
        return super().inside(params) | dict.fromkeys(rates, remedy)

    @property
    def symmetric(self) -> bool:
        return self.fresh_head  # otherwise each class has outputs of its own in the head

    def predict(self, params: Params, state: State, x: Features) -> Tensor:
        output = self.network(params, x, task_parameters(state), state["count"])
        self._check_outputs(tuple(output.shape[1:]))
        return output

    def predicts_with(self, params: Params, state: State) -> tuple[Params, State]:
        moved = self.moved(state)
        still = {n: value for n, value in params.items() if n not in moved and not n.startswith((INNER, MEMORY))}
        return still, with_prefix(TASK, task_parameters(state)) | {"count": state["count"]}

    def at(self, spec: TaskSpec) -> GradientLearner:
        """The same learner for tasks of another spec; with another number of classes than the network has outputs, a
        new head takes the place of its own, if that is linear.

        It is fitted to the support set by ridge regression on the features at φ, as `memory` fits it, and from there
        the inner loop moves it: what of the meta-learned head is class 0 means nothing to such a task. The mean of its
        rows, from which MAML can be trained as well (UNICORN-MAML, Ye & Chao 2022), is a worse start where it was not.
        """
        own = self.network.output_shape(self.spec.format)
        if spec.target.prediction_shape == own or not spec.target.relabels:
            if spec.outputs != self.spec.outputs and not spec.target.relabels:
                raise self._no_such_head(spec, "")
            return replace(self, spec=spec, fresh_head=False)
        if spec.target.grid or not self.spec.target.relabels:
            raise self._no_such_head(spec, "")
        self.network.find_head(self.spec.format)
        try:
            names = head_names(self.network)
        except ModelError as error:
            raise self._no_such_head(spec, f" ({str(error).split(', and')[0]})") from error
        parameters = dict(self.network.module.named_parameters())
        rows = {parameters[name].shape[0] for name in names if name in parameters}
        if names[0] not in parameters or rows != set(own):
            raise self._no_such_head(spec, " (and has no row for each class)")
        fresh = replace(self, spec=spec, fresh_head=True)
        try:
            fresh._learn_something()
        except (RuntimeError, LookupError, ModelError) as error:  # what networks and losses of one's own raise
            raise self._no_such_head(spec, f" (with another head: {str(error).splitlines()[0]})") from error
        return fresh

    def _learn_something(self) -> None:
        """One inner step on made-up examples, one of each class, and an answer: whether all parts go together."""
        format, ways = self.spec.format, self.spec.ways
        stored = format.trial(ways)
        y = torch.arange(ways)
        support = Examples(format.features(stored, format.prepare(stored)), y, torch.ones(ways, dtype=torch.bool))
        with torch.no_grad():
            params = self.init(torch.Generator().manual_seed(0))
            self.predict(params, self.step(params, self.start(params, support), support), support.x)

    def _no_such_head(self, spec: TaskSpec, why: str) -> ConfigError:
        return ConfigError(
            f"This learner's network has {self.network.output_shape(self.spec.format)} outputs and cannot do tasks of "
            f"{spec.target}: its head is part of what was meta-learned{why}. Evaluate it with the ways it was trained "
            "for, train it anew, or end the network with nn.Linear, which is made anew for other classes (embedding "
            "learners such as protonet take any number of ways)."
        )
