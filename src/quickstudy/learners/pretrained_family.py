"""The baselines every paper needs, which differ in their classifier, and in what is learned of a task."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from torch import nn

from quickstudy.heads import Logistic
from quickstudy.hints import Count, Steps
from quickstudy.inner import SGD, Adam
from quickstudy.learners.classifiers import Cosine
from quickstudy.learners.network import Network, Norm
from quickstudy.learners.pretrained import FineTuning, PretrainedEmbedding
from quickstudy.registry import learners
from quickstudy.spec import TaskSpec


@learners.register("simpleshot", pretrains=True)
def simpleshot(
    module: nn.Module,
    spec: TaskSpec,
    *,
    classes: Count = 0,
    centre: bool = True,
    shrinkage: float = 1.0,
    smoothing: float = 0.0,
    norm: Norm = "running",
) -> PretrainedEmbedding:
    """Baseline: nearest centroid on an encoder trained by ordinary classification (SimpleShot, Wang et al. 2019).

    Over centred and normalised embeddings (CL2N). The logits are minus the squared distances, as in prototypical
    networks; the paper needs no more than their order.

    classes: number of training classes (0 until it is known). centre: subtract the mean training embedding.
    shrinkage: below 1, whiten embeddings by their covariance within training classes, of which this share is replaced
    by a multiple of the identity (Hatch, Kajarekar & Stolcke 2006). That is all that a frozen encoder can learn here.
    smoothing: share of each training label that is spread over all classes.
    norm: what BatchNorm layers normalise by: 'running' averages over training tasks, or the 'batch' at hand.
    """
    return PretrainedEmbedding(
        network=Network(module, norm),
        spec=spec,
        classes=classes,
        centre=centre,
        shrinkage=shrinkage,
        smoothing=smoothing,
    )


@learners.register("rfs", pretrains=True)
def rfs(
    module: nn.Module,
    spec: TaskSpec,
    *,
    classes: Count = 0,
    regularisation: float = 1.0,
    distil: float = 0.0,
    temperature: float = 4.0,
    smoothing: float = 0.0,
    norm: Norm = "running",
) -> PretrainedEmbedding:
    """RFS: logistic regression on the embeddings of an encoder trained by ordinary classification (Tian et al. 2020).

    Embeddings are scaled to length 1, and the regression is solved to its minimum in each task.

    classes: number of training classes (0 until it is known).
    regularisation: λ of λ/2 ‖W‖², beside the sum of the support losses; 1 as in the paper.
    distil: β in [0, 1], the part of the loss that is the distance from the answers of a teacher, the run that `teacher`
    names; 0.5 in the paper, whose teacher is a run of the same learner without one.
    temperature: by which both answers are softened.
    smoothing: share of each training label that is spread over all classes.
    norm: what BatchNorm layers normalise by: 'running' averages over training tasks, or the 'batch' at hand.

    >>> import quickstudy as qs
    >>> qs.registry.learners.part("rfs", regularisation=0.1).options
    {'regularisation': 0.1}
    """
    return PretrainedEmbedding(
        network=Network(module, norm),
        spec=spec,
        classes=classes,
        head=Logistic(regularisation),
        smoothing=smoothing,
        distil=distil,
        distil_temperature=temperature,
    )


@learners.register("finetune", pretrains=True)
def finetune(
    module: nn.Module,
    spec: TaskSpec,
    *,
    classes: Count = 0,
    lr: float = 0.01,
    steps: Steps = 100,
    rule: Literal["sgd", "adam"] = "adam",
    tune: Literal["head", "all"] = "head",
    smoothing: float = 0.0,
    norm: Norm = "running",
) -> FineTuning:
    """Baseline: train a new head on an encoder trained by ordinary classification (Chen et al. 2019).

    classes: number of training classes (0 until it is known). lr, steps, rule: of fine-tuning on the support set.
    tune: 'head', or 'all' to move the encoder as well.
    smoothing: share of each training label that is spread over all classes.
    norm: what BatchNorm layers normalise by: 'running' averages over training tasks, or the 'batch' at hand.
    """
    return FineTuning(
        network=Network(module, norm, inner_loop=False),
        spec=spec,
        classes=classes,
        rule=(SGD if rule == "sgd" else Adam)(lr=lr),
        steps=steps,
        tune=tune,
        smoothing=smoothing,
    )


@learners.register("baseline++", pretrains=True)
def baseline_plus_plus(
    module: nn.Module,
    spec: TaskSpec,
    *,
    classes: Count = 0,
    temperature: float = 10.0,
    lr: float = 0.01,
    steps: Steps = 100,
    rule: Literal["sgd", "adam"] = "adam",
    tune: Literal["head", "all"] = "head",
    smoothing: float = 0.0,
    norm: Norm = "running",
) -> FineTuning:
    """Baseline++: as `finetune`, with classifiers that look at cosines alone (Chen et al. 2019).

    The logits are τ cos(f(x), w_c), over all classes in training and, on new weights, over a task's own.

    classes: number of training classes (0 until it is known). temperature: τ, the scale of the logits.
    lr, steps, rule: of training the new weights on the support set, from the mean direction of each class on.
    tune: 'head', or 'all' to move the encoder as well.
    smoothing: share of each training label that is spread over all classes.
    norm: what BatchNorm layers normalise by: 'running' averages over training tasks, or the 'batch' at hand.
    """
    plain = finetune(
        module, spec, classes=classes, lr=lr, steps=steps, rule=rule, tune=tune, smoothing=smoothing, norm=norm
    )
    return replace(plain, classifier=Cosine(temperature))
