"""LoRA: the low-rank matrices alone are what either loop moves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import quickstudy as qs
from quickstudy.registry import learners
from quickstudy.runs.train import train

peft = pytest.importorskip("peft")


def adapted(outputs: int = 3, dropout: float = 0.0) -> Any:
    torch.manual_seed(2)
    net = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, outputs))
    wanted = peft.LoraConfig(r=2, target_modules=["0", "2"], lora_dropout=dropout, bias="none")
    return peft.get_peft_model(net, wanted)


def source() -> Any:
    return qs.tasks.arrays(
        torch.randn(240, 6, generator=torch.Generator().manual_seed(0)), [i % 20 for i in range(240)]
    )


@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize("name", ["protonet", "maml", "fomaml", "reptile", "finetune"])
def test_only_low_rank_matrices_move(name: str, dropout: float, tmp_path: Path) -> None:
    options: dict[str, Any] = {"tune": "all"} if name == "finetune" else {}
    made = qs.RunConfig(
        name="x", learner=learners.part(name, **options), ways=3, shots=2, queries=3, iterations=8, meta_batch=2,
        validation_episodes=3, lr=0.03, compile="off", device="cpu",
    )  # fmt: skip
    net = adapted(dropout=dropout)
    start = {f"network.{n}": v.detach().clone() for n, v in net.named_parameters()}
    run = train(made, module=net, source=source(), out=tmp_path / "run", quiet=True)
    assert all(torch.equal(value, run.untrained()[n]) for n, value in start.items()), "LoRA's zeros were drawn anew"
    moved = {n for n, value in start.items() if not torch.equal(value, run.params[n])}
    assert moved and all("lora_" in n for n in moved)
    model = run.adapt(torch.randn(6, 6), list("aabbcc"))
    own = {n for n in model.state if n.startswith("task.") and "(head)" not in n}
    assert all("lora_" in n for n in own) and bool(own) == (name not in ("protonet",))
    merged = replace(made, iterations=0)
    still = train(merged, module=net, source=source(), out=tmp_path / "still", quiet=True)
    assert all(torch.equal(value, still.params[n]) for n, value in start.items())
