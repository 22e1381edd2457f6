"""What a run's models promise, held against test tasks: its figures, the report's section, the command's lines."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import quickstudy as qs
from quickstudy.cli import main
from quickstudy.errors import ConfigError
from quickstudy.registry import learners, models, sources
from quickstudy.report.trusted import trust_sections
from quickstudy.trust.figures import BINS, auroc, bins, calibration_error, resampled, spearman


def test_ranks_of_equal_values_share_their_mean() -> None:
    a, b = torch.tensor([1.0, 2.0, 2.0, 9.0]), torch.tensor([0.1, 0.3, 0.2, 0.4])
    ranks = torch.tensor([[1.0, 2.5, 2.5, 4.0], [1.0, 3.0, 2.0, 4.0]])
    assert spearman(a, b) == pytest.approx(float(torch.corrcoef(ranks)[0, 1]))
    assert spearman(a, a.exp()) == pytest.approx(1) and spearman(a, -a) == pytest.approx(-1)
    assert spearman(a, torch.ones(4)) == 0


def test_auroc_of_two_normals_is_known() -> None:
    """Φ(d / √2) for normals of spread 1 that are d apart."""
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(3000, generator=generator, dtype=torch.float64) for _ in range(2))
    assert auroc(one + 1, other) == pytest.approx(float(torch.special.ndtr(torch.tensor(0.5**0.5))), abs=0.015)
    assert auroc(torch.ones(3), torch.ones(5)) == 0.5


def test_calibration_error_is_how_much_too_sure_one_is() -> None:
    """Half of the answers with probability 0.9 are right, and all with 0.7: |0.9 − 0.5| / 2 + |0.7 − 1| / 2."""
    p = torch.tensor([[0.9, 0.1]] * 4 + [[0.7, 0.3]] * 4, dtype=torch.float64)
    y = torch.tensor([0, 1, 0, 1, 0, 0, 0, 0])
    whole = bins(p, y)
    assert whole.shape == (BINS, 3) and float(whole[:, 2].sum()) == 8
    assert calibration_error(whole[None]) == pytest.approx(0.35)
    both = torch.stack([bins(p[:3], y[:3]), bins(p[3:], y[3:])])
    assert calibration_error(both) == pytest.approx(0.35)  # tasks are pooled before they are compared


def test_resampling_gives_the_interval_of_a_mean() -> None:
    values = torch.randn(300, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = resampled(lambda rows: float(values[rows].mean()), len(values))
    assert found.mean == pytest.approx(float(values.mean()))
    assert found.ci95 == pytest.approx(1.96 * float(values.std()) / 300**0.5, rel=0.12)


def trained(place: Path, apart: float) -> qs.Run:
    """On clusters of 4 numbers; `apart` from each other, in units of their spread."""
    generator = torch.Generator().manual_seed(0)
    centres = apart * torch.randn((160, 4), generator=generator)
    x = (centres[:, None] + torch.randn((160, 40, 4), generator=generator)).flatten(0, 1)
    source = qs.tasks.arrays(x, [c for c in range(160) for _ in range(40)], val=0.4, test=0.4)
    config = qs.RunConfig(
        name="t", learner=learners.part("protonet", temperature=3.0), ways=5, shots=5, queries=10, device="cpu",
        iterations=30, validation_episodes=20,
    )  # fmt: skip
    return qs.train(config, module=nn.Linear(4, 4), source=source, out=place / "run", quiet=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> qs.Run:
    return trained(tmp_path_factory.mktemp("checked"), 1.5)


def test_promises_hold_on_test_tasks(run: qs.Run) -> None:
    """The logits are three times too large: only the temperature, and what is fitted, makes them right."""
    found = run.check_trust(tasks=120)
    assert found.tasks == 120 and len(found.said) == 120 and found.strange > 0
    assert 0.83 < found.held.mean < 0.97 and found.width.mean < 0.3
    inside = [low <= true <= high for low, true, high in zip(found.low, found.truth, found.high, strict=True)]
    assert sum(inside) / 120 == pytest.approx(found.held.mean, abs=0.01)
    assert found.rank is not None and found.rank.mean > 0.4
    assert found.before.mean > 0.06 > 0.03 > found.after.mean
    assert found.covered is not None and 0.93 < found.covered.mean < 0.97
    assert found.size is not None and 1 < found.size.mean < 2.5
    assert found.auroc is not None and found.by_probability is not None
    assert found.auroc.mean - found.auroc.ci95 > found.by_probability.mean + found.by_probability.ci95
    assert found.alarms is not None and found.refused is not None
    assert 0.03 < found.alarms.mean < 0.07 < found.refused.mean
    assert sum(found.plain.count) == sum(found.tempered.count) == sum([found.queries] * 120)
    assert run.check_trust(tasks=120) == found
    with pytest.raises(ConfigError, match="2 tasks"):
        run.check_trust(tasks=1)


def test_an_untrue_trust_is_found_out(run: qs.Run) -> None:
    """Estimates that are put too high, and sets whose threshold is put too low, do not hold what they promise."""
    honest = run.trust
    at = honest.several
    assert at is not None
    higher = replace(at.estimator.mean, bias=at.estimator.mean.bias + 0.25)
    lower = tuple(replace(line, bias=line.bias - 2) for line in at.sets.lines)
    untrue = replace(at, estimator=replace(at.estimator, mean=higher), sets=replace(at.sets, lines=lower))
    try:
        run.__dict__["trust"] = replace(honest, several=untrue)
        found = run.check_trust(tasks=60)
    finally:
        run.__dict__["trust"] = honest
    assert found.held.mean + found.held.ci95 < 0.8
    assert found.covered is not None and found.covered.mean + found.covered.ci95 < 0.93


def test_the_report_tells_it(run: qs.Run) -> None:
    numbers: dict[str, object] = {}
    (section,) = trust_sections(run, 180, numbers)
    assert section.title == "How far it can be trusted" and "60 test tasks" in section.text
    assert section.body.count("<svg") == 2 and "before the temperature" in section.body
    stored = json.loads(json.dumps(numbers["trust"]))
    said = f"{100 * stored['held']['mean']:.1f} ± {100 * stored['held']['ci95']:.1f} %"
    assert said in section.body.replace("\u00a0", " ")


def test_the_command_tells_it_and_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    config = qs.RunConfig(
        name="g", tasks=sources.part("glyphs"), model=models.part("mlp"), learner=learners.part("protonet"), ways=3,
        shots=2, queries=5, iterations=1, validation_episodes=2, device="cpu",
    )  # fmt: skip
    qs.train(config, out="g", quiet=True).fit_trust(40)
    assert main(["evaluate", "g", "--episodes", "4", "--trust", "3", "--out", "r.json"]) == 0
    lines = capsys.readouterr().out
    assert "tried on 3 test tasks" in lines and "docs/trust.md" in lines
    rows = ("lies in the interval that it tells +90 %", "in its set .of .* classes. +95 %", "is taken for unknown +5 %")
    for row in (*rows, "an unknown input is taken for unknown"):
        assert re.search(rf"{row} .*±.*%", lines), row
    assert "AUROC" not in lines and "rank" not in lines  # those are for whoever asks for more
    told = json.loads(Path("r.json").read_text())[0]["trust"]
    assert told["tasks"] == 3 and {"auroc", "rank", "before", "after", "size", "width"} <= {n for n in told if told[n]}
    assert main(["evaluate", "g", "--episodes", "4", "--trust", "0"]) == 0
    assert "interval" not in capsys.readouterr().out.replace("± 95 % CI", "")
