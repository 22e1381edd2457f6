"""My masks: train over the things that are painted already, then learn a new one from three painted images.

python examples/masks.py               # on squares of many colours: a minute or less
python examples/masks.py 2000 ./masks  # on yours: CONCEPT/images/NAME.jpg and CONCEPT/masks/NAME.png
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

import quickstudy as qs


def paint(folder: Path, colour: tuple[int, ...], each: int = 6) -> Path:
    """Images with a square of one colour, which the masks show, and one of another."""
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for i in range(each):
        image, mask = np.full((32, 32, 3), 230, np.uint8), np.zeros((32, 32), np.uint8)
        image[4 * i % 20 :][:10, 18:28] = (128, 128, 128)
        mask[3 * i % 19 :][:12, 2 + i : 14 + i] = 1
        image[mask == 1] = colour
        Image.fromarray(image).save(folder / "images" / f"{i}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{i}.png")
    return folder


def main(iterations: int = 60, root: str = "") -> None:
    for number in range(0 if root else 12):
        paint(Path("painted", f"kind {number}"), (20 * number, 255 - 20 * number, 90 * (number % 3)))
    tasks = qs.registry.sources.part("masks", root=root or "painted", size=32, rotate=10.0)
    model = qs.registry.models.part("unet", width=8, depth=2)
    config = replace(qs.recipes.masks(), tasks=tasks, model=model, queries=2, iterations=iterations)
    run = qs.train(config, overwrite=True)
    print("on things held out:", run.evaluate(episodes=50))
    model = run.adapt(paint(Path("new", "violet"), (150, 0, 200), each=3))
    answer = model.predict(sorted(Path("new/violet/images").iterdir()))
    print(answer.classes, [int((answer[i] == 1).sum()) for i in range(3)], "pixels")
    model.save("my-model")


if __name__ == "__main__":
    main(*(kind(given) for kind, given in zip((int, str), sys.argv[1:], strict=False)))
