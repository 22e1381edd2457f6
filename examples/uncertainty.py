"""A network that reads points of a function and predicts the rest, with how sure it is.

python examples/uncertainty.py         # 3000 steps
python examples/uncertainty.py 200     # fewer steps
"""

from __future__ import annotations

import sys
from dataclasses import replace

import torch

import quickstudy as qs


def main(iterations: int = 3000) -> None:
    run = qs.train(replace(qs.recipes.gp_incontext(), name="uncertainty", iterations=iterations))
    result = run.evaluate(episodes=200)
    print(f"mean squared error {result}; negative log-likelihood {result.figures['nll']} nats")

    x = torch.tensor([[-1.0], [-0.8], [0.0], [0.1]])  # a function that no training task had, seen on the left
    model = run.adapt(x, torch.tensor([[0.9], [0.7], [-0.5], [-0.6]]))
    places = torch.tensor([[-0.9], [0.05], [1.5]])
    for place, (value, spread) in zip(places[:, 0].tolist(), model.predict(places), strict=True):
        print(f"at x = {place:5.2f} it says {value:5.2f} ± {spread:.2f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
