"""Intents from five or ten examples of each class: all classes of a data set at once, from the published samples.

`ways` is what is tried; `told` is one try, with one seed, which needs nothing of the others but the encoder that it
starts from, so that tries can run in processes of their own; see `studies.samples_run`.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

import quickstudy as qs
from quickstudy.episode import Examples, map_features
from quickstudy.formats.text_augment import TextAugment
from quickstudy.heads import Head, Logistic, Prototypes, full_precision
from quickstudy.learners.embedding import EmbeddingLearner
from quickstudy.registry import formats, learners, models
from quickstudy.tasks.classes import ClassSource
from studies.texts import encoder, letters

DATA = {"BANKING77": "banking77", "HWU64": "hwu64", "CLINC150": "clinc150"}
SHOTS = (5, 10)
HEADS: dict[str, Head] = {
    "prototypes": Prototypes("cosine", 20.0),
    **{f"logistic, λ = {by:g}": Logistic(by) for by in (1.0, 0.1, 0.02)},
}
USUAL = "logistic, λ = 0.1"  # C = 10 in scikit-learn
LENGTH, LONGEST, TEMPERATURE = 40, 64, 20.0  # tokens in training, and of those that are embedded; of the cosines
Said = np.ndarray[Any, Any]
"""Probabilities (m, N): what passes between processes is no tensor, which would stay in the memory of one of them."""
_WAYS, _BATCH, _CHUNK = 32, 160, 512
_OTHERS = {"shots": 4, "queries": 4, "ways": 40, "steps": 400, "lr": 5e-5}
_EMBEDDINGS = "!*word_embeddings*"


@dataclass(frozen=True)
class Way:
    """How an encoder is made of MiniLM before a head is fitted to the sample.

    others: meta-trained first on the training texts of the other two data sets, all their classes. names: the name of
    each class is one more example of it. fit: how it is then trained on the sample: by `episodes` over its classes,
    prototypes by cosine, or as a cosine `classifier` of all of them. drop: of tokens. layers: what is moved, by name.
    """

    others: bool = False
    names: bool = False
    fit: Literal["", "episodes", "classifier"] = ""
    lr: float = 5e-5
    steps: int = 100
    drop: float = 0.0
    moved: tuple[str, ...] = (_EMBEDDINGS,)


_FIT = Way(others=True, fit="episodes")
_UPPER = ("*layer.3.*", "*layer.4.*", "*layer.5.*")
WAYS: dict[str, Way] = {
    "frozen": Way(),
    "frozen, names": Way(names=True),
    "others": Way(others=True),
    "others, names": Way(others=True, names=True),
    "others, episodes, names": replace(_FIT, names=True),
    "others, episodes": _FIT,
    "episodes": Way(fit="episodes"),
    "classifier": Way(fit="classifier"),
    "others, episodes, names, tokens dropped": replace(_FIT, names=True, drop=0.1),
    "others, classifier": Way(others=True, fit="classifier"),
    "others, classifier, names, tokens dropped": Way(others=True, fit="classifier", names=True, drop=0.1),
    "others, episodes, names, slowly": replace(_FIT, names=True, lr=2e-5),
    "episodes, names, tokens dropped": Way(fit="episodes", names=True, drop=0.1),
    "others, episodes, names, tokens dropped, longer": replace(_FIT, names=True, drop=0.1, steps=200),
    "others, episodes, upper half": replace(_FIT, moved=_UPPER),
    "others, episodes, tokens dropped": replace(_FIT, drop=0.1),
    "classifier, names, tokens dropped": Way(fit="classifier", names=True, drop=0.1),
}


def steps(count: int) -> int:
    """The steps of a training, of which QUICKSTUDY_STEPS (a share) takes fewer where the program alone is tried."""
    return max(2, round(count * float(os.environ.get("QUICKSTUDY_STEPS", 1))))


def rows(name: str, part: str) -> tuple[list[str], list[str]]:
    """Texts and labels of a part of a data set."""
    place = Path(os.environ["QUICKSTUDY_DATA"]) / "text" / DATA[name] / f"{part}.csv"
    with place.open(encoding="utf-8", newline="") as file:
        found = [(row["text"], row["label"]) for row in csv.DictReader(file)]
    return [text for text, _ in found], [label for _, label in found]


def plain(text: str) -> str:
    """The words of a text alone, in lower case: what makes two texts the same."""
    return " ".join(re.findall(r"\w+", text.lower()))


def sample(name: str, shots: int, names: bool) -> tuple[list[str], list[str]]:
    """The published sample; with the names of the classes as one more example of each."""
    texts, labels = rows(name, f"train_{shots}")
    classes = sorted(set(labels)) if names else []
    return texts + [plain(one.replace("_", " ")) for one in classes], labels + classes


def others(name: str) -> tuple[list[str], list[str], int]:
    """Training texts and labels of the other data sets, and how many were left out as they are test texts here."""
    asked = {plain(text) for text in rows(name, "test")[0]}
    found = [
        (text, f"{other}: {label}")
        for other in DATA
        if other != name
        for text, label in zip(*rows(other, "train"), strict=True)
    ]
    kept = [one for one in found if plain(one[0]) not in asked]
    return [text for text, _ in kept], [label for _, label in kept], len(found) - len(kept)


def source_of(texts: Sequence[str], labels: Sequence[str], drop: float = 0.0) -> ClassSource:
    """Tasks over classes, all of which are for training."""
    format = formats.make("text", tokenizer=encoder(), length=LENGTH)
    splits = {"train": sorted(set(labels))}
    return qs.tasks.arrays(list(texts), list(labels), format=format, splits=splits, augmentation=TextAugment(drop))


def config_of(learner: Any, size: dict[str, int], count: int, lr: float, seed: int, **more: Any) -> qs.RunConfig:
    """Settings that all trainings share: AdamW, with a rate that rises and falls over `count` steps."""
    return qs.RunConfig(
        name="s", model=models.part("transformers", name=encoder()), learner=learner, **size, seed=seed,
        iterations=count, meta_batch=1, lr=lr, optimizer="AdamW", optimizer_options={"weight_decay": 0.01}, clip=1.0,
        schedule="OneCycleLR", schedule_options={"pct_start": 0.1, "cycle_momentum": False}, validate_every=10**6,
        validation_episodes=1, calibration_episodes=1, checkpoint_every=10**6, log_every=10**6, compile="off",
        vectorize="loop", precision="tf32", **more,
    )  # fmt: skip


def episodic() -> Any:
    return learners.part("protonet", distance="cosine", temperature=TEMPERATURE)


def meta_trained(name: str, seed: int, out: str) -> dict[str, Any]:
    """Into `out`, the encoder after meta-training on the other data sets."""
    texts, labels, left_out = others(name)
    size = {one: int(_OTHERS[one]) for one in ("ways", "shots", "queries")}
    config = config_of(episodic(), size, steps(int(_OTHERS["steps"])), _OTHERS["lr"], seed, trainable=(_EMBEDDINGS,))
    qs.train(config, source=source_of(texts, labels), out=out, quiet=True)
    return {"texts": len(texts), "classes": len(set(labels)), "left out": left_out}


def _fitted(way: Way, texts: list[str], labels: list[str], seed: int, start: str, out: Path) -> qs.Run:
    """The encoder after training on the sample, as a run of prototypes."""
    classes, each = len(set(labels)), len(labels) // len(set(labels))
    size = {"ways": min(_WAYS, classes), "shots": (each + 1) // 2, "queries": each // 2}
    source, count = source_of(texts, labels, way.drop), steps(way.steps)
    if way.fit == "classifier":
        learner = learners.part("baseline++", temperature=TEMPERATURE)
        config = config_of(
            learner, size, count, way.lr, seed, start=start, trainable=way.moved, batch=_BATCH,
            rates={"classifier.*": 100 * way.lr},
        )  # fmt: skip
        start = str(qs.train(config, source=source, out=out / "classifier", quiet=True).folder)
    if way.fit == "episodes":
        config = config_of(episodic(), size, count, way.lr, seed, start=start, trainable=way.moved)
        return qs.train(config, source=source, out=out / "episodes", quiet=True)
    return qs.train(
        config_of(episodic(), size, 0, way.lr, seed, start=start), source=source, out=out / "still", quiet=True
    )


def _embedded(run: qs.Run, texts: Sequence[str]) -> Tensor:
    """Embeddings (n, D), on the run's device; texts of like length go together."""
    learner, format = run.learner, formats.make("text", tokenizer=encoder(), length=LONGEST)
    assert isinstance(learner, EmbeddingLearner)
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    device, parts = next(iter(run.params.values())).device, []
    for first in range(0, len(texts), _CHUNK):
        stored = format.store([texts[i] for i in order[first : first + _CHUNK]]).x
        x = format.features(map_features(lambda t: t.to(device), stored))
        with torch.no_grad(), full_precision(learner.embed(run.params, x)) as z:
            parts.append(z)
    back = torch.tensor(order, device=device).argsort()
    return torch.cat(parts)[back]


def _answers(z: Tensor, labels: Sequence[str], asked: dict[str, Tensor]) -> Iterator[tuple[str, dict[str, Said]]]:
    """By head, the probabilities (m, N) of the classes of a sample, in the order of their names."""
    y, names = qs.targets.Classes().encode(list(labels))
    spec = qs.TaskSpec(formats.make("array", shape=(z.shape[1],)), qs.targets.Classes(ways=len(names)))
    support = Examples(z, y.to(z.device), torch.ones(len(y), dtype=torch.bool, device=z.device))
    for head, made in HEADS.items():
        state = made.fit({}, z, support, spec)
        yield head, {part: made.logits({}, state, q, spec).softmax(1).half().cpu().numpy() for part, q in asked.items()}


def told(name: str, shots: int, called: str, seed: int, start: str) -> dict[str, dict[str, Said]]:
    """One try: by head, the probabilities of the classes for the texts of 'valid' and 'test'.

    start: the run of `meta_trained`, for ways that begin with it.
    """
    way = WAYS[called]
    texts, labels = sample(name, shots, way.names)
    with TemporaryDirectory() as folder:
        run = _fitted(way, texts, labels, seed, start if way.others else "", Path(folder))
        asked = {part: _embedded(run, rows(name, part)[0]) for part in ("valid", "test")}
        return dict(_answers(_embedded(run, texts), labels, asked))


def words(name: str, shots: int) -> dict[str, dict[str, Said]]:
    """The same of logistic regression on runs of two to five letters within words, weighted by tf-idf."""
    from sklearn.linear_model import LogisticRegression

    texts, labels = sample(name, shots, False)
    weigh = letters()
    made = LogisticRegression(C=10, max_iter=1000).fit(weigh.fit_transform(texts), labels)
    asked = {part: weigh.transform(rows(name, part)[0]) for part in ("valid", "test")}
    return {USUAL: {part: made.predict_proba(x).astype(np.float16) for part, x in asked.items()}}
