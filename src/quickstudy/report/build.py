"""From a run to its report: measure, draw, write."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from quickstudy.errors import RunError
from quickstudy.pages.charts import require_matplotlib
from quickstudy.pages.html import Section, page
from quickstudy.registry import learners
from quickstudy.report import acting, measure, sections
from quickstudy.report.adapted import AdaptedTask, adapted_section
from quickstudy.report.certainty import certainty_sections
from quickstudy.report.mistakes import mistakes
from quickstudy.report.tasks import some_tasks
from quickstudy.report.trusted import trust_sections
from quickstudy.runs.run import Run
from quickstudy.storage.atomic import write_text
from quickstudy.storage.json import write_json
from quickstudy.training.config import RunConfig
from quickstudy.training.progress import Progress

_EPISODES, _LEAST = 600, 48  # test tasks behind the main number: as a rule, and where they take long
_SECONDS = 60.0  # that these may take
_LONGEST = 300  # characters of a setting


def report(
    run: Run,
    *,
    episodes: int | None = None,
    curve_episodes: int | None = None,
    adapted: AdaptedTask | None = None,
    quiet: bool = True,
) -> Path:
    """Write report.html, one page that needs nothing else, and report.json with its numbers into the run's folder.

    episodes: test tasks behind the main number; if not given, 600, or where these would take more than a minute as many
    as it allows, and 48 at least. curve_episodes: behind every other one, 100 if not given, or a sixth of these.
    adapted: a task learned after training, shown in a section of its own. Returns the path of the page; raises
    MissingExtra without matplotlib.
    """
    require_matplotlib()
    if not run.metrics:
        raise RunError(
            f"{run.folder} has no metrics of a training to report on: it was averaged from other models, or its "
            "metrics.jsonl is gone. Evaluate it."
        )
    with Progress(f"Report on {run.config.name}", 6, quiet=quiet) as progress:
        most = affordable(run) if episodes is None else _EPISODES
        few = min(episodes or most, curve_episodes or most // 6)
        episodes = episodes or most
        trained = run.evaluate(episodes=episodes)
        progress.update(1, "untrained network")
        untrained = run.evaluate(episodes=min(episodes, 2 * few), params=run.untrained(), compare_supports=False)
        headline = sections.Headline(trained, untrained)
        progress.update(2, "drawing tasks")
        acts = learners.traits(run.config.learner.name).acts
        drawn = acting.films_section(run) if acts else some_tasks(run, trained.values)
        progress.update(3, "size of tasks")
        shots, ways = ([], []) if acts else (measure.by_shots(run, few), measure.by_ways(run, few))
        progress.update(4, "inner steps")
        steps, large = measure.by_steps(run, few), measure.largest_task(run)
        progress.update(5, "writing")
        parts = [adapted_section(adapted)] if adapted else []
        parts += [sections.learning_curve(run)] if any(line["split"] == "train" for line in run.metrics) else []
        parts += [acting.episodes_section(run, trained)] if acts else []
        parts += [drawn] if drawn else []
        if shots or ways or steps:
            parts.append(sections.task_size(run, shots, ways, steps))
        numbers: dict[str, Any] = {"name": run.config.name, "headline": headline.numbers(), "warning": trained.warning}
        for name, results in (("by_shots", shots), ("by_ways", ways), ("by_inner_steps", steps)):
            numbers[name] = [measure.brief(result) for result in results]
        parts += certainty_sections(run, trained, few, numbers)
        parts += trust_sections(run, episodes, numbers)
        if large is not None:
            section, numbers["confusion"] = mistakes(large)
            parts.append(section)
        if adapted is not None:
            numbers["adapted"] = adapted.numbers()
        numbers |= {"training": run.kept | {"seconds": run.seconds}, "config": run.config.to_json()}
        write_json(run.folder / "report.json", numbers)
        path = _write(run, headline, parts)
        progress.update(6)
    return path


def affordable(run: Run) -> int:
    """How many test tasks can be evaluated in a minute: at most so many as are evaluated as a rule."""
    run.evaluate(episodes=2, compare_supports=False)  # what is compiled or read once is no part of it
    tried = 8
    acts = learners.traits(run.config.learner.name).acts
    began = time.perf_counter()
    run.evaluate(episodes=tried, compare_supports=acts)  # of agents also the others, who are as slow
    taken = time.perf_counter() - began
    return max(_LEAST, min(_EPISODES, int(tried * _SECONDS / max(taken, 1e-6))))


def _write(run: Run, headline: sections.Headline, parts: list[Section]) -> Path:
    path = run.folder / "report.html"
    day = datetime.now(UTC).date().isoformat()
    footer = f"Written {day} by quickstudy {headline.trained.version}. The same numbers, for programs: report.json."
    text = page(f"{run.config.name}: report", sections.header(run, headline), parts, settings(run.config), footer)
    write_text(path, text)
    return path


def _shortened(text: str) -> str:
    """The beginning of a long text, such as a whole tokenizer."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} … ({len(text):,} characters)"


def settings(config: RunConfig) -> list[tuple[str, str]]:
    """Every setting by its dotted name, as text."""
    rows = []
    for name, value in config.to_json().items():
        if name == "protocols":
            continue
        if isinstance(value, dict) and set(value) == {"name", "options"}:
            rows.append((name, str(value["name"])))
            rows += [(f"{name}.{option}", _shortened(json.dumps(v))) for option, v in value["options"].items()]
        else:
            rows.append((name, value if isinstance(value, str) else json.dumps(value)))
    return rows
