"""What all contestants compute: the same tasks, network, φ, inner rate and number of inner steps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from quickstudy.episode import Episode, Examples
from quickstudy.models import conv4, mlp
from quickstudy.registry import formats, sources, targets
from quickstudy.spec import TaskSpec
from quickstudy.tasks.base import Sampling

OUTER_LR = 1e-3


@dataclass(frozen=True)
class Problem:
    """MAML on a batch of tasks. kind: 'sinusoid' or 'conv4'; tasks: of one meta-step; steps, lr: of the inner loop.

    size, channels, width, pool, shots: of the images and the network, for 'conv4'. seed: of φ and of the tasks.
    """

    kind: str
    steps: int
    lr: float
    tasks: int
    size: int = 28
    channels: int = 1
    width: int = 64
    pool: bool = False
    shots: int = 1
    seed: int = 0

    @property
    def spec(self) -> TaskSpec:
        if self.kind == "sinusoid":
            return TaskSpec(formats.make("array", shape=(1,)), targets.make("numbers", shape=(1,)))
        return TaskSpec(
            formats.make("array", shape=(self.channels, self.size, self.size)), targets.make("classes", ways=5)
        )

    def module(self) -> nn.Module:
        """The network, with the weights φ; its BatchNorm layers normalise by the batch."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            if self.kind == "sinusoid":
                return mlp(self.spec)
            module = conv4(self.spec, width=self.width, pool=self.pool)
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.track_running_stats = False
                layer.running_mean = layer.running_var = layer.num_batches_tracked = None
        return module

    @cached_property
    def params(self) -> dict[str, Tensor]:
        """φ, by the names of the network's parameters."""
        return {name: value.detach() for name, value in self.module().named_parameters()}

    @cached_property
    def episodes(self) -> Episode:
        """The tasks: sine curves, or images of which each class has a mean of its own."""
        if self.kind == "sinusoid":
            source = sources["sinusoid"]().sampled(Sampling(1, 10, 10)).seeded(self.seed)
            episodes: Episode = source.episodes("train", torch.arange(self.tasks))
            return episodes
        generator = torch.Generator().manual_seed(self.seed)
        image = self.spec.input_shape
        means = torch.rand((self.tasks, 5, *image), generator=generator)

        def examples(each: int) -> Examples:
            y = torch.arange(5).repeat_interleave(each).expand(self.tasks, 5 * each)
            noise = torch.rand((self.tasks, 5 * each, *image), generator=generator)
            x = (means.repeat_interleave(each, dim=1) + noise) / 2
            return Examples(x, y.contiguous(), torch.ones_like(y, dtype=torch.bool))

        return Episode(examples(self.shots), examples(15))


# At a rate of 0.4, five steps on these images multiply rounding in float32 to 0.3 % of the meta-gradient.
META_STEPS = {
    "sinusoid-1": ("sine curves, 1-40-40-1, 1 inner step", Problem("sinusoid", 1, 0.01, 25)),
    "sinusoid-5": ("sine curves, 1-40-40-1, 5 inner steps", Problem("sinusoid", 5, 0.01, 25)),
    "conv4-1": ("Conv4-64, 5-way 1-shot, 1 inner step", Problem("conv4", 1, 0.4, 16)),
    "conv4-5": ("Conv4-64, 5-way 1-shot, 5 inner steps", Problem("conv4", 5, 0.1, 16)),
}
"""By name: title and problem of the meta-steps that are timed."""
