"""I deploy: a model is saved, read again in a process that knows nothing of the run, and asked by many threads at once.

python examples/deploy.py
"""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image, ImageDraw

import quickstudy as qs


def draw(path: Path, *points: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.new("L", (60, 60), 255)
    ImageDraw.Draw(picture).line(points, fill=0, width=4)
    picture.save(path)
    return path


def main(iterations: int = 0) -> None:
    slashes = [draw(Path("shapes/slash") / f"{i}.png", 10 + i, 50, 50, 10) for i in range(3)]
    angles = [draw(Path("shapes/angle") / f"{i}.png", 10, 10 + i, 10, 50, 50, 50 - i) for i in range(3)]
    model = qs.pretrained("handwriting").adapt(slashes + angles, ["slash"] * 3 + ["angle"] * 3)
    print(model.save("my-model", overwrite=True))

    new = draw(Path("unsorted/new.png"), 15, 48, 48, 12)
    words = [sys.executable, "-m", "quickstudy", "predict", "my-model", str(new.parent), "--out", "predictions.csv"]
    subprocess.run(words, check=True, capture_output=True)
    print(Path("predictions.csv").read_text())

    model = qs.load("my-model")
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda path: model.predict([path]), [new, slashes[0], angles[0]]))
    print([answer.names for answer in answers])


if __name__ == "__main__":
    main()
