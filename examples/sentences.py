"""My sentences: train over the topics that I have, then learn new ones from two sentences of each.

python examples/sentences.py             # on made-up questions: a minute or less
python examples/sentences.py 400 my.csv  # on yours: a file with the columns text and label
"""

import sys
from dataclasses import replace
from pathlib import Path

import quickstudy as qs

TOPICS = ["card", "refund", "loan", "limit", "branch", "app", "transfer", "fee", "pin", "balance", "rate", "account"]
FRAMES = [
    "where is my {}",
    "i want a {}",
    "why this {}",
    "who has the {}",
    "what {} is it",
    "a {} please",
    "no {} here",
]


def main(iterations: int = 60, path: str = "") -> None:
    if path:
        source = qs.tasks.text(path=path)
    else:
        pairs = [(frame.format(topic), topic) for topic in TOPICS for frame in FRAMES]
        source = qs.tasks.arrays(*zip(*pairs, strict=True), format=qs.formats.Tokens(vocabulary=300, length=80))
    config = replace(qs.recipes.text(), ways=3, queries=3, train_ways=5, train_shots=4, iterations=iterations)
    run = qs.train(config, source=source, overwrite=True)
    print("on topics held out:", run.evaluate(episodes=100))
    new = {"bus": ["where is the bus?", "a bus, please"], "train": ["the train left", "which train?"]}
    model = run.adapt([text for texts in new.values() for text in texts], [name for name in new for _ in range(2)])
    for name, probability in model.predict(["when does the train leave?", "buses everywhere"]):
        print(f"{name}: {100 * probability:.0f} %")
    model.save(Path("my-model"))


if __name__ == "__main__":
    main(*(kind(given) for kind, given in zip((int, str), sys.argv[1:], strict=False)))
