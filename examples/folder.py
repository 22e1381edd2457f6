"""From a folder of images to predictions, in Python. Without a folder of yours, one with drawn characters is made.

python examples/folder.py                        # 300 steps on made-up characters
python examples/folder.py 300 ./photos           # on your own: one sub-folder of images for each class
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image

import quickstudy as qs


def draw(root: Path, split: str, classes: int, drawings: int = 10) -> Path:
    """Make `classes` sub-folders with `drawings` images each, of characters that are drawn at random."""
    source = qs.tasks.glyphs().sampled(qs.Sampling(ways=classes, shots=drawings, queries=1))
    support = source.episodes(split, torch.tensor([0])).support
    for index, (image, label) in enumerate(zip(support.x[0, :, 0], support.y[0].tolist(), strict=True)):
        path = root / f"class{label:02d}" / f"{index:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((255 * (1 - image)).byte().numpy()).save(path)
    return root


def main(iterations: int = 300, photos: str | None = None) -> None:
    known = Path(photos) if photos else draw(Path("known"), "train", classes=40)
    folder = qs.registry.sources.part("folder", root=str(known), size=28, channels=1, invert=True)
    config = replace(
        qs.recipes.demo().with_tasks(folder), name="folder", ways=5, shots=1, queries=5, iterations=iterations
    )
    run = qs.train(config)
    print("on classes held out of training:", run.evaluate(episodes=100))

    files = sorted(draw(Path("new"), "test", classes=5).glob("*/*.png"))  # of five classes nobody has seen
    labels = [file.parent.name for file in files]
    shown = [labels.index(name) for name in sorted(set(labels))]  # the first image of each class is the support set
    model = run.adapt([files[i] for i in shown], [labels[i] for i in shown])
    right = sum(name == label for (name, _), label in zip(model.predict(files), labels, strict=True))
    print(f"new classes, one image of each shown: {right} of {len(labels)} images named correctly")
    print(f"saved to {model.save(run.folder / 'adapted')}")


if __name__ == "__main__":
    main(*(kind(argument) for kind, argument in zip((int, str), sys.argv[1:], strict=False)))
