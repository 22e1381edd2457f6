"""A format and a target of a user's own, in one file each: everything works with them, and nothing else was changed."""

from __future__ import annotations

import json
import shlex
import sys
import textwrap
from pathlib import Path

import pytest
import torch

import quickstudy as qs
from quickstudy.cli import main

FORMAT = '''
"""Sentences as the ids of their words, with a mask: two tensors, given to a network by their names."""

import zlib
from dataclasses import dataclass
from pathlib import Path

import torch

import quickstudy as qs
from quickstudy.formats import Format, Leaf, Stored, Text
from quickstudy.formats.places import folders_or_files


@qs.registry.formats.register("sentences")
@dataclass(frozen=True, kw_only=True)
class Sentences(Format):
    """Sentences of at most `length` words, each one of `words` ids."""

    length: int = 6
    words: int = 64
    what = "sentences"

    @property
    def layout(self):
        return {"ids": Leaf((self.length,), torch.int64), "mask": Leaf((self.length,))}

    def find(self, place, labelled=True):
        return folders_or_files(place, (".txt",), self.what, labelled)

    def store(self, records, broken="refuse"):
        texts = [Path(one).read_text() if str(one).endswith(".txt") else str(one) for one in records]
        ids = torch.zeros((len(texts), self.length), dtype=torch.int16)
        counts = torch.zeros(len(texts), dtype=torch.int16)
        for row, text in enumerate(texts):
            words = text.split()[: self.length]
            counts[row] = len(words)
            for place, word in enumerate(words):
                ids[row, place] = zlib.crc32(word.encode()) % self.words
        return Stored({"ids": ids, "count": counts}, list(range(len(texts))), [])

    def features(self, stored, fitted=None):
        place = torch.arange(self.length, device=stored["ids"].device)
        return {"ids": stored["ids"].long(), "mask": (place < stored["count"][..., None]).float()}

    def draw(self, x):
        return Text(f"{int(x['mask'].sum())} words, the first is number {int(x['ids'][0])}")


class Encoder(torch.nn.Module):
    def __init__(self, outputs=8):
        super().__init__()
        self.embedding, self.out = torch.nn.Embedding(64, 16), torch.nn.Linear(16, outputs)

    def forward(self, ids, mask):
        seen = self.embedding(ids) * mask[..., None]
        return self.out(torch.tanh(seen.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)))


def module():
    return Encoder()
'''

TARGET = '''
"""Levels: numbers that are judged by how often they are off by more than half a level."""

from dataclasses import dataclass

import torch

import quickstudy as qs
from quickstudy.targets import Metric, NumberAnswer, Target


@qs.registry.targets.register("levels")
@dataclass(frozen=True, kw_only=True)
class Levels(Target):
    """One level, 0, 1, 2 …, for each example."""

    metric = Metric("hit", "hits", "levels that were hit", higher_is_better=True, percent=True)
    guess = "the middle level"

    outputs = 1
    shape = (1,)

    def __str__(self):
        return "a level"

    def check(self, y, name, lead):
        if not y.is_floating_point() or tuple(y.shape[lead:]) != (1,):
            raise qs.errors.ShapeError(f"{name} must hold levels (n, 1)")

    def encode(self, labels):
        return torch.tensor([[float(label)] for label in labels]), ()

    def losses(self, prediction, y, smoothing=0.0):
        return (prediction - y).abs().flatten(1).mean(1)

    def scores(self, prediction, y):
        return ((prediction - y).abs() < 0.5).to(prediction.dtype).flatten(1).mean(1)

    def coded(self, examples, dtype):
        return examples.y.to(dtype) * examples.mask[:, None]

    def baseline(self, support, query):
        return support.y[support.mask].median(0).values.expand_as(query.y)

    def answer(self, said, names, units=None):
        return NumberAnswer(said.mean.round().cpu())

    def lead(self, given, example, whole, each):
        return f"Shown {given}, this network tells the level of others."
'''

SENTENCES = [
    f"{mood} {thing} {end}"
    for mood in ("glad", "sad", "odd", "mad", "dim", "calm", "keen", "shy", "wry")
    for thing in ("ab", "cd", "ef")
    for end in "xyzw"
]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the two files, sentences by class, and no trace of them in the registries afterwards."""
    monkeypatch.chdir(tmp_path)
    for name, text in (("sentences.py", FORMAT), ("levels.py", TARGET)):
        Path(name).write_text(textwrap.dedent(text))
    for index, sentence in enumerate(SENTENCES):
        folder = Path("moods", sentence.split()[0])
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{index}.txt").write_text(sentence)
    yield tmp_path  # type: ignore[misc]
    for registry, name in ((qs.registry.formats, "sentences"), (qs.registry.targets, "levels")):
        registry._entries.pop(name, None)
    for name in ("sentences", "levels"):
        sys.modules.pop(name, None)


def run(line: str) -> None:
    """One command, as typed."""
    assert main(shlex.split(line)) == 0, line


SMALL = "--iterations 4 --validation-episodes 3 --validate-every 4 --calibration-episodes 2 --device cpu"


def test_commands_work_with_a_format_of_ones_own(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tasks = "--tasks records --tasks.root moods --tasks.format sentences --tasks.val 0.25 --tasks.test 0.25"
    Path("recipe.py").write_text(
        textwrap.dedent(
            """
            import quickstudy as qs

            def recipe():
                return qs.RunConfig(
                    name="moods", tasks=qs.registry.sources.part("records", root="moods", format="sentences"),
                    learner=qs.registry.learners.part("protonet"), ways=2, shots=2, queries=3,
                )
            """
        )
    )
    run(f"train --import sentences.py recipe.py {tasks} {SMALL} --out run --no-report")
    run("evaluate --import sentences.py run --episodes 4")
    run("adapt --import sentences.py run --support moods --out model")
    run("predict --import sentences.py model moods --out answers.csv")
    run("report --import sentences.py run --episodes 4")
    assert len(Path("answers.csv").read_text().splitlines()) == 1 + len(SENTENCES)
    assert "words, the first is number" in Path("run/report.html").read_text()


def test_commands_work_with_a_target_of_ones_own(own: Path) -> None:
    lines = [f"{i % 3},{i % 5},{i % 4},rater {i % 10}" for i in range(120)]
    Path("rows.csv").write_text("\n".join(["a,b,level,rater", *lines]))
    Path("new.csv").write_text("\n".join(["a,b,level,rater", *lines[3::10]]))
    tasks = "--tasks table_csv --tasks.path rows.csv --tasks.label level --tasks.group rater --tasks.target levels"
    sizes = "--learner maml --model mlp --shots 5 --queries 4"
    run(f"train --import levels.py tables-incontext {tasks} {sizes} {SMALL} --out rated --no-report")
    run("evaluate --import levels.py rated --episodes 4 --out result.json")
    run("adapt --import levels.py rated --support new.csv --out rater")
    run("predict --import levels.py rater new.csv --out levels.csv")
    run("report --import levels.py rated --episodes 4")
    assert {one["metric"] for one in json.loads(Path("result.json").read_text())} == {"hit"}
    told = [line.rpartition(",")[2] for line in Path("levels.csv").read_text().splitlines()[1:]]
    assert len(told) == 12 and all(float(one).is_integer() for one in told)
    assert "this network tells the level of others" in Path("rated/report.html").read_text()


def test_python_works_with_a_format_and_a_target_of_ones_own(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(own))
    import levels  # type: ignore[import-not-found]
    import sentences  # type: ignore[import-not-found]

    form = sentences.Sentences()
    data = {f"rater {i}": (SENTENCES[i::5], [len(s) % 4 for s in SENTENCES[i::5]]) for i in range(5)}
    assert set(form.store(SENTENCES).x) == {"ids", "count"}
    source = qs.tasks.tables(data, format=form, target=levels.Levels())
    config = qs.RunConfig(
        name="raters", learner=qs.registry.learners.part("maml", lr=0.1, steps=2), shots=4, queries=4, iterations=4,
        validate_every=4, validation_episodes=3, calibration_episodes=2, device="cpu",
    )  # fmt: skip
    trained = qs.train(config, source=source, module=sentences.Encoder(outputs=1), out="run", quiet=True)
    result = trained.evaluate(episodes=4)
    assert result.metric == "hit" and result.baseline is not None and str(result).endswith("%")

    model = trained.adapt(SENTENCES[:6], [0, 1, 2, 3, 0, 1])
    answer = model.predict(SENTENCES)
    assert len(answer) == len(SENTENCES) and all(float(value).is_integer() for value in answer)
    model.save("model")
    again = qs.load("model", module=sentences.Encoder(outputs=1))
    assert torch.equal(again.predict(SENTENCES).values, answer.values) and again.spec == model.spec
    page = qs.report(trained, episodes=4).read_text()
    assert "this network tells the level of others" in page and "the middle level" in page
