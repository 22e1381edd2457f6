"""What a user holds reads as a few lines, also where it holds a million pixels; in a notebook it is a small table."""

from __future__ import annotations

import html
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import quickstudy as qs
from quickstudy.averaging import greedy_soup
from quickstudy.brief import Brief, brief
from quickstudy.deploy.adapt import Given, adapt
from quickstudy.inner import RULES
from quickstudy.pages.notebook import card, grid, lines
from quickstudy.registry import formats, learners, models, targets
from quickstudy.training.learner import build_learner

NAMES = ["<b>one</b>", "two & 3", "three"]
GONE = {"QuickstudyError"}  # what is raised says what it says


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One of everything."""
    x = torch.rand(60, 1, 28, 28)
    format = formats.make("image", size=28, channels=1)
    source = qs.tasks.arrays(x, [i % 12 for i in range(60)], format=format)
    config = qs.RunConfig(
        name="held", model=models.part("conv4", width=4), learner=learners.part("protonet"), ways=2, shots=1, queries=2,
        iterations=2, validate_every=1, validation_episodes=2, calibration_episodes=1, device="cpu",
    )  # fmt: skip
    run = qs.train(config, source=source, out=tmp_path_factory.mktemp("held") / "run", quiet=True)
    model = run.adapt(x[:6], [NAMES[i % 3] for i in range(6)])
    episode = source.sampled(run.config.sampling).episodes("train", torch.arange(2))
    return {
        "Run": run, "RunConfig": config, "Model": model, "Result": run.evaluate(episodes=4), "Episode": episode,
        "Examples": episode.support, "Engine": run.parts.engine, "TaskSpec": run.spec, "Sampling": source.sampling,
        "Protocol": qs.Protocol(name="p"), "Encoder": qs.Encoder(nn.Linear(3, 4), formats.make("array", shape=(3,))),
        "Interrupted": qs.Interrupted(Path("runs/a"), 3), "source": source, "training": run.parts.training,
        "LearnedOptimizer": optimizer(), "learner": run.learner, "parts": run.parts, "pool": source.pool,
        "frozen": model.frozen(), "answer": model.predict(x[:20]), "scored": model.score(x[:6], NAMES * 2),
        "stored": format.query(x), "records": format.find(pictures(tmp_path_factory.mktemp("p")), labelled=False),
        "soup": greedy_soup([run.params, run.params], lambda model: 0.0), "part": config.learner,
    }  # fmt: skip


def optimizer() -> qs.LearnedOptimizer:
    rule = RULES["lstm"](lr=0.1)
    weights = rule.init_hyper({"x": torch.zeros(1)}, torch.Generator().manual_seed(0))
    return qs.LearnedOptimizer([{"params": [torch.zeros(100)]} for _ in range(6)], rule, weights)


def pictures(folder: Path) -> Path:
    from PIL import Image

    for i in range(40):
        Image.new("L", (4, 4), i).save(folder / f"{i}.png")
    return folder


def test_every_public_class_is_looked_at(held: dict[str, Any]) -> None:
    public = {name for name in qs.__all__ if inspect.isclass(getattr(qs, name))}
    assert public - GONE <= held.keys(), "make one of it above: its repr is to be read"


def test_whatever_a_user_holds_reads_as_a_few_lines(held: dict[str, Any]) -> None:
    for name, value in held.items():
        text = repr(value)
        assert text.count("\n") < 9 and len(text) < 1000, (name, text)
        assert "tensor(" not in text and " object at 0x" not in text, (name, text)
        assert str(value).count("\n") < 9, name


def test_a_notebook_shows_tables_in_which_nothing_is_markup(held: dict[str, Any]) -> None:
    for name in ("Run", "Model", "Result", "source", "training", "answer", "scored"):
        page = held[name]._repr_html_()
        assert page.count("<table>") == 1 and page.count("<tr>") > 2, name
        assert "<b>one" not in page and "two & 3" not in page, name
    assert html.escape(NAMES[0]) in held["Model"]._repr_html_()
    answer = held["answer"]._repr_html_()
    assert answer.count("<img") == 10 and "and 10 further rows: answer.frame()" in answer
    assert html.escape(f"p({NAMES[0]})") in answer


def test_what_is_said_of_a_run_is_what_is_stored(held: dict[str, Any]) -> None:
    run = held["Run"]
    told = repr(run)
    assert run.spec.target.metric.interval(run.kept["validation"], run.kept["validation_ci95"]) in told
    assert f"step {run.kept['step']} of 2" in told and "protonet" in told
    assert repr(qs.Run(run.folder)) == told, "without the tasks' data, too"
    assert "10 classes of 5 examples" in repr(held["source"]) or "classes of 5 examples" in repr(held["source"])


@pytest.mark.parametrize("kind", ["text", "series", "table", "array", "masks"])
def test_answers_about_every_kind_of_record_are_drawn(kind: str) -> None:
    numbers, names = targets.make("numbers"), targets.make("classes", ways=2)
    if kind == "series":
        spec, records = formats.make("series", window=4), [float(i % 5) for i in range(12)]
        model = learned("maml", qs.TaskSpec(spec, numbers), records, None, "lstm")
        assert "<img" not in (page := model.predict(records, steps=12)._repr_html_() or "") and "value" in page
        return
    if kind == "masks":
        format, target = formats.make("image", size=8, channels=3), targets.make("masks", size=8, ways=2)
        x, y = torch.rand(4, 3, 8, 8), [torch.arange(64).view(8, 8) % 2] * 4
        model = learned("r2d2", qs.TaskSpec(format, target), x, y, "unet", width=4, depth=1)
        assert model.predict(x)._repr_html_().count("<img") == 4
        return
    if kind == "text":
        pytest.importorskip("tokenizers")
        return
    made = {"table": {"columns": 3}, "array": {"shape": (3,)}}[kind]
    model = learned("protonet", qs.TaskSpec(formats.make(kind, **made), names), torch.randn(4, 3), list("aabb"), "mlp")
    page = model.predict(torch.randn(3, 3))._repr_html_()
    assert page.count("<tr>") == 4 and "probability" in page


def learned(learner: str, spec: qs.TaskSpec, records: Any, labels: Any, model: str, **options: Any) -> qs.Model:
    config = qs.RunConfig(name="m", model=models.part(model, **options), learner=learners.part(learner))
    built = build_learner(config, spec)
    return adapt(config, built, built.init(torch.Generator().manual_seed(0)), Given(records=records, labels=labels))


def test_answers_become_data_frames(held: dict[str, Any]) -> None:
    pandas = pytest.importorskip("pandas")
    answer, scored = held["answer"], held["scored"]
    frame = answer.frame()
    assert isinstance(frame, pandas.DataFrame) and list(frame.columns) == list(answer.columns)
    assert frame["class"].tolist() == answer.names and frame.shape == (20, 5)
    assert scored.frame()["label"].tolist() == NAMES * 2
    assert not len(held["Model"].predict(torch.rand(3, 1, 28, 28)).frame().iloc[3:])


def test_without_pandas_the_extra_is_named(held: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(qs.QuickstudyError, match=r"quickstudy\[data\]"):
        held["answer"].frame()


def test_brief_says_what_there_is() -> None:
    assert brief(torch.zeros(2, 3)) == "(2, 3) float32" and brief(torch.tensor(0.5)) == "0.5"
    assert brief(nn.Linear(3, 4)) == "Linear of 16 parameters"
    assert brief({f"w{i}": torch.zeros(2) for i in range(9)}) == "{9 tensors of 18 numbers}"
    assert brief(list(range(50))) == "[0, 1, 2, … 50 in all]" and brief((1,)) == "(1,)" and brief("a\nb") == r"'a\nb'"
    assert brief(qs.Sampling(ways=3)).startswith("Sampling(ways=3, shots=1")

    class Own(Brief):
        def __repr__(self) -> str:
            return "mine"

    class Further(Own):
        pass

    assert repr(Further()) == "mine", "what a base says is not lost"


def test_pieces_of_a_notebook_are_escaped_and_short() -> None:
    page = card("<i>", [("<u>", "<script>"), ("b", "x" * 500)]) + grid("<i>", ["<u>"], [["<script>"]], "<s>")
    assert not re.search(r"<(i|u|s|script)>", page) and "x" * 161 not in page
    assert lines("a", [("b", "c\nd")]) == "a\n  b: c d"


PROGRAM = """
from quickstudy.training.progress import Progress
with Progress("Working", 400) as progress:
    for done in range(1, 401):
        progress.update(done, "a note")
        if done % 20 == 0:
            progress.say(f"line {done}")
"""


def test_progress_is_one_output_of_a_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    import nbformat

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(PROGRAM)])
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    (output,) = notebook.cells[0].outputs
    text = output["data"]["text/plain"]
    assert output["output_type"] == "display_data" and text.count("\n") == 7
    assert text.startswith("… 14 earlier\nline 300") and "Working 400/400" in text


def test_elsewhere_progress_is_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    exec(PROGRAM, {})
    told = capsys.readouterr().err
    assert told.count("line ") == 20 and "Working 400/400" in told


def test_a_source_of_several_says_what_each_has() -> None:
    from quickstudy.tasks import Domains
    from quickstudy.tasks.mixture import Mixture

    few, many = (qs.tasks.arrays(torch.rand(4 * n, 3), [f"c{i % n}" for i in range(4 * n)]) for n in (10, 20))
    classes = [len(source.classes("train")) for source in (few, many)]
    for whole in (Domains(members={"few": few, "many": many}), Mixture(first=few, second=many, share=0.5)):
        told = repr(whole)
        assert all(f"{count} classes of 4 examples" in told for count in classes), told
        assert told.count("\n") < 9 and "tensor(" not in told
