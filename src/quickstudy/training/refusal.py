"""What is said where training cannot go on."""

from __future__ import annotations

import torch
from torch import Tensor

from quickstudy.errors import TrainingError
from quickstudy.training.config import RunConfig


def not_finite(config: RunConfig, step: int, lr: float, indices: Tensor, loss: Tensor, saved: bool) -> TrainingError:
    """Of a step over tasks `indices` (T,) with losses (T,), of which one, or the gradient, is no number.

    saved: whether φ from before the step could be.
    """
    bad = indices[~torch.isfinite(loss)].tolist()
    what = f"The loss of training episode {bad[0]}" if bad else f"The meta-gradient over episodes {indices.tolist()}"
    where = "φ from before this step is saved" if saved else "The last checkpoint is as it was"
    return TrainingError(
        f"{what} (seed {config.seed}, step {step}) is not finite. {where}. Try a lower outer rate (--lr, now {lr:g}), "
        "a lower inner rate or fewer inner steps (--learner.lr, --learner.steps), a bound on the meta-gradient "
        "(--clip 10), or look at the episode itself: "
        f"source.episodes('train', torch.tensor([{bad[0] if bad else int(indices[0])}]))."
    )
