"""The benchmarks: contestants that compute the same, fair turns, and a page that is what the stored figures give."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import episodes
from benchmarks.contestants import Gradient, Ours, plans
from benchmarks.figures import LENT
from benchmarks.metastep import Disagreement, check
from benchmarks.page import HEAD, RESULTS, main, page
from benchmarks.peers import PEERS, PlainLoop
from benchmarks.problems import META_STEPS, Problem
from benchmarks.roofline import captured, convolutions, flops
from benchmarks.timing import Effort, Timed, alternate, repeated
from quickstudy.engine import Plan
from quickstudy.registry import formats
from quickstudy.tasks import arrays

ROOT = Path(__file__).parents[1]
SINUSOID = replace(META_STEPS["sinusoid-5"][1], tasks=3, steps=2)
CONV4 = Problem("conv4", 2, 0.1, tasks=2, size=16, width=3)
POOLED = replace(CONV4, pool=True, channels=3)


def test_docs_page_is_up_to_date() -> None:
    assert (ROOT / "docs" / "performance.md").read_text() == page(RESULTS), (
        "docs/performance.md is not what benchmarks/results.json says: run `python -m benchmarks.page`."
    )


@pytest.mark.parametrize("problem", [SINUSOID, CONV4, POOLED], ids=["sinusoid", "conv4", "pooled"])
def test_ours_and_the_hand_written_loop_agree_on_every_eager_plan(problem: Problem) -> None:
    ours = [Ours(problem, plan) for plan in plans(problem) if plan.compiled == "no"]
    assert len(ours) >= 2
    check([*ours, Ours(problem, Plan("loop"), "recompute")], PlainLoop(problem))


@pytest.mark.parametrize("name", PEERS)
def test_peers_compute_the_same_meta_gradient_and_the_same_step(name: str) -> None:
    if name in ("higher", "torchopt"):
        pytest.importorskip(name)
    for problem in (SINUSOID,) if "vmap" in name else (SINUSOID, CONV4, POOLED):
        peer, ours = PEERS[name](problem), Ours(problem, Plan("loop"))
        check([peer], ours)
        peer.step()
        ours.step()
        check([peer], ours)  # after a step of Adam, and with nothing left over of the first task or step


@pytest.mark.parametrize("over", ["vmap", "map"])
def test_jax_computes_the_same_meta_gradient_and_the_same_step(over: str) -> None:
    pytest.importorskip("jax")
    pytest.importorskip("optax")
    from benchmarks.with_jax import Jax

    for problem in (SINUSOID, CONV4):
        peer, ours = Jax(problem, over), Ours(problem, Plan("loop"))
        check([peer], ours)
        peer.step()
        ours.step()
        check([peer], ours)


def test_nothing_is_reported_of_contestants_that_compute_something_else() -> None:
    class Wrong(PlainLoop):
        def gradient(self) -> Gradient:
            return {name: value * 1.01 for name, value in super().gradient().items()}

    with pytest.raises(Disagreement, match="differs from PyTorch by hand by 0.01"):
        check([Wrong(SINUSOID)], PlainLoop(SINUSOID))


def test_contestants_take_turns_and_a_slow_one_stops_at_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    clock = [0.0]
    monkeypatch.setattr("benchmarks.timing.time.perf_counter", lambda: clock[0])

    def call(name: str, seconds: float) -> Callable[[], None]:
        def run() -> None:
            calls.append(name)
            clock[0] += seconds

        return run

    effort = Effort(rounds=6, turn=0.5, limit=3.0, least=2)
    timed = alternate({"a": repeated(call("a", 0.25)), "b": repeated(call("b", 2.0))}, effort)
    assert timed == {"a": Timed(0.25, 0.25, 0.25, 6), "b": Timed(2.0, 2.0, 2.0, 2)}
    assert "".join(calls) == "aabb" + "aab" + "baa" + "aa" * 4  # two calls each to warm up, then turns of half a second


def test_episodes_of_the_data_loader_are_shaped_like_ours() -> None:
    x = torch.randint(0, 256, (30 * 16, 1, 28, 28), dtype=torch.uint8)
    y = [i // 16 for i in range(len(x))]
    source = arrays(x, y, format=formats.make("image", size=28, channels=1))
    episodes.check(source.sampled(episodes.PROTOCOL), x, y)


def stored() -> dict[str, Any]:
    where = {
        "machine": "A processor", "threads": 2, "versions": {"torch": "2.13.0"}, "commit": "abc1234567",
        "date": "2026-01-02", "load": 0.1, "quick": True,
    }  # fmt: skip

    def row(name: str, family: str, seconds: float, chosen: bool = False) -> dict[str, Any]:
        return {
            "name": name, "family": family, "chosen": chosen, "difference": 1e-7, "seconds": seconds,
            "low": seconds, "high": seconds, "turns": 15,
        }  # fmt: skip

    rows = [
        row("quickstudy, vmap", "quickstudy", 0.010),
        row("quickstudy, vmap, compiled", "quickstudy", 0.0020, chosen=True),
        row("quickstudy, one task after another", "quickstudy", 0.0018),
        row("torchopt", "PyTorch", 0.082),
        row("torchopt, with our allocator setting", LENT, 0.0046),
        row("JAX, jit of vmap", "JAX", 0.0010),
    ]
    problem = {"name": "sinusoid-1", "title": "sine curves", "tasks": 25, "steps": 1, "rows": rows}
    memory = [
        {"name": "quickstudy, recompute", "steps": 40, "bytes": 1e9, "seconds": 2.0},
        {"name": "higher", "steps": 40, "bytes": 4e9, "seconds": 2.04},
        {"name": "torchopt", "steps": 40, "bytes": None, "seconds": None},
    ]
    images = problem | {"name": "conv4-1", "title": "images"}
    return {
        "meta-step": {"where": where, "found": [problem, images]},
        "roofline": {
            "where": where,
            "found": [
                {"name": "conv4-1", "title": "Images", "calls": 7, "flops": 2e10, "rate": 4e11, "seconds": 0.001},
            ],
        },
        "memory": {"where": where, "found": {"title": "Large", "limit": 16e9, "rows": memory}},
    }


def test_operations_of_convolutions_are_as_many_as_pytorch_counts() -> None:
    one, two = (replace(CONV4, tasks=tasks) for tasks in (1, 2))
    found = [sum(flops(call) * n for call, n in convolutions(problem).items()) for problem in (one, two)]
    gradient = captured(one)
    with FlopCounterMode(display=False) as counter:  # which counts a group several times: of one task there is one
        gradient()
    counted = counter.get_flop_counts()["Global"]
    aten = torch.ops.aten
    assert found[0] == counted[aten.convolution] + counted[aten.convolution_backward]
    assert found[1] == 2 * found[0]


def test_page_of_made_up_figures_says_where_we_lose(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(json.dumps(stored()))
    main([str(tmp_path / "results.json"), str(tmp_path / "performance.md")])
    text, other = (tmp_path / "performance.md").read_text(), "the best other way in PyTorch"
    assert text.startswith(HEAD)
    for line in (
        "| sine curves, 1 inner step: torchopt's time over quickstudy's | at least 40 | 41 | yes |",
        "| sine curves, 1 inner step: JAX's time over quickstudy's | at least 1 | 0.5 | **no** |",
        "| memory, 40 inner steps: quickstudy's over higher's | at most 0.2 | 0.25 | **no** |",
        f"| Conv4-64, 1 inner step: {other} over quickstudy's time | at least 2.5 | 41 | yes |",
        f"| Conv4-64, 1 inner step: {other}, with our allocator setting, over quickstudy's time | none | 2.3 |  |",
        f"| Conv4-64, 5 inner steps: {other} over quickstudy's time | at least 3 | not measured | **no** |",
        "The best other way in PyTorch takes 41.0 times quickstudy's time as it is, and 2.30 times with our allocator "
        "setting.",
        "- time of a meta-step, images, beside torchopt, with our allocator setting: 2.30 times better",
        "| quickstudy --help, seconds | at most 0.3 | not measured | **no** |",
        "- time of a meta-step, sine curves, beside JAX, jit of vmap: quickstudy needs 2.00 times as much",
        "- time of a meta-step, sine curves, beside torchopt: 41.0 times better",
        "- memory of a meta-step, 40 inner steps, 84 × 84 images, beside higher: 4.00 times better",
        "| **quickstudy, vmap, compiled** (chosen) | 2 ms | 2 ms to 2 ms | 1.00 | 1e-07 | 15 |",
        "The fastest plan, quickstudy, one task after another, was not chosen; it takes 10 % less time.",
        "| torchopt | more than 16 GB |",
        "| 20.0 GFLOP at 400 GFLOP/s | 50 ms | 50.0 |",
        "| the 7 convolutions alone, 20000 GFLOP/s | 1 ms | 1.00 |",
        "| the whole meta-step, as chosen | 2 ms | 2.00 |",
        "| what the target asks for | 32.8 ms | 32.8 |",
        "| the best other way in PyTorch, with our allocator setting | 4.6 ms | 4.60 |",
    ):
        assert line in text.splitlines(), line
    assert "abc1234567" in text and "not to be quoted" in text
    level = text.partition("## Where it makes no difference")[2].partition("##")[0]
    assert "time of the meta-step" in level and "1.02" in level


def test_page_without_figures(tmp_path: Path) -> None:
    assert page(tmp_path / "none.json") == HEAD + "\nThere are no stored measurements yet.\n"
