"""My recordings: train over the sounds that I have, then learn new ones from two recordings of each.

python examples/recordings.py                   # on made-up tunes of three notes: a minute
python examples/recordings.py 800 ./recordings  # on yours: one sub-folder for each class
"""

import math
import sys
from dataclasses import replace

import torch

import quickstudy as qs

RATE = 8000


def tune(kind: int, variant: int) -> torch.Tensor:
    """Three notes that make the class, in a register of the variant, with some noise: (0.3 s,)."""
    generator = torch.Generator().manual_seed(1000 * kind + variant)
    octave, seconds = 1 + 0.2 * float(torch.rand((), generator=generator)), torch.arange(RATE // 10) / RATE
    notes = [octave * 220 * 2 ** ((kind // 4**place % 4) / 3) for place in range(3)]
    clip = torch.cat([torch.sin(2 * math.pi * note * seconds) for note in notes])
    return 0.3 * clip + 0.02 * torch.randn(clip.shape, generator=generator)


def main(iterations: int = 40, root: str = "") -> None:
    clips = [tune(kind, variant) for kind in range(40) for variant in range(8)]
    heard = qs.formats.Audio(rate=RATE, seconds=0.3)
    made_up = qs.tasks.arrays(clips, [i // 8 for i in range(len(clips))], format=heard)
    config = replace(qs.recipes.audio(), queries=3, iterations=iterations, batch=32, average=0.9)
    run = qs.train(config, source=qs.tasks.audio(root=root) if root else made_up, overwrite=True)
    print("on classes held out:", run.evaluate(episodes=100))
    model = run.adapt([tune(kind, i) for kind in (50, 60) for i in range(2)], ["up", "up", "down", "down"])
    print(model.predict([tune(50, 7), tune(60, 7)]))
    model.save("my-model")


if __name__ == "__main__":
    main(*(kind(given) for kind, given in zip((int, str), sys.argv[1:], strict=False)))
