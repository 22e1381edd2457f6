"""The programs behind the pages of figures: all can be started, and the study of lines forecasts as users do."""

from __future__ import annotations

import importlib
import math
import pkgutil
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import benchmarks
import quickstudy as qs
import studies
from quickstudy.errors import ConfigError
from quickstudy.learners import GradientLearner
from quickstudy.tasks.series import SeriesSource
from studies import agents, lines, samples, samples_run
from studies.agents_rivals import indices
from studies.templates import aligned


@pytest.mark.parametrize("package", [benchmarks, studies], ids=lambda package: package.__name__)
def test_every_program_finds_what_it_imports(package: ModuleType) -> None:
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)


def test_lines_are_continued_as_by_a_model_that_a_user_adapts(tmp_path: Path) -> None:
    small = replace(qs.recipes.lines_lstm(), iterations=1, validate_every=1, validation_episodes=2, compile="off")
    run = qs.train(small, out=tmp_path / "run", quiet=True)
    source, learner = run.parts.source, run.learner.evaluated()
    assert isinstance(source, SeriesSource) and isinstance(learner, GradientLearner)
    together = lines.continued(learner, run.params, source, "test", 2)
    seen = source.values("test", torch.arange(2))[:, : lines.SEEN]
    each = [run.adapt(one).predict(one, steps=lines.NEXT).prediction for one in seen]
    torch.testing.assert_close(together, torch.stack(each).to(together), rtol=1e-4, atol=1e-5)


def test_a_sample_chooses_by_the_other_data_sets_alone() -> None:
    valid = {"a": (0.9, 0.2, 0.4), "b": (0.1, 0.3, 0.5)}  # by data set, in the order of DATA

    def row(way: str, place: int) -> dict[str, Any]:
        figures = {part: {"mean": valid[way][place]} for part in ("valid", "test")}
        return {"prototypes": {"seeds": 1, "single": figures}}

    found = {name: {"5": {way: row(way, place) for way in valid}} for place, name in enumerate(samples.DATA)}
    first, second, _ = samples.DATA
    pick = samples_run.chosen(found, first, 5)
    assert pick is not None and pick["way"] == "b" and pick["test"]["mean"] == 0.1
    other = samples_run.chosen(found, second, 5)
    assert other is not None and other["way"] == "a"
    del found[second]["5"]["b"]
    assert samples_run.chosen(found, first, 5)["way"] == "a"  # type: ignore[index]


def test_no_text_that_is_asked_is_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUICKSTUDY_DATA", str(tmp_path))
    for name in samples.DATA.values():
        folder = tmp_path / "text" / name
        folder.mkdir(parents=True)
        (folder / "train.csv").write_text(f"text,label\nWhat is {name}?,x\nwhere  is IT,x\n", encoding="utf-8")
        (folder / "test.csv").write_text("text,label\nWhere is it?,x\n", encoding="utf-8")
    texts, labels, left_out = samples.others("HWU64")
    assert texts == ["What is banking77?", "What is clinc150?"] and left_out == 2
    assert labels == ["BANKING77: x", "CLINC150: x"]


def test_averages_are_of_the_answers_of_all_tries() -> None:
    cell = samples_run.Cell("HWU64", 5, "frozen")
    figures = samples_run.Figures.__new__(samples_run.Figures)
    figures.truth = {("HWU64", part): torch.tensor([0, 1, 1]) for part in samples_run.PARTS}
    figures.sums, figures.right = {}, defaultdict(list)
    for sure in ([[0.9, 0.1], [0.6, 0.4], [0.6, 0.4]], [[0.2, 0.8], [0.1, 0.9], [0.45, 0.55]]):
        said = np.array(sure, dtype=np.float16)
        figures.add(cell, {samples.USUAL: dict.fromkeys(samples_run.PARTS, said)})
    row = figures.row(cell)[samples.USUAL]
    assert row["single"]["test"]["of seeds"] == pytest.approx([1 / 3, 2 / 3]) and row["seeds"] == 2
    assert row["averaged"]["test"]["mean"] == pytest.approx(2 / 3)
    assert row["single"]["test"]["mean"] == pytest.approx(1 / 2)


def test_the_study_of_tables_goes_on_from_what_it_has_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("pandas")
    from studies import tables

    config = qs.recipes.tables_numbers()
    options = {"width": 8, "layers": 1, "heads": 2, "hints": True}
    small = replace(
        config, learner=replace(config.learner, options=options), iterations=2, meta_batch=1, validation_episodes=2,
        precision="float32",
    )  # fmt: skip
    run = qs.train(small, out=tmp_path / "run", quiet=True)
    monkeypatch.setattr(tables, "reader", {False: run}.__getitem__)
    monkeypatch.setattr(tables, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(tables, "SPLITS_KEPT", tmp_path / "none.json")
    monkeypatch.setattr(tables, "RIVALS", {"ridge": tables.linear})
    found = tables.measured("diabetes", splits=2)
    columns, answers = tables.SETS["diabetes"].rows()
    seen, rest = tables.split_of(len(answers), 1, answers, False)
    assert not set(seen) & set(rest) and len(seen) == 64 and len(rest) == 300
    wanted = torch.tensor([answers[i] for i in rest])
    said = tables.linear(columns, False).fit(columns.iloc[seen], [answers[i] for i in seen]).predict(columns.iloc[rest])
    explained = 1 - (torch.tensor(said) - wanted).square().mean() / wanted.var(correction=0)
    assert found["ridge"][1] == pytest.approx(float(explained), abs=1e-5)
    monkeypatch.setattr(tables, "RIVALS", {"ridge": None})  # what is known is not asked again
    monkeypatch.setattr(tables, "reader", None)
    assert tables.measured("diabetes", splits=2) == found


def test_scores_are_shares_and_explained_variance() -> None:
    from studies import tables

    assert tables.score(["a", "b", 3], ["a", "c", "3"], True) == pytest.approx(2 / 3)
    assert tables.score([1.0, 2.0], [1.0, 3.0], False) == pytest.approx(0.5)
    assert tables.score([100.0, -9.0], [1.0, 3.0], False) == tables.WORST


def test_a_selector_is_chosen_by_unpublished_scenarios_alone() -> None:
    from studies import selectors

    def rows(published: float, unpublished: float) -> dict[str, float]:
        return {"QBF-2011": published, "GLUHACK-2018": published, "MIP-2016": unpublished}

    means = {"good there": rows(0.1, 0.9), "good here": rows(0.4, 0.2)}
    means |= {f"{name}, as published": rows(0.5, 1.0) for name in selectors.BESIDE}
    theirs = {who: {"QBF-2011": 0.3, "GLUHACK-18": 0.6, "SAT11-INDU": 9.0} for who in selectors.BESIDE.values()}
    gaps = {title: means[title] for title in ("good there", "good here")}
    found = selectors.compared(means, gaps, theirs)
    assert found["chosen"] == "good here" and found["mean"] == pytest.approx(0.4)
    assert found["scenarios"] == ["QBF-2011", "GLUHACK-2018"]
    assert list(found["published"].values()) == pytest.approx([0.45, 0.45])
    assert found["gap left on the others"] == {"good there": 0.9, "good here": 0.2}
    sums = (1, 3.0, 1.0, 1.5), (3, 1.0, 1.0, 4.0)
    folds = [dict(zip(("count", "par10", "oracle", "single"), one, strict=True)) for one in sums]
    theirs_by_fold = {who: {"QBF-2011": {1: 0.5, 2: 0.7}} for who in selectors.BESIDE.values()}
    assert selectors.means_of(theirs_by_fold)["sunny"] == {"QBF-2011": pytest.approx(0.6)}
    mine = {"QBF-2011": {"folds": [{"fold": 1, "npar10": 0.505}, {"fold": 2, "npar10": 0.9}]}}
    ours = {f"{name}, as published": mine | {"MIP-2016": mine["QBF-2011"]} for name in selectors.BESIDE}
    assert selectors.alike(ours, theirs_by_fold)["neighbours"] == {"within": 1, "of": 2}
    assert selectors.gap({"folds": folds}) == pytest.approx(2 / 9.5)  # where their mean is 2
    assert found["reproduced, less published"]["neighbours"] == pytest.approx({"QBF-2011": 0.2, "GLUHACK-2018": -0.1})


def test_alignment_is_the_cheapest_path_and_forgives_tempo() -> None:
    generator = torch.Generator().manual_seed(0)
    one, other = torch.randn(6, 3, generator=generator), torch.randn(5, 3, generator=generator)

    def best(i: int, j: int) -> float:
        if i < 0 or j < 0:
            return math.inf
        here = float((one[i] - other[j]).norm())
        if i == j == 0:
            return 2 * here
        return min(best(i - 1, j) + here, best(i, j - 1) + here, best(i - 1, j - 1) + 2 * here)

    sizes = torch.tensor([6]), torch.tensor([5])
    found = aligned(one[None], other[None], sizes)
    torch.testing.assert_close(found, torch.tensor([best(5, 4) / 11]), rtol=1e-5, atol=1e-6)
    padded = aligned(F.pad(one, (0, 0, 0, 3))[None], F.pad(other, (0, 0, 0, 2))[None], sizes)
    torch.testing.assert_close(padded, found)
    slow = one.repeat_interleave(2, 0)
    assert float(aligned(one[None], slow[None], (torch.tensor([6]), torch.tensor([12])))) < 1e-6


def test_a_row_of_agents_is_of_one_setting_and_each_part_of_the_seeds_that_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agents, "KEPT", tmp_path)
    monkeypatch.setattr(agents, "STORED", tmp_path / "agents.json")
    facts = dict.fromkeys(("steps", "episodes of a trial", "horizon", "tasks of a step", "episodes", "seconds"), 3)
    facts |= {"commit": "abc", "machine": {}}

    def brought(mean: float) -> agents.Figures:
        return {"trained": {"return": {"mean": mean, "ci95": 0.3, "count": 4}}}

    for seed, mean in enumerate((1.0, 2.0, 6.0)):
        agents.keep("highway", seed, facts | {"rows": brought(mean)} | ({"by rules": brought(9.0)} if seed else {}))
    told = agents.collect()["highway"]
    assert told["seeds"] == [0, 1, 2] and "in highway-env" not in told
    own, rules = (told[part]["trained"]["return"] for part in ("rows", "by rules"))
    assert own == {"mean": 3.0, "ci95": pytest.approx(0.3), "count": 4, "seeds": [1.0, 2.0, 6.0]}
    assert rules["seeds"] == [9.0, 9.0]
    (tmp_path / "agents.json").write_text('{"found": {"grid": {"seeds": [7]}, "highway": {"seeds": [7]}}}')
    assert agents.collect()["grid"] == {"seeds": [7]} and agents.collect()["highway"] == told
    agents.keep("highway", 2, facts | {"steps": 4, "rows": {}})
    with pytest.raises(ConfigError, match="highway were trained or measured differently"):
        agents.collect()


def test_an_index_is_the_mean_at_last_and_the_best_of_two_arms() -> None:
    table = indices(6)
    counts = torch.arange(7.0)
    mean = (1 + counts[:, None]) / (2 + counts[:, None] + counts)
    torch.testing.assert_close(table[1, :4, :4], mean[:4, :4], atol=3e-3, rtol=0)  # nothing follows the last pull
    assert bool((table[2:5, :2, :2] >= table[1:4, :2, :2]).all())  # the more follows, the more is finding out worth

    def value(left: int, won: int, lost: int) -> float:  # of that arm, beside one that always pays 0.6
        if not left:
            return 0.0
        p = float(mean[won, lost])
        goes_on = p * (1 + value(left - 1, won + 1, lost)) + (1 - p) * value(left - 1, won, lost + 1)
        return max(goes_on, 0.6 * left)

    for left in range(2, 6):
        assert (float(table[left, 0, 0]) > 0.6) == (value(left, 0, 0) > 0.6 * left + 1e-9)


def test_selectors_stand_beside_what_is_published() -> None:
    from studies import selectors, selectors_page

    def one(mean: float) -> dict[str, Any]:
        return {"npar10": {"mean": mean, "ci95": 0.1}}

    names = {"QBF-2011": 0.3, "GLUHACK-2018": 0.5, "MIP-2016": 2.0}
    figures = {title: {name: one(value + shift) for name, value in names.items()} for title, shift in
               {"shared-forest, planned": 0.0, "shared-forest": 0.1, "single-best, planned": 0.4}.items()}  # fmt: skip
    figures["per-algorithm, as published"] = {"QBF-2011": one(0.6), "GLUHACK-2018": one(0.9)}
    references = {"sunny": {"QBF-2011": 0.5, "GLUHACK-18": 0.4}, "isac": {"QBF-2011": 0.7, "GLUHACK-18": 0.6}}
    told = {"scenarios": ["QBF-2011", "GLUHACK-2018"], "chosen": "shared-forest, planned",
            "gap left on the others": {"shared-forest": 0.8},
            "reproduced, less published": {"neighbours": {"QBF-2011": 0.01, "GLUHACK-2018": -0.03}}}  # fmt: skip
    alike = {"neighbours": {"within": 3, "of": 20}}
    said = selectors_page.selectors(
        {"compared": told, "figures": figures, "references": references, "folds alike": alike}
    )
    assert selectors.CALLED["GLUHACK-2018"] == "GLUHACK-18"
    assert "| **shared-forest, planned** | here | 0.400 | -0.050 ±" in said and "| 1 of 2 |" in said
    assert "| SUNNY | published | 0.450 |  |" in said and "| GLUHACK-2018 | 0.400 (SUNNY) | 0.500 ± 0.100 |" in said
    assert "| per-algorithm, as published | 2 | 0.750 | 0.400 | +0.350 ±" in said
    assert "3 of 20 folds are within 0.01; farthest apart on GLUHACK-2018, by -0.030" in said


def test_who_is_ahead_follows_from_paired_differences() -> None:
    from studies.adaptshot_page import adaptshot

    def of(**means: float) -> dict[str, dict[str, float]]:
        return {name.replace("_", " "): {"mean": mean, "ci95": 0.02, "count": 9} for name, mean in means.items()}

    plain = {"accuracy": 0.8, "auroc": 0.7, "covered": 0.91, "size": 1.5, "alarms": 0.05, "refused": 0.3}
    other = of(**plain, auroc_by_one=0.6, auroc_by_two=0.9) | of(covered=0.98)
    row = {
        "rows": {"quickstudy": of(**plain), "AdaptShot": other}, "heads": {"chosen": "some head"},
        "gains": of(accuracy=0.05, auroc=-0.01, size=0.3), "commit": "0123abc",
    }  # fmt: skip
    text = adaptshot({"domains": {"x": row}, "coverage": 0.9, "alarms": 0.05, "encoder": "E", "version": "1"})
    assert "accuracy ahead (5.0 ± 2.0 points)" in text
    assert "AUROC of unknown inputs no difference" in text
    assert "size of sets behind (0.30 ± 0.02)" in text  # more classes are worse
    assert "0.900 ± 0.020 (two)" in text and "AUROC is below that of its best" in text
    assert "1.0 and 8.0 points from what was promised: nearer" in text
    assert "At the commits: x `0123abc`." in text


def test_the_tables_of_the_fields_are_those_of_the_stored_results() -> None:
    from studies.fields_page import CHINESE, PAGES, TABLES, filled

    for folder in (PAGES, CHINESE):
        pages = {page: page.read_text() for page in folder.glob("*.md")}
        remade = {page: filled(text, folder == CHINESE) for page, text in pages.items()}
        assert remade == pages, "python -m studies.fields_page"
        assert all(f"<!-- table: {name} -->" in "".join(pages.values()) for name in TABLES)
    assert filled("a <!-- table: signs -->\nold\n<!-- end of table --> b").count("|") > 10
