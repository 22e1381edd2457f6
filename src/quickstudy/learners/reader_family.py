"""The learners that read, which differ in the network that they read with."""

from __future__ import annotations

from torch import nn

from quickstudy.hints import Depth, Size
from quickstudy.learners.network import Network, Norm
from quickstudy.learners.reader import ReaderLearner
from quickstudy.models.readers import Axial, Labels, MemoryAugmented, NeuralProcess, Recurrent, Snail, Transformer
from quickstudy.registry import learners
from quickstudy.spec import TaskSpec


def _sizes(spec: TaskSpec, limit: int | None) -> tuple[int, int, int | None]:
    """How many numbers a label and an answer have, and the most classes, where there are classes."""
    most = spec.target.at(spec.ways if limit is None else limit)
    return most.outputs, most.outputs * (2 if most.density else 1), most.ways or None


@learners.register("incontext")
def incontext(
    module: nn.Module,
    spec: TaskSpec,
    *,
    width: Size = 64,
    layers: Depth = 4,
    heads: Size = 4,
    labels: Labels = "tokens",
    limit: Size | None = None,
    hints: bool = False,
    standardise: bool = False,
    norm: Norm = "running",
) -> ReaderLearner:
    """In-context transformer: attention over the support set, trained to be a posterior (Müller et al. 2022).

    module: any encoder, (n, *features) to (n, D). width, layers, heads: of the transformer.
    labels: 'tokens' for at most `limit` classes, or 'pointer' for any number. limit: the most classes; the tasks' ways
    if not given. hints: every example is told what ridge regressions on the others, in closed form, say of it.
    standardise: scale inputs, and a regression's targets, by the support set.
    norm: what BatchNorm layers normalise by: 'running' averages over training tasks, or the 'batch' at hand.
    """
    inputs, outputs, most = _sizes(spec, limit)
    how = labels if most else None
    reader = Transformer(
        module, spec.format, inputs, outputs, width=width, layers=layers, heads=heads, labels=how, hints=hints
    )  # fmt: skip
    most = None if labels == "pointer" else most
    return ReaderLearner(network=Network(reader, norm), spec=spec, limit=most, standardise=standardise)


@learners.register("axial")
def axial(
    module: nn.Module,
    spec: TaskSpec,
    *,
    width: Size = 64,
    layers: Depth = 4,
    heads: Size = 4,
    limit: Size | None = None,
    hints: bool = False,
    standardise: bool = False,
    norm: Norm = "running",
) -> ReaderLearner:
    """In-context transformer over the cells of tables, along rows and columns in turn (Hollmann et al. 2025).

    module: any encoder to cells, (n, *features) to (n, C, D), such as the model 'cells'; or to (n, C), cells of one
    number. width, layers, heads: of the transformer.
    limit: the most classes; the tasks' ways if not given. hints: every example is told what ridge and kernel
    regressions on the others, in closed form, say of it. standardise: scale inputs that are numbers alone by the
    support set; labels that are numbers always are.
    norm: what BatchNorm layers normalise by: 'running' averages over training tasks, or the 'batch' at hand.
    """
    inputs, outputs, most = _sizes(spec, limit)
    reader = Axial(
        module, spec.format, inputs, outputs,
        width=width, layers=layers, heads=heads, classes=most is not None, hints=hints,
    )  # fmt: skip
    return ReaderLearner(network=Network(reader, norm), spec=spec, limit=most, standardise=standardise, in_spreads=True)


def _neural_process(
    module: nn.Module, spec: TaskSpec, width: int, depth: int, attentive: bool, standardise: bool, norm: Norm
) -> ReaderLearner:
    inputs, outputs, most = _sizes(spec, None)
    reader = NeuralProcess(
        module, spec.format, inputs, outputs, width=width, depth=depth, attentive=attentive
    )  # fmt: skip
    return ReaderLearner(network=Network(reader, norm), spec=spec, limit=most, standardise=standardise)


@learners.register("cnp")
def cnp(
    module: nn.Module,
    spec: TaskSpec,
    *,
    width: Size = 128,
    depth: Depth = 3,
    standardise: bool = False,
    norm: Norm = "running",
) -> ReaderLearner:
    """Conditional neural process: the mean of what an encoder says of each example (Garnelo et al. 2018).

    module: any encoder of the inputs, (n, *features) to (n, D). width, depth: of the perceptrons.
    standardise: scale inputs, and a regression's targets, by the support set.
    norm: what BatchNorm layers normalise by: 'running' averages over training tasks, or the 'batch' at hand.
    """
    return _neural_process(module, spec, width, depth, False, standardise, norm)


@learners.register("anp")
def anp(
    module: nn.Module,
    spec: TaskSpec,
    *,
    width: Size = 128,
    depth: Depth = 3,
    standardise: bool = False,
    norm: Norm = "running",
) -> ReaderLearner:
    """Attentive neural process, deterministic: queries also attend to the examples (Kim et al. 2019).

    module: any encoder of the inputs, (n, *features) to (n, D). width, depth: of the perceptrons.
    standardise: scale inputs, and a regression's targets, by the support set.
    norm: what BatchNorm layers normalise by: 'running' averages over training tasks, or the 'batch' at hand.
    """
    return _neural_process(module, spec, width, depth, True, standardise, norm)


@learners.register("snail")
def snail(
    module: nn.Module,
    spec: TaskSpec,
    *,
    length: Size = 32,
    filters: Size = 32,
    size: Size = 64,
    limit: Size | None = None,
    norm: Norm = "running",
) -> ReaderLearner:
    """SNAIL: temporal convolutions and attention over the sequence of examples (Mishra et al. 2018).

    module: any encoder, (n, *features) to (n, D). length: examples that the convolutions reach back over.
    filters: of each convolution. size: of the keys and values of attention. limit: the most classes; the tasks' ways
    if not given.
    norm: what BatchNorm layers normalise by: 'running' averages over training tasks, or the 'batch' at hand.
    """
    inputs, outputs, most = _sizes(spec, limit)
    reader = Snail(module, spec.format, inputs, outputs, length=length, filters=filters, size=size)
    return ReaderLearner(network=Network(reader, norm), spec=spec, limit=most)


@learners.register("lstm")
def lstm(
    module: nn.Module,
    spec: TaskSpec,
    *,
    width: Size = 128,
    online: bool = False,
    limit: Size | None = None,
    norm: Norm = "running",
) -> ReaderLearner:
    """LSTM meta-learner: it reads examples in their order, and its state is what it learned (Hochreiter et al. 2001).

    module: any encoder, (n, *features) to (n, D). width: of the LSTM. online: learn to predict from the first example
    of a task on. limit: the most classes; the tasks' ways if not given.
    norm: what BatchNorm layers normalise by: 'running' averages over training tasks, or the 'batch' at hand.
    """
    inputs, outputs, most = _sizes(spec, limit)
    reader = Recurrent(module, spec.format, inputs, outputs, width=width, online=online)
    return ReaderLearner(network=Network(reader, norm), spec=spec, limit=most, online=online)


@learners.register("mann")
def mann(
    module: nn.Module,
    spec: TaskSpec,
    *,
    width: Size = 128,
    online: bool = False,
    slots: Size = 64,
    size: Size = 40,
    limit: Size | None = None,
    norm: Norm = "running",
) -> ReaderLearner:
    """Memory-augmented network: an LSTM with `slots` rows that it writes and reads by attention (Santoro et al. 2016).

    module: any encoder, (n, *features) to (n, D). width: of the LSTM. online: learn to predict from the first example
    of a task on. slots: rows of the memory. size: of a row's key, and of its value. limit: the most classes; the tasks'
    ways if not given.
    norm: what BatchNorm layers normalise by: 'running' averages over training tasks, or the 'batch' at hand.
    """
    inputs, outputs, most = _sizes(spec, limit)
    reader = MemoryAugmented(
        module, spec.format, inputs, outputs, width=width, online=online, slots=slots, size=size
    )  # fmt: skip
    return ReaderLearner(network=Network(reader, norm), spec=spec, limit=most, online=online)
