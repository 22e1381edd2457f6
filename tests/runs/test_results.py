"""Stored results and the page made of them."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from quickstudy.errors import ConfigError
from quickstudy.evaluation.result import Result
from quickstudy.recipes.small import linear_maml
from quickstudy.runs.reproduce import measure, reproduce
from quickstudy.runs.results import HEAD, main, page, verdict
from quickstudy.runs.run import Run
from quickstudy.training.config import RunConfig
from quickstudy.training.protocol import Protocol

ROOT = Path(__file__).parents[2]


def result(mean: float, ci95: float, metric: str = "accuracy") -> Result:
    return Result(
        metric=metric, mean=mean, ci95=ci95, episodes=1000, split="test", ways=5, shots=1, queries=15, seed=3,
        transductive=False, steps=None, values=[mean, mean], commit="abc1234567", machine="A processor",
    )  # fmt: skip


def stored(*pairs: tuple[Protocol, Result]) -> dict[str, Any]:
    return {
        "recipe": "made-up",
        "config": replace(linear_maml(), seed=3).to_json(),
        "training": {
            "seconds": 125.0,
            "kept_step": 400,
            "validation": 0.9,
            "commit": "def7654321",
            "machine": "Another",
        },
        "machine": "A processor",
        "commit": "abc1234567",
        "date": "2026-01-02",
        "protocols": [{"protocol": asdict(protocol), "result": found.to_json()} for protocol, found in pairs],
        "baselines": [
            {
                "name": "untrained network",
                "protocol": pairs[0][0].name,
                "result": result(0.5, 0.01).to_json(),
                "inner_lr": 3.0,
            }
        ],
        "notes": ["One seed only."],
    }


def test_docs_page_is_up_to_date() -> None:
    assert (ROOT / "docs" / "results.md").read_text() == page(ROOT / "results"), (
        "docs/results.md is not what results/*.json say: run `python -m quickstudy.runs.results`."
    )


def test_page_of_made_up_results(tmp_path: Path) -> None:
    reached = Protocol(name="easy", published=98.8, source="Somebody 2017, table 1", target=98.8)
    missed = Protocol(name="a | b", target=4.0, error=True)
    (tmp_path / "made-up.json").write_text(
        json.dumps(stored((reached, result(0.99, 0.001)), (missed, result(0.95, 0.002))))
    )
    main([str(tmp_path), str(tmp_path / "results.md")])
    text = (tmp_path / "results.md").read_text()
    assert text.startswith(HEAD)
    easy, hard = (line for line in text.split("\n") if line.startswith(("| easy", "| a ")))
    assert easy == (
        "| easy | accuracy, % | **99.00 ± 0.10** | 1,000 | 98.8 (Somebody 2017, table 1) | 98.8 | yes | 50.00 ± 1.00 |"
    )
    assert hard == r"| a \| b | error, % | **5.00 ± 0.20** | 1,000 |  | 4 | no: 1.00 short |  |"
    for fact in (
        "2 min 05 s",
        "kept step 400",
        "seed 3",
        "Another",
        "`abc1234567`",
        "`def7654321`",
        "Note: One seed only.",
    ):
        assert fact in text
    for fact in ("best of several inner rates on validation tasks, 3,",):
        assert fact in text


def test_page_without_results(tmp_path: Path) -> None:
    assert "no stored results" in page(tmp_path)


@pytest.mark.parametrize(
    ("protocol", "found", "said"),
    [
        (Protocol(name="p"), result(0.9, 0.1), ""),
        (Protocol(name="p", target=90.0), result(0.9, 0.1), "yes"),
        (Protocol(name="p", target=95.0), result(0.94, 0.002), "no: 1.00 short"),
        (Protocol(name="p", target=95.0), result(0.94, 0.02), "no: 1.00 short, within the interval"),
        (Protocol(name="p", target=7.0, error=True), result(0.94, 0.001), "yes"),
        (Protocol(name="p", target=0.35), result(0.34, 0.01, "mse"), "yes"),
        (Protocol(name="p", target=0.35), result(0.4, 0.01, "mse"), "no: 0.050 short"),
        (Protocol(name="p", target=0.35), result(float("nan"), 0.01, "mse"), "no: diverged"),
    ],
)
def test_verdict_is_honest(protocol: Protocol, found: Result, said: str) -> None:
    assert verdict(protocol, found) == said


@pytest.mark.parametrize(
    ("protocol", "found", "baseline", "said"),
    [
        (Protocol(name="p", gain=5.0), result(0.94, 0.001), result(0.88, 0.01), "yes"),
        (Protocol(name="p", gain=5.0), result(0.94, 0.001), result(0.90, 0.01), "no: 1.00 short"),
        (Protocol(name="p", gain=1.0), result(5.0, 0.1, "mse"), result(0.5, 0.1, "mse"), "no: 5.500 short"),
        (Protocol(name="p", gain=1.0), result(0.1, 0.1, "mse"), result(3.0, 0.1, "mse"), "yes"),
        (Protocol(name="p", gain=5.0, error=True), result(0.94, 0.001), result(0.88, 0.01), "yes"),
    ],
)
def test_gain_is_over_the_untrained_network(protocol: Protocol, found: Result, baseline: Result, said: str) -> None:
    assert verdict(protocol, found, baseline) == said


def tiny() -> RunConfig:
    protocols = tuple(
        Protocol(name=f"{steps} steps", ways=2, shots=3, queries=4, episodes=8, steps=steps, split=split)
        for steps, split in ((1, "test"), (2, "val"))
    )
    return replace(
        linear_maml(),
        iterations=4,
        validate_every=2,
        validation_episodes=4,
        log_every=1,
        device="cpu",
        protocols=protocols,
    )


def test_reproduce_measures_every_protocol_with_its_own_sizes(tmp_path: Path) -> None:
    path = reproduce(tiny(), tmp_path / "results" / "linear-maml.json", folder=tmp_path / "run", quiet=True)
    facts = json.loads(path.read_text())
    assert RunConfig.from_json(facts["config"]).to_json() == tiny().to_json()
    found = [entry["result"] for entry in facts["protocols"]]
    assert [(r["steps"], r["split"], r["shots"], r["queries"], r["episodes"]) for r in found] == [
        (1, "test", 3, 4, 8),
        (2, "val", 3, 4, 8),
    ]
    assert all(len(r["values"]) == 8 for r in found)
    run = Run(tmp_path / "run")
    untrained = run.evaluate(ways=2, shots=3, queries=4, steps=1, episodes=8, params=run.untrained())
    assert facts["baselines"][0]["result"]["values"] == untrained.values
    assert facts["training"]["kept_step"] == run.kept["step"]
    assert "1 steps" in page(path.parent)
    again = json.loads(measure(run, tmp_path / "again.json").read_text())
    assert [e["result"]["values"] for e in again["protocols"]] == [r["values"] for r in found]


def test_untrained_network_takes_its_best_rate(tmp_path: Path) -> None:
    rates = (1e-6, 0.3)
    protocol = replace(tiny().protocols[0], gain=1.0, scratch_rates=rates, queries=20, episodes=40)
    config = replace(tiny(), protocols=(protocol,))
    facts = json.loads(reproduce(config, tmp_path / "out.json", folder=tmp_path / "run", quiet=True).read_text())
    baseline = facts["baselines"][0]
    assert baseline["inner_lr"] == 0.3
    assert baseline["result"]["episodes"] == 40
    run = Run(tmp_path / "run")
    own_rate = run.evaluate(ways=2, shots=3, queries=20, steps=1, episodes=40, params=run.untrained())
    assert baseline["result"]["mean"] != own_rate.mean


def test_a_run_of_another_recipe_is_refused(tmp_path: Path) -> None:
    reproduce(tiny(), tmp_path / "out.json", folder=tmp_path / "run", quiet=True)
    with pytest.raises(ConfigError, match="is not the recipe 'linear-maml': its iterations is 4"):
        measure(Run(tmp_path / "run"), tmp_path / "again.json", recipe=linear_maml())


def test_a_run_without_protocols_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no protocols"):
        reproduce(replace(tiny(), protocols=()), tmp_path / "out.json")
