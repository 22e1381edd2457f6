"""Single tasks drawn: images with the class they were taken for, points in the plane, curves."""

from __future__ import annotations

import torch
from torch import Tensor

from quickstudy.episode import TaskSpec
from quickstudy.learners import IterativeLearner
from quickstudy.pages.charts import PALETTE, Line, Points, fit_chart, regions_chart
from quickstudy.pages.html import Section, chart, charts, escape
from quickstudy.pages.pictures import are_images, framed, letter
from quickstudy.report import measure
from quickstudy.report.measure import Drawn
from quickstudy.runs.run import Run
from quickstudy.tasks.base import Sampling

_ASKED = 14  # queries of a class that are drawn at most: one row of a page


def some_tasks(run: Run, values: list[float]) -> Section | None:
    """A few test tasks; None where examples are neither images nor points in the plane.

    values: the accuracy of every evaluated task, by which the hardest is found.
    """
    spec = run.parts.source.spec
    if spec.kind == "regression":
        return _curves(run) if spec.input_shape == (1,) and spec.target_shape == (1,) else None
    hardest = min(range(len(values)), key=values.__getitem__)
    first = [i for i in range(4) if i != hardest][: 3 if run.config.ways <= 6 else 1]
    tasks = measure.draw(run, [*first, hardest], run.config.sampling)
    titles = [f"Test task {i + 1}" for i in first] + [f"The hardest of {len(values):,}"]
    unpicked = f"the first {len(first)} test tasks" if len(first) > 1 else "the first test task"
    if are_images(spec):
        bodies = [image_task(task, spec, title) for task, title in zip(tasks, titles, strict=True)]
        text = (
            "Every row is a class the network had never seen: on the left what it was shown, on the right what it was "
            f"asked about. The frame says which class it answered. Not picked: {unpicked}, and the one it did worst on."
        )
        return Section("What it does", text, f'<div class="tasks">{"".join(bodies)}</div>{KEY}')
    if spec.input_shape == (2,):
        figures = [
            chart(_plane(run, task), title, f"{100 * task.accuracy:.0f} % correct")
            for task, title in zip(tasks, titles, strict=True)
        ]
        text = (
            "Large dots are the given examples, small ones are new points in the colour of their true class; the "
            f"background is what the network answers there. Not picked: {unpicked}, and the one it did worst on."
        )
        return Section("What it does", text, charts(*figures))
    return None


KEY = (
    '<div class="key"><span><span class="frame"></span>frame: the class it answered</span>'
    '<span><span class="frame wrong"></span>✕ and letter: a mistake, and what it was taken for</span></div>'
)


def image_task(task: Drawn, spec: TaskSpec, title: str) -> str:
    """A card with one row a class: its support images, then its queries framed by the predicted class."""
    support, query = task.episode
    assert isinstance(support.x, Tensor)
    assert isinstance(query.x, Tensor)
    predicted, truth, rows = task.predicted, task.truth, []
    for label, name in enumerate(task.names):
        given = [framed(x, spec, label, name) for x, y in zip(support.x, support.y.tolist(), strict=True) if y == label]
        asked = [i for i, y in enumerate(truth) if y == label][:_ASKED]
        answers = []
        for i in asked:
            note = f"{name}, answered {task.names[predicted[i]]}"
            answers.append(framed(query.x[i], spec, predicted[i], note, wrong=predicted[i] != label))
        rows.append(
            f'<div class="row"><div class="given"><i>{letter(label)}</i>{"".join(given)}</div>'
            f'<div class="asked">{"".join(answers)}</div></div>'
        )
    share = f"{100 * task.accuracy:.0f} % correct"
    return f'<div class="task"><h3>{escape(title)}<span>{share}</span></h3>{"".join(rows)}</div>'


def _plane(run: Run, task: Drawn) -> str:
    support, query = task.episode
    assert isinstance(support.x, Tensor)
    assert isinstance(query.x, Tensor)
    both = torch.cat([support.x, query.x])
    low, high = both.min(dim=0).values - 0.3, both.max(dim=0).values + 0.3
    x, y = torch.linspace(float(low[0]), float(high[0]), 90), torch.linspace(float(low[1]), float(high[1]), 90)
    points = torch.cartesian_prod(x, y)
    learner, device = run.parts.engine.learner.evaluated(), run.parts.engine.device
    with torch.no_grad():
        moved = type(support)(support.x.to(device), support.y.to(device), support.mask.to(device))
        output = learner.predict(run.params, learner.adapt(run.params, moved), points.to(device)).cpu()
    classes = output.argmax(dim=1).reshape(90, 90).T
    wrong = [p != t for p, t in zip(task.predicted, task.truth, strict=True)]
    grid = (x.numpy(), y.numpy(), classes.numpy())
    return regions_chart(grid, _points(support.x, support.y), _points(query.x, query.y), wrong, output.shape[1])


def _points(x: Tensor, y: Tensor) -> Points:
    return Points(x[:, 0].tolist(), x[:, 1].tolist(), y.tolist())


def _curves(run: Run) -> Section:
    sampling = Sampling(run.config.ways, run.config.shots, 200)
    learner = run.parts.engine.learner.evaluated()
    after = measure.draw(run, range(4), sampling)
    before = measure.draw(run, range(4), sampling, steps=0) if isinstance(learner, IterativeLearner) else None
    figures = []
    for index, task in enumerate(after):
        support, query = task.episode
        assert isinstance(support.x, Tensor)
        assert isinstance(query.x, Tensor)
        order = query.x[:, 0].argsort()
        x = query.x[order, 0].tolist()
        fits = [] if before is None else [
            Line("before", x, before[index].output[order, 0].tolist(), colour=PALETTE[7], faint=True)
        ]  # fmt: skip
        fits.append(Line("after", x, task.output[order, 0].tolist()))
        truth = Line("truth", x, query.y[order, 0].tolist())
        error = (task.output - query.y).square().mean()
        points = (support.x[:, 0].tolist(), support.y[:, 0].tolist())
        figure = fit_chart(truth, fits, points, run.parts.source.spec.units)
        figures.append(chart(figure, f"Test task {index + 1}", f"squared error {error:.2f}"))
    text = (
        "The dotted curve is the truth and the dots are all the network was shown of it. Not picked: the first four "
        "test tasks."
    )
    if isinstance(learner, IterativeLearner):
        steps = f"{learner.steps} gradient step{'' if learner.steps == 1 else 's'}"
        text += f" Grey is its prediction before it saw the points, blue after {steps} on them."
    return Section("What it does", text, charts(*figures))
