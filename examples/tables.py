"""My tables: a network that comes with the package reads rows, and tells a column of others. Nothing is trained.

python examples/tables.py                      # on a made-up table of flats
python examples/tables.py train.csv price      # on yours: a file, and the column that is to be told
"""

import random
import sys
from pathlib import Path

import quickstudy as qs


def flats(path: Path, count: int) -> str:
    """Rows of size, town, year and price; some cells are empty."""
    rows = ["size,town,year,price"]
    for _ in range(count):
        size, town, year = random.randint(25, 120), random.choice(["Bonn", "Ulm", "Kiel"]), random.randint(1950, 2024)
        price = size * {"Bonn": 4000, "Ulm": 4500, "Kiel": 3500}[town] + 300 * (year - 1950) + random.gauss(0, 9000)
        rows.append(f"{size},{town},{'' if random.random() < 0.1 else year},{price:.0f}")
    path.write_text("\n".join(rows))
    return str(path)


def main(path: str | int = "", label: str = "price") -> None:
    random.seed(0)
    train = path if isinstance(path, str) and path else flats(Path("flats.csv"), 60)
    model = qs.pretrained("tables").adapt(train, label=label)
    if train == "flats.csv":
        print("on 40 other flats:", model.score(flats(Path("others.csv"), 40)))
        for value, spread in model.predict([{"size": 71, "town": "Bonn", "year": None}]):
            print(f"71 m² in Bonn, of a year that nobody knows: {value:,.0f} ± {spread:,.0f}")
    print(model, "is saved as", model.save("my-model"))


if __name__ == "__main__":
    main(*sys.argv[1:])
