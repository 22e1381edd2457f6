"""Learners on masks: each pixel is an example to what learns from embeddings, and networks answer for all at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from small_tasks import MASKS, episodes, examples, generator
from torch import Tensor, nn

from quickstudy.engine import Engine
from quickstudy.episode import Examples, map_episode
from quickstudy.errors import ConfigError, ModelError, ShapeError
from quickstudy.heads import Logistic, Ridge
from quickstudy.learners import Learner, protonet, r2d2
from quickstudy.registry import formats, learners, models, targets
from quickstudy.spec import TaskSpec
from quickstudy.testing import check_learner

SMALL = {"width": 2, "depth": 1, "norm_layer": "none"}


class Smooth(nn.Module):
    """Features of each pixel, smooth so that finite differences are accurate everywhere."""

    def __init__(self, features: int, size: int = 4) -> None:
        super().__init__()
        self.conv, self.size = nn.Conv2d(1, features, 3, padding=1), size

    def forward(self, x: Tensor) -> Tensor:
        z = torch.tanh(self.conv(x))
        return z if self.size == 4 else F.interpolate(z, (self.size, self.size), mode="bilinear")


class SmoothDecoder(nn.Module):
    """Called as `models.Decoder` is, and smooth."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 1, 1)

    def forward(self, z: Tensor, image: Tensor, keys: Tensor, members: Tensor, values: Tensor) -> Tensor:
        like = torch.einsum("ndhw,md,mc->nchw", z, keys, members)
        both = torch.stack([values, like, values * like, image.expand_as(values)], 2)
        return torch.tanh(self.conv(both.flatten(0, 1))).reshape(values.shape)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("protonet", {}),
        ("protonet", {"distance": "cosine", "temperature": 20.0, "learn_temperature": True}),
        ("r2d2", {"regularisation": 0.1}),
        ("matchingnet", {}),
        ("lrd2", {}),
        ("meta-baseline", {}),
        ("maml", {"steps": 2, "lr": 0.1}),
        ("anil", {"steps": 2, "lr": 0.1}),
        ("reptile", {"steps": 2, "lr": 0.1}),
        ("metasgd", {"steps": 2}),
    ],
)
def test_learners_conform_on_masks(name: str, options: dict[str, Any]) -> None:
    outputs = MASKS.ways if learners.traits(name).head else 4
    module = nn.Sequential(Smooth(4), nn.Conv2d(4, outputs, 1)).double()
    check_learner(learners[name](module, MASKS, **options), episodes(MASKS, tasks=2, support=3, query=2))


@pytest.mark.parametrize("choose", [True, False])
def test_a_decoder_conforms(choose: bool) -> None:
    module = nn.Sequential(Smooth(4), nn.Conv2d(4, 4, 1)).double()
    learner = learners["decoder"](module, MASKS, SmoothDecoder().double(), choose=choose)
    check_learner(learner, episodes(MASKS, tasks=2, support=3, query=2))
    check_learner(learner.evaluated(), episodes(MASKS, tasks=2, support=3, query=2))


def test_features_of_another_resolution_conform() -> None:
    check_learner(r2d2(Smooth(3, 2).double(), MASKS), episodes(MASKS, tasks=2, support=3, query=2))


def test_the_prototypes_are_masked_averages_and_pixels_take_the_nearest_by_cosine() -> None:
    """PANet's formulas (Wang et al. 2019), the long way."""
    learner = protonet(Smooth(5).double(), MASKS, distance="cosine", temperature=20.0)
    params = learner.init(generator())
    support, query = episodes(MASKS, tasks=None, support=3, query=2)
    z = F.normalize(learner.network(params, support.x), dim=1)
    prototypes = []
    for c in range(3):
        chosen = (support.y == c).double()[:, None]
        prototypes.append((z * chosen).sum((0, 2, 3)) / chosen.sum())
    asked = F.normalize(learner.network(params, query.x), dim=1)
    wanted = 20 * torch.stack([F.cosine_similarity(asked, p[None, :, None, None]) for p in prototypes], 1)
    found = learner.predict(params, learner.adapt(params, support), query.x)
    torch.testing.assert_close(found, wanted)


def test_pixels_that_do_not_count_teach_nothing() -> None:
    learner = r2d2(Smooth(5).double(), MASKS)
    params = learner.init(generator())
    support, query = episodes(MASKS, tasks=None, support=3, query=2)
    y = support.y.clone()
    y[0, 1:3] = 255
    one = learner.predict(params, learner.adapt(params, support._replace(y=y)), query.x)
    z = learner.network(params, support.x).permute(0, 2, 3, 1)[y != 255]
    pixels = Examples(z, y[y != 255], torch.ones(len(z), dtype=torch.bool))
    head = {
        "log_regularisation": torch.zeros((), dtype=torch.float64),
        "scale": torch.ones(()),
        "offset": z.new_zeros(()),
    }
    state = Ridge().fit(head, z, pixels, MASKS.each)
    asked = learner.network(params, query.x).permute(0, 2, 3, 1).flatten(0, 2)
    wanted = Ridge().logits(head, state, asked, MASKS.each).view(2, 4, 4, 3).permute(0, 3, 1, 2)
    torch.testing.assert_close(one, wanted)


@pytest.mark.parametrize("head", [Ridge(), Logistic()])
def test_more_examples_than_features_is_the_same_problem(head: Any) -> None:
    """Features that are 0 change nothing but which of the two systems is solved."""
    spec: TaskSpec = MASKS.each
    some = examples(TaskSpec(MASKS.format, spec.target), 12)
    z, mask = some.x.flatten(1)[:, :4], some.mask.clone()  # type: ignore[union-attr]
    mask[3] = False
    support = Examples(z, some.y, mask)
    params = {n: p.double() for n, p in head.init(spec).items()}
    wide = torch.cat([z, z.new_zeros(12, 20)], 1)
    narrow_state, wide_state = (head.fit(params, one, support, spec) for one in (z, wide))
    narrow = head.logits(params, narrow_state, z, spec)
    torch.testing.assert_close(narrow, head.logits(params, wide_state, wide, spec), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [4, 7])
def test_a_u_net_gives_every_pixel_features_or_logits(size: int) -> None:
    spec = MASKS
    x = torch.randn(2, 1, size, size)
    features = models["unet"](spec, False, width=16, depth=2, norm_layer="none")
    assert features(x).shape == (2, 16, size, size)
    logits = models["unet"](spec, True, width=4, depth=2)
    assert logits(x).shape == (2, 3, size, size)
    shifted = torch.zeros_like(x)
    shifted[..., 0, 0] = 9
    far = (features(x + shifted) != features(x))[..., -1, -1]
    assert far.any(1).all(), "through the halvings a corner sees the other"


@pytest.mark.parametrize("name", ["maml", "reptile"])
def test_gradient_learners_work_with_a_u_net(name: str) -> None:
    learner: Learner = learners[name](models["unet"](MASKS, True, **SMALL), MASKS, steps=20, lr=0.3)
    params = learner.init(generator())
    support, _ = episodes(MASKS, tasks=None, support=3)
    support = support._replace(x=support.x.float())  # type: ignore[union-attr]
    before, after = (
        learner.with_steps(n).judge(params, learner.with_steps(n).adapt(params, support), support)  # type: ignore[attr-defined]
        for n in (0, 20)
    )
    assert float(after[0]) < float(before[0])


def test_what_cannot_be_done_is_refused() -> None:
    with pytest.raises(ConfigError, match="views"):
        protonet(Smooth(3), MASKS, views=True)
    vectors = protonet(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).double(), MASKS)
    with pytest.raises(ShapeError, match="features of each place"):
        vectors.adapt(vectors.init(generator()), examples(MASKS, 3))
    with pytest.raises(ModelError, match=r"\(3, 4, 4\)"):
        learners["maml"](nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), MASKS)
    with pytest.raises(ConfigError, match="of each pixel"):
        models["unet"](TaskSpec(MASKS.format, MASKS.target.each))
    for name in ("feat", "relationnet", "rfs", "incontext"):
        with pytest.raises(ConfigError, match="masks of 3 classes"):
            learners[name](Smooth(3), MASKS).init(generator())


def test_the_decoder_adds_to_the_regression_as_much_as_fits_examples_that_are_held_out() -> None:
    learner = learners["decoder"](Smooth(5).double(), MASKS, width=4)
    params = {n: v.double() for n, v in learner.init(generator()).items()}
    support, query = episodes(MASKS, tasks=None, support=3, query=2)
    plain, asked = learner.adapt(params, support), learner.network(params, query.x)
    fitted, decoded = learner._both(params, plain, query.x, asked)
    torch.testing.assert_close(learner.predict(params, plain, query.x), fitted + decoded)
    regression = r2d2(Smooth(5).double(), MASKS)
    alone = regression.predict(params, regression.adapt(params, support), query.x)
    torch.testing.assert_close(fitted, alone)

    final = learner.evaluated()
    one = support._replace(mask=torch.tensor([True, False, False]))
    assert float(final.adapt(params, one)["share"]) == 1
    assert float(replace(final, chooses=False).adapt(params, support)["share"]) == 1


@pytest.mark.parametrize("seed", range(4))
def test_what_is_chosen_has_the_best_headline_over_examples_held_out(seed: int) -> None:
    learner = learners["decoder"](Smooth(5).double(), MASKS, width=4).evaluated()
    params = {n: v.double() for n, v in learner.init(generator()).items()}
    params |= {n: (20.0 if seed % 2 else -20.0) * v for n, v in params.items() if n == "decoder.network.last.weight"}
    support, _ = episodes(MASKS, tasks=None, support=3, query=2, seed=seed)
    scores = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        total = 0.0
        for i in range(3):
            rest, own = ([j for j in range(3) if (j == i) == held] for held in (False, True))
            given, held = (Examples(*(t[rows] for t in support)) for rows in (rest, own))  # type: ignore[index]
            state = replace(learner, chooses=False).adapt(params, given) | {"share": torch.tensor(share).double()}
            total += float(MASKS.target.score(learner.predict(params, state, held.x), held))
        scores.append(total)
    chosen = (0.0, 0.25, 0.5, 0.75, 1.0).index(float(learner.adapt(params, support)["share"]))
    assert scores[chosen] == pytest.approx(max(scores)) and len(set(scores)) > 1


def test_a_decoder_takes_any_number_of_classes() -> None:
    learner = learners["decoder"](Smooth(5).double(), MASKS, width=4)
    params = {n: v.double() for n, v in learner.init(generator()).items()}
    for ways in (1, 2, 6):
        wide = learner.at(MASKS.at(ways))
        support, query = episodes(wide.spec, tasks=None, support=3, query=2)
        assert wide.predict(params, wide.adapt(params, support), query.x).shape == (2, ways, 4, 4)


@pytest.mark.parametrize("size", [8, 32])
def test_many_tasks_at_once_give_what_a_loop_over_them_gives(size: int) -> None:
    """With the decoder itself, from features that lie in memory as an encoder leaves them."""
    spec = TaskSpec(formats.make("array", shape=(1, size, size)), targets.make("masks", ways=2, size=size))
    learner = learners["decoder"](nn.Conv2d(1, 6, 3, padding=1), spec, width=8)
    params = learner.init(generator())
    drawn = map_episode(
        lambda t: t.float() if t.is_floating_point() else t, episodes(spec, tasks=2, support=3, query=2)
    )
    one, other = (Engine(learner, torch.device("cpu"), mode).gradients(params, drawn) for mode in ("vmap", "loop"))
    torch.testing.assert_close(one[1], other[1])
    for name, value in one[0].items():
        torch.testing.assert_close(value, other[0][name], rtol=1e-3, atol=1e-5, msg=name)
