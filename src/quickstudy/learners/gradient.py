"""Learners that adapt by gradient descent: MAML and its relatives differ in what moves, at which rate, from where."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from quickstudy import losses
from quickstudy.episode import Examples, Features, Params, State, TaskSpec
from quickstudy.errors import ConfigError, ModelError
from quickstudy.inner import EVERYTHING, SGD, Adam, Momentum, Partition, Rates, Rule
from quickstudy.learners.base import IterativeLearner
from quickstudy.learners.descent import begin, descend, task_parameters
from quickstudy.learners.network import CONSTANT, PARAMETER, Network, Norm, prefixed, with_prefix
from quickstudy.registry import learners

INNER = "inner."
RuleName = Literal["sgd", "momentum", "adam"]
RULES: dict[RuleName, type[Rule]] = {"sgd": SGD, "momentum": Momentum, "adam": Adam}


@dataclass(frozen=True, kw_only=True)
class GradientLearner(IterativeLearner):
    """ψ are the task's own parameters, moved from φ by an inner rule along the gradient of the support loss.

    rule, partition: how they move and which. learn_rates: the rule's rates are part of φ ('inner.*').
    State: 'task.<parameter>', 'rule.<slot>', and 'count', the number of steps taken.
    """

    rule: Rule
    partition: Partition = EVERYTHING
    learn_rates: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        module = self.network.module
        self.partition.select(name for name, _ in [*module.named_parameters(), *module.named_buffers()])
        if self.spec.input_shape:  # inputs that are a dict of tensors have no one shape
            self._check_outputs(self.network.output_shape(self.spec.input_shape))

    def _check_outputs(self, found: tuple[int, ...]) -> None:
        shape = (self.spec.ways,) if self.spec.kind == "classification" else self.spec.target_shape
        if found != shape:
            raise ModelError(
                f"The network gives {found} numbers for one input, but a gradient learner on these tasks needs {shape} "
                f"({'one logit for each of the ways' if self.spec.kind == 'classification' else 'the target'}). "
                f"End the module with a layer of {self.spec.outputs} outputs."
            )

    def init(self, generator: torch.Generator) -> Params:
        params = self.network.init(generator)
        rates = self.rule.init_hyper(self._movable(params)) if self.learn_rates else {}
        return params | with_prefix(INNER, rates)

    def _movable(self, params: Params) -> Params:
        """What the inner loop moves of φ, without prefix; buffers only where the partition names them."""
        values = prefixed(PARAMETER, params) | ({} if self.partition == EVERYTHING else prefixed(CONSTANT, params))
        values = {n: v for n, v in values.items() if v.is_floating_point() and not self.network.per_step(n)}
        return {name: values[name] for name in self.partition.select(values)}

    def start(self, params: Params, support: Examples) -> State:
        count = torch.zeros((), dtype=torch.int64, device=support.mask.device)
        return begin(self.rule, self._movable(params)) | {"count": count}

    def step(self, params: Params, state: State, support: Examples) -> State:
        def support_loss(task: Params, shared: Params) -> Tensor:
            prediction = self.network(shared, support.x, task, state["count"])
            return losses.loss(prediction, support, self.spec)

        rates = prefixed(INNER, params) if self.learn_rates else None
        return descend(self.rule, state, support_loss, params, rates) | {"count": state["count"] + 1}

    def moved(self, state: State) -> Params:
        own = dict(self.network.module.named_parameters())
        task = task_parameters(state)
        return {(PARAMETER if name in own else CONSTANT) + name: value for name, value in task.items()}

    def inside(self, params: Params) -> dict[str, str]:
        rates = [name for name in params if name.startswith(INNER)]
        return super().inside(params) | dict.fromkeys(rates, "keep the inner rates fixed")

    def predict(self, params: Params, state: State, x: Features) -> Tensor:
        output = self.network(params, x, task_parameters(state), state["count"])
        self._check_outputs(tuple(output.shape[1:]))
        return output

    def at(self, spec: TaskSpec) -> GradientLearner:
        if spec.outputs != self.spec.outputs:
            raise ConfigError(
                f"This learner's network has {self.spec.outputs} outputs and cannot do {spec.ways}-way tasks: its head "
                "is part of what was meta-learned. Evaluate it with the ways it was trained for, or train it anew "
                "(embedding learners such as protonet take any number of ways)."
            )
        return super().at(spec)


def _inner_loop(module: nn.Module, norm: Norm, steps: int) -> Network:
    return Network(module, norm, steps=steps, inner_loop=True)


@learners.register("maml", head=True)
def maml(
    module: nn.Module,
    spec: TaskSpec,
    *,
    lr: float = 0.01,
    steps: int = 1,
    eval_steps: int | None = None,
    rule: RuleName = "sgd",
    learn_rates: bool = False,
    rates: Rates = "shared",
    norm: Norm = "running",
) -> GradientLearner:
    """MAML: an initialisation from which few gradient steps solve a task (Finn, Abbeel & Levine 2017).

    module: any network that ends in `spec.outputs` outputs. lr, steps: of the inner loop.
    """
    return GradientLearner(
        network=_inner_loop(module, norm, steps),
        spec=spec,
        rule=RULES[rule](lr=lr, rates=rates),
        learn_rates=learn_rates,
        steps=steps,
        eval_steps=eval_steps,
    )


@learners.register("fomaml", head=True)
def fomaml(
    module: nn.Module,
    spec: TaskSpec,
    *,
    lr: float = 0.01,
    steps: int = 1,
    eval_steps: int | None = None,
    rule: RuleName = "sgd",
    norm: Norm = "running",
) -> GradientLearner:
    """First-order MAML: the query gradient at ψ, taken as if ψ did not depend on φ (Finn et al. 2017, section 5.2)."""
    exact = maml(module, spec, lr=lr, steps=steps, eval_steps=eval_steps, rule=rule, norm=norm)
    return replace(exact, metagrad="first_order")


@learners.register("anil", head=True)
def anil(
    module: nn.Module,
    spec: TaskSpec,
    *,
    lr: float = 0.01,
    steps: int = 1,
    eval_steps: int | None = None,
    head: str = "",
    norm: Norm = "running",
) -> GradientLearner:
    """ANIL: MAML whose inner loop moves the head only (Raghu et al. 2020).

    head: pattern of the head's parameter names; empty means the last layer that has parameters.
    """
    network = _inner_loop(module, norm, steps)
    last = [path for path, layer in module.named_modules() if list(layer.parameters(recurse=False))][-1]
    partition = Partition((head or f"{last}.*".lstrip("."),))
    return GradientLearner(
        network=network, spec=spec, rule=SGD(lr=lr), partition=partition, steps=steps, eval_steps=eval_steps
    )


@learners.register("metasgd", head=True)
def metasgd(
    module: nn.Module,
    spec: TaskSpec,
    *,
    lr: float = 0.01,
    steps: int = 1,
    eval_steps: int | None = None,
    norm: Norm = "running",
) -> GradientLearner:
    """Meta-SGD: MAML with a meta-learned rate, sign included, for every element (Li et al. 2017).

    lr: the value that all rates start from.
    """
    return maml(module, spec, lr=lr, steps=steps, eval_steps=eval_steps, learn_rates=True, rates="element", norm=norm)


@learners.register("cavia", head=True, context=True)
def cavia(
    module: nn.Module,
    spec: TaskSpec,
    *,
    lr: float = 1.0,
    steps: int = 1,
    eval_steps: int | None = None,
    context: int = 5,
    norm: Norm = "running",
) -> GradientLearner:
    """CAVIA: the inner loop moves a context vector, which starts at zero in every task (Zintgraf et al. 2019).

    module: a network with a *buffer* named 'context' that its forward pass uses, such as `models.WithContext(module)`.
    context: size of the context beside the input that a run puts around its own model; a module of yours has its own.
    """
    names = [name for name, _ in module.named_buffers() if name.rpartition(".")[2] == "context"]
    if not names:
        raise ModelError(
            "CAVIA needs a network with a buffer called 'context', and this module has none. Wrap it in "
            "quickstudy.models.WithContext(module, size=…), or call self.register_buffer('context', torch.zeros(size)) "
            "and use it in forward."
        )
    return GradientLearner(
        network=_inner_loop(module, norm, steps),
        spec=spec,
        rule=SGD(lr=lr),
        partition=Partition(tuple(names)),
        steps=steps,
        eval_steps=eval_steps,
    )


@learners.register("reptile", head=True)
def reptile(
    module: nn.Module,
    spec: TaskSpec,
    *,
    lr: float = 0.02,
    steps: int = 5,
    eval_steps: int | None = None,
    rule: RuleName = "sgd",
    norm: Norm = "running",
) -> GradientLearner:
    """Reptile: φ moves towards the parameters that plain training on each task ends at (Nichol et al. 2018)."""
    plain = maml(module, spec, lr=lr, steps=steps, eval_steps=eval_steps, rule=rule, norm=norm)
    return replace(plain, metagrad="reptile")
