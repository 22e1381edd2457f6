"""My series: train over the series that I have, then forecast a new one from its first twelve points.

python examples/series.py               # on made-up sensors: a minute or less
python examples/series.py 2000 my.csv   # on yours: a column of names and one of values
"""

import sys
from dataclasses import replace

import torch

import quickstudy as qs


def sensor(number: int, hours: int = 60) -> torch.Tensor:
    """A daily rhythm of its own strength and phase about a level of its own: (hours,), in °C."""
    strength, phase, level = torch.rand(3, generator=torch.Generator().manual_seed(number)).tolist()
    return 15 + 20 * level + (1 + 4 * strength) * torch.sin(torch.arange(hours) / 4 + 6.28 * phase)


def main(iterations: int = 100, path: str = "") -> None:
    made_up = qs.tasks.recorded({f"sensor {i}": sensor(i) for i in range(60)}, units="°C")
    config = replace(
        qs.recipes.forecast(),
        shots=11,
        queries=5,
        protocols=(),
        meta_batch=4,
        validation_episodes=50,
        iterations=iterations,
    )
    run = qs.train(config, source=qs.tasks.series_csv(path=path) if path else made_up, overwrite=True)
    print("on series held out:", run.evaluate(episodes=200))
    print("before training:", run.evaluate(episodes=200, params=run.untrained()))
    seen, after = sensor(1000, 17)[:12], sensor(1000, 17)[12:]
    model = run.adapt(seen)  # a series is its own labels
    for value, truth in zip(model.predict(seen, steps=5).values.flatten().tolist(), after.tolist(), strict=True):
        print(f"forecast {value:5.1f} °C, then came {truth:5.1f} °C")
    model.save("my-model")


if __name__ == "__main__":
    main(*(kind(given) for kind, given in zip((int, str), sys.argv[1:], strict=False)))
