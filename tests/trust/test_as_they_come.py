"""Trust over tasks that are as they come: tables, of which no class can be left out, and masks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import quickstudy as qs
from quickstudy.engine import Engine
from quickstudy.errors import ConfigError
from quickstudy.registry import formats, learners, models, targets
from quickstudy.spec import TaskSpec
from quickstudy.targets.answers.masks import MaskAnswer
from quickstudy.tasks.base import Sampling
from quickstudy.tasks.masks import MaskSource
from quickstudy.training.learner import build_learner
from quickstudy.trust.base import Trust
from quickstudy.trust.checked import checked
from quickstudy.trust.checked_values import CheckedPixels
from quickstudy.trust.draw import Size
from quickstudy.trust.figures import bins, calibration_error
from quickstudy.trust.fit import fit_trust
from quickstudy.trust.pixels import PixelTrust, seen
from quickstudy.trust.task import TaskTrust, task_trust, trust_or_why

OWN = Sampling(4, 16, 32)


def test_estimates_and_sets_hold_on_tables() -> None:
    source = qs.tasks.mixed_tables(columns=3).sampled(OWN)
    config = qs.RunConfig(
        name="t", model=models.part("cells", width=8, depth=0),
        learner=learners.part("axial", width=8, layers=1, heads=2, hints=True),
    )  # fmt: skip
    learner = build_learner(config, source.spec)
    engine, params = Engine(learner, torch.device("cpu")), learner.init(torch.Generator().manual_seed(0))
    trust = fit_trust(engine, params, source, OWN, seed=0, tasks=160)
    assert trust.several is not None and trust.several.known is None and not trust.strangers
    assert trust.several.ways[0] == 2 and trust.several.ways[1] == 4
    found = checked(engine, params, source, trust, OWN, tasks=120)
    assert 0.8 <= found.held.mean <= 0.98 and found.strange == 0 and found.auroc is None
    assert found.covered is not None and abs(found.covered.mean - 0.95) < 0.03
    assert found.after.mean < 0.06
    one = source.sampled(OWN).episodes("val", torch.arange(1))
    support = qs.Examples(*(part[0] for part in one.support))  # type: ignore[arg-type, index]
    own = task_trust(trust, learner.evaluated(), params, support)
    assert isinstance(own, TaskTrust)
    with pytest.raises(ConfigError, match="false alarms"):
        own.judged(torch.zeros(3, 4), torch.zeros(3, 4), false_alarms=0.05)
    first = torch.stack([(support.y == c).nonzero()[0, 0] for c in support.y.unique()])
    alone = qs.Examples(support.x[first], support.y[first], support.mask[first])  # type: ignore[index]
    nothing, why = trust_or_why(trust, learner.evaluated(), params, alone)
    assert nothing is None and "one example of each class" in why


@pytest.fixture(scope="module")
def pixels() -> MaskSource:
    """Images (3, 6, 6) whose pixels are noise about the colour of what they show."""
    generator = torch.Generator().manual_seed(0)
    concepts, each, size = 30, 24, 6
    maps = torch.zeros(concepts * each, size, size, dtype=torch.int16)
    for i in range(len(maps)):
        there = torch.rand(size, size, generator=generator) < 0.5
        there[0, 0] = True
        maps[i] = there * (1 + i // each)
    colours = 30 * torch.randn(concepts + 1, 3, generator=generator)
    noise = 40 * torch.randn(len(maps), 3, size, size, generator=generator)
    x = (128 + colours[maps.long()].permute(0, 3, 1, 2) + noise).clamp(0, 255).to(torch.uint8)
    ids = torch.arange(1, concepts + 1)
    return MaskSource(
        x=x, maps=maps, names=("background", *(f"c{i}" for i in ids.tolist())),
        splits={"train": ids[:4], "val": ids[4:18], "test": ids[18:]},
        spec=TaskSpec(formats.make("image", size=size, channels=3), targets.make("masks", ways=2, size=size)),
        sampling=Sampling(2, 2, 4),
    )  # fmt: skip


class TooSure(nn.Module):
    """Distances of which are nine times what they should be."""

    def forward(self, x: Tensor) -> Tensor:
        return 13.5 * x  # 9 times 1 / (2 σ²) is 183, at noise of σ = 40 / 255


def test_doubt_of_pixels_is_calibrated(pixels: MaskSource) -> None:
    learner = build_learner(qs.RunConfig(name="m", learner=learners.part("protonet")), pixels.spec, module=TooSure())
    engine, params = Engine(learner, torch.device("cpu")), learner.init(torch.Generator().manual_seed(0))
    trust = fit_trust(engine, params, pixels, pixels.sampling, seed=0, tasks=80)
    assert trust.pixels is not None and Trust.from_json(trust.to_json()) == trust
    before, after = [], []
    for one in seen(engine, params, pixels, "test", Size(2, 2, 0, 4, tasks=80), first=0):
        tempered = one.logits / trust.pixels.temperature(one.features).exp()
        before.append(bins(one.logits.double().softmax(1), one.y))
        after.append(bins(tempered.double().softmax(1), one.y))
    assert calibration_error(torch.stack(before)) > 0.08 and calibration_error(torch.stack(after)) < 0.05
    found = checked(engine, params, pixels, trust, pixels.sampling, tasks=80)
    assert isinstance(found, CheckedPixels) and found.tasks == 80
    assert found.before.mean == pytest.approx(calibration_error(torch.stack(before)))
    assert found.after.mean == pytest.approx(calibration_error(torch.stack(after)))
    assert abs(found.right.mean - found.sure.mean) < found.after.mean + 0.01  # no further apart than their bins
    assert [one.promised for one in found.outcomes()] == [f"{100 * found.sure.mean:.1f} %"]


def test_masks_say_how_sure_they_are_and_promise_no_sets(pixels: MaskSource, tmp_path: Path) -> None:
    config = qs.RunConfig(
        name="m", learner=learners.part("protonet"), ways=2, shots=2, queries=4, iterations=3, device="cpu",
        validation_episodes=8,
    )  # fmt: skip
    run = qs.train(config, module=nn.Conv2d(3, 4, 1), source=pixels, out=tmp_path / "run", quiet=True)
    images = pixels.x[:4]  # type: ignore[index]
    masks = (pixels.maps[:4] > 0).long()
    assert run.adapt(images, masks).trust is None
    run.fit_trust(tasks=40)
    model = run.adapt(images, masks)
    assert isinstance(model.trust, PixelTrust)
    model.save(tmp_path / "m")
    again = qs.Model.load(tmp_path / "m", module=nn.Conv2d(3, 4, 1))
    said, plain = again.predict(images), run.adapt(images, masks, trust=False).predict(images)
    assert isinstance(said, MaskAnswer) and isinstance(plain, MaskAnswer)
    assert torch.equal(said.masks, plain.masks) and not torch.allclose(said.doubt, plain.doubt)
    with pytest.raises(ConfigError, match="doubt"):
        again.predict(images, coverage=0.9)
    with pytest.raises(ConfigError, match="whole inputs"):
        _ = again.estimate
