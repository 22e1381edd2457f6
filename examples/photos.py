"""My photos: train over the classes that I have, then learn new ones from three images of each.

python examples/photos.py                        # on pictures that are painted on the spot: a minute or less
python examples/photos.py 2000 ./photos ./new    # on yours: folders with one sub-folder of images for each class
"""

import sys
from dataclasses import replace
from pathlib import Path

from PIL import Image, ImageDraw

import quickstudy as qs


def paint(root: Path, classes: range, each: int = 10) -> Path:
    """Discs, each class of a colour of its own, somewhere on the picture."""
    for name in classes:
        (root / f"kind {name}").mkdir(parents=True, exist_ok=True)
        for i in range(each):
            picture, x, y = Image.new("RGB", (48, 48), "white"), 3 * i % 20, 5 * i % 23
            ImageDraw.Draw(picture).ellipse((x, y, x + 24, y + 24), fill=f"hsl({name * 36 % 360}, 70%, {25 + name}%)")
            picture.save(root / f"kind {name}" / f"{i}.png")
    return root


def main(iterations: int = 30, known: str = "", new: str = "") -> None:
    tasks = qs.registry.sources.part("folder", root=known or str(paint(Path("known"), range(30))), size=28)
    config = replace(qs.recipes.photos(), tasks=tasks, meta_batch=2, average=0.9, iterations=iterations)
    run = qs.train(config, overwrite=True)
    print("on classes held out:", run.evaluate(episodes=100))
    files = sorted(Path(new or paint(Path("new"), range(30, 34))).glob("*/*"))
    shown = [f for f in files if f in sorted(f.parent.iterdir())[:3]]  # the first three of each class
    model = run.adapt(shown, [f.parent.name for f in shown])
    asked = [f for f in files if f not in shown]
    print("of the new classes:", model.score(asked, [f.parent.name for f in asked]))
    print("saved as", model.save("my-model"))


if __name__ == "__main__":
    main(*(kind(given) for kind, given in zip((int, str, str), sys.argv[1:], strict=False)))
