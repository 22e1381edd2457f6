"""MAML and its relatives, which differ in what moves, at which rate, from where, and in the meta-gradient."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from torch import nn

from quickstudy.errors import ModelError, unknown_name
from quickstudy.hints import Count, Steps
from quickstudy.inner import EVERYTHING, RULES, SGD, Partition, Rates
from quickstudy.learners.gradient import GradientLearner
from quickstudy.learners.network import Network, Norm
from quickstudy.registry import learners
from quickstudy.spec import TaskSpec

RuleName = Literal["sgd", "momentum", "adam"]
LearnedRuleName = Literal["lstm", "mlp", "meta-lstm"]


def _inner_loop(module: nn.Module, norm: Norm, steps: int) -> Network:
    return Network(module, norm, steps=steps, inner_loop=True)


@learners.register("maml", head=True)
def maml(
    module: nn.Module,
    spec: TaskSpec,
    *,
    lr: float = 0.01,
    steps: Steps = 1,
    eval_steps: Steps | None = None,
    rule: RuleName | LearnedRuleName = "sgd",
    learn_rates: bool = False,
    rates: Rates = "shared",
    inner: tuple[str, ...] = (),
    norm: Norm = "running",
) -> GradientLearner:
    """MAML: an initialisation from which few gradient steps solve a task (Finn, Abbeel & Levine 2017).

    module: any network that ends in `spec.outputs` outputs.
    lr, steps: rate and number of inner steps. eval_steps: steps after training; as many as `steps` if not given.
    rule: how the inner loop moves; the network of a learned rule is always part of φ. With 'meta-lstm' it is the
    learner of Ravi & Larochelle (2017).
    learn_rates: meta-learn the rates. rates: one 'shared' by all parameters, one for each 'tensor' or each 'element'.
    inner: patterns of the parameters that the inner loop moves, such as "head.*", or "!body.*" for all but these; all
    if not given.
    norm: what BatchNorm layers normalise by: the 'batch' at hand, or averages over training tasks 'per_step'.
    """
    if rule not in RULES:
        raise unknown_name("inner rule", rule, RULES)
    moves = RULES[rule](lr=lr, rates=rates)
    return GradientLearner(
        network=_inner_loop(module, norm, steps),
        spec=spec,
        rule=moves,
        learn_rates=learn_rates or moves.learned,
        partition=Partition(tuple(inner)) if inner else EVERYTHING,
        steps=steps,
        eval_steps=eval_steps,
    )


@learners.register("fomaml", head=True)
def fomaml(
    module: nn.Module,
    spec: TaskSpec,
    *,
    lr: float = 0.01,
    steps: Steps = 1,
    eval_steps: Steps | None = None,
    rule: RuleName = "sgd",
    inner: tuple[str, ...] = (),
    norm: Norm = "running",
) -> GradientLearner:
    """First-order MAML: the query gradient at ψ, taken as if ψ did not depend on φ (Finn et al. 2017, section 5.2).

    lr, steps: rate and number of inner steps. eval_steps: steps after training; as many as `steps` if not given.
    rule: how the inner loop moves.
    inner: patterns of the parameters that the inner loop moves, such as "head.*", or "!body.*" for all but these; all
    if not given.
    norm: what BatchNorm layers normalise by: the 'batch' at hand, or averages over training tasks 'per_step'.
    """
    exact = maml(module, spec, lr=lr, steps=steps, eval_steps=eval_steps, rule=rule, inner=inner, norm=norm)
    return replace(exact, metagrad="first_order")


@learners.register("imaml", head=True)
def imaml(
    module: nn.Module,
    spec: TaskSpec,
    *,
    lr: float = 0.01,
    steps: Steps = 16,
    eval_steps: Steps | None = None,
    strength: float = 2.0,
    rule: RuleName = "sgd",
    inner: tuple[str, ...] = (),
    norm: Norm = "running",
) -> GradientLearner:
    """iMAML: the inner loop is held near φ, and its end alone gives the meta-gradient (Rajeswaran et al. 2019).

    strength: λ of the term λ/2 ‖ψ − φ‖² that is added to the inner loss.
    lr, steps: rate and number of inner steps, enough to come near the minimum, where the meta-gradient is right.
    eval_steps: steps after training; as many as `steps` if not given.
    rule: how the inner loop moves.
    inner: patterns of the parameters that the inner loop moves, such as "head.*", or "!body.*" for all but these; all
    if not given.
    norm: what BatchNorm layers normalise by: the 'batch' at hand, or averages over training tasks 'per_step'.
    """
    plain = maml(module, spec, lr=lr, steps=steps, eval_steps=eval_steps, rule=rule, inner=inner, norm=norm)
    return replace(plain, proximal=strength, metagrad="implicit")


@learners.register("anil", head=True)
def anil(
    module: nn.Module,
    spec: TaskSpec,
    *,
    lr: float = 0.01,
    steps: Steps = 1,
    eval_steps: Steps | None = None,
    head: str = "",
    norm: Norm = "running",
) -> GradientLearner:
    """ANIL: MAML whose inner loop moves the head only (Raghu et al. 2020).

    lr, steps: rate and number of inner steps. eval_steps: steps after training; as many as `steps` if not given.
    head: pattern of the head's parameter names; empty means the last layer called that has parameters.
    norm: what BatchNorm layers normalise by: the 'batch' at hand, or averages over training tasks 'per_step'.
    """
    network = _inner_loop(module, norm, steps)
    if not head:
        network.find_head(spec.format)
    partition = Partition((head or f"{network.head}.*".lstrip("."),))
    return GradientLearner(
        network=network, spec=spec, rule=SGD(lr=lr), partition=partition, steps=steps, eval_steps=eval_steps
    )


@learners.register("metasgd", head=True)
def metasgd(
    module: nn.Module,
    spec: TaskSpec,
    *,
    lr: float = 0.01,
    steps: Steps = 1,
    eval_steps: Steps | None = None,
    inner: tuple[str, ...] = (),
    norm: Norm = "running",
) -> GradientLearner:
    """Meta-SGD: MAML with a meta-learned rate, sign included, for every element (Li et al. 2017).

    lr: the value that all rates start from. steps: of the inner loop. eval_steps: steps after training; as many as
    `steps` if not given.
    inner: patterns of the parameters that the inner loop moves, such as "head.*", or "!body.*" for all but these; all
    if not given.
    norm: what BatchNorm layers normalise by: the 'batch' at hand, or averages over training tasks 'per_step'.
    """
    return maml(
        module,
        spec,
        lr=lr,
        steps=steps,
        eval_steps=eval_steps,
        learn_rates=True,
        rates="element",
        inner=inner,
        norm=norm,
    )


@learners.register("cavia", head=True, context=True)
def cavia(
    module: nn.Module,
    spec: TaskSpec,
    *,
    lr: float = 1.0,
    steps: Steps = 1,
    eval_steps: Steps | None = None,
    context: Count = 5,
    norm: Norm = "running",
) -> GradientLearner:
    """CAVIA: the inner loop moves a context vector, which starts at zero in every task (Zintgraf et al. 2019).

    module: a network with a *buffer* named 'context' that its forward pass uses, such as `models.WithContext(module)`.
    lr, steps: rate and number of inner steps. eval_steps: steps after training; as many as `steps` if not given.
    context: size of the context beside the input that a run puts around its own model; a module of yours has its own.
    norm: what BatchNorm layers normalise by: the 'batch' at hand, or averages over training tasks 'per_step'.
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
    steps: Steps = 5,
    eval_steps: Steps | None = None,
    rule: RuleName = "sgd",
    norm: Norm = "running",
) -> GradientLearner:
    """Reptile: φ moves towards the parameters that plain training on each task ends at (Nichol et al. 2018).

    lr, steps: rate and number of inner steps. eval_steps: steps after training; as many as `steps` if not given.
    rule: how the inner loop moves.
    norm: what BatchNorm layers normalise by: the 'batch' at hand, or averages over training tasks 'per_step'.
    """
    plain = maml(module, spec, lr=lr, steps=steps, eval_steps=eval_steps, rule=rule, norm=norm)
    return replace(plain, metagrad="reptile")
