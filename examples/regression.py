"""MAML on sine curves: learn from many curves, then fit a new one from five points and one gradient step.

python examples/regression.py         # 5000 steps
python examples/regression.py 200     # fewer steps
"""

from __future__ import annotations

import math
import sys
from dataclasses import replace

import torch

import quickstudy as qs


def main(iterations: int = 5000) -> None:
    run = qs.train(replace(qs.recipes.sinusoid_maml(), name="regression", iterations=iterations))
    for steps in (0, 1, 5):
        before = run.evaluate(episodes=100, steps=steps, params=run.untrained())
        after = run.evaluate(episodes=100, steps=steps)
        print(f"{steps} inner steps: mean squared error {after} (untrained: {before})")

    x = torch.tensor([[-4.0], [-2.0], [0.0], [2.0], [4.0]])  # five points of a curve that no training task had
    curve = run.adapt(x, 3.0 * torch.sin(x - 1.0))
    print(f"at x = 1 the curve is 0; the adapted model says {float(curve(torch.tensor([[1.0]]))):.2f}")
    peak = torch.tensor([[1.0 + math.pi / 2]])
    print(f"at its peak the curve is 3; the adapted model says {float(curve(peak)):.2f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
