"""Learners that read: what they must and must not depend on, and what they refuse."""

from __future__ import annotations

import pytest
import torch
from small_tasks import (
    VALUES,
    VECTORS,
    classes,
    episodes,
    generator,
    perceptron,
    random_params,
)
from torch import Tensor, nn

import quickstudy as qs
from quickstudy.episode import Episode, Examples, Features, Params, State, map_episode
from quickstudy.errors import ConfigError, ModelError
from quickstudy.learners.reader import ReaderLearner
from quickstudy.models.readers import MemoryAugmented, Recurrent, Snail
from quickstudy.models.readers.kernel import KernelHints
from quickstudy.models.readers.ridge import RidgeHints
from quickstudy.registry import formats, learners, models, sources
from quickstudy.spec import TaskSpec
from quickstudy.targets import Transcript
from quickstudy.targets.distribution import Distribution

NAMES = ("incontext", "axial", "cnp", "anp", "snail", "lstm", "mann")


def made(name: str, spec: TaskSpec, **options: object) -> tuple[ReaderLearner, Params]:
    learner: ReaderLearner = learners[name](perceptron(spec, 4), spec, **options)
    return learner, random_params(learner.init(generator()))


def said(learner: ReaderLearner, params: Params, support: Examples, x: Tensor) -> Tensor:
    return learner.predict(params, learner.adapt(params, support), x)


@pytest.mark.parametrize("name", NAMES)
def test_padding_anywhere_in_the_support_changes_nothing(name: str) -> None:
    learner, params = made(name, VECTORS)
    (x, y, mask), query = episodes(VECTORS, tasks=None)
    assert isinstance(x, Tensor) and isinstance(query.x, Tensor)
    places = torch.tensor([1, 2, 4, 5, 6, 8])  # of nine
    wide = Examples(torch.full((9, 5), 7.0, dtype=x.dtype), torch.zeros(9, dtype=torch.int64), torch.zeros(9).bool())
    wide.x[places], wide.y[places], wide.mask[places] = x, y, True  # type: ignore[index]
    torch.testing.assert_close(
        said(learner, params, wide, query.x), said(learner, params, Examples(x, y, mask), query.x)
    )


def told(learner: ReaderLearner, params: Params, state: State, x: Features) -> tuple[Tensor, Tensor]:
    """Mean and spread of what the learner says of x."""
    said = learner.predictive(params, state, x)
    assert said is not None and said.spread is not None
    return said.mean, said.spread


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("known", [0, 1])
def test_a_support_set_of_one_point_or_none_can_be_read(name: str, known: int) -> None:
    learner, params = made(name, VALUES)
    support, query = episodes(VALUES, tasks=None)
    few = support._replace(mask=torch.arange(6) < known)
    assert isinstance(query.x, Tensor)
    mean, spread = told(learner, params, learner.adapt(params, few), query.x)
    assert mean.shape == spread.shape == (6, 2)
    assert bool(torch.isfinite(mean).all()) and bool((spread > 0).all())
    none: Examples = Examples(support.x[:0], support.y[:0], support.mask[:0])  # type: ignore[index]
    if not known:
        torch.testing.assert_close(told(learner, params, learner.adapt(params, none), query.x), (mean, spread))


@pytest.mark.parametrize("name", ["snail", "lstm", "mann"])
def test_readers_of_sequences_depend_on_the_order(name: str) -> None:
    learner, params = made(name, VECTORS)
    support, query = episodes(VECTORS, tasks=None)
    assert not learner.exchangeable and isinstance(query.x, Tensor)
    turned = Examples(support.x.flip(0), support.y.flip(0), support.mask)  # type: ignore[union-attr]
    assert not torch.allclose(said(learner, params, support, query.x), said(learner, params, turned, query.x))


@pytest.mark.parametrize("name", ["lstm", "mann"])
def test_what_is_predicted_online_is_the_answer_after_the_examples_before(name: str) -> None:
    learner, params = made(name, VECTORS, online=True)
    support, _ = episodes(VECTORS, tasks=None)
    assert isinstance(support.x, Tensor)
    readings = learner.readings(learner.adapt(params, support))
    for t in range(len(support.y)):
        before = support._replace(mask=torch.arange(6) < t)
        torch.testing.assert_close(said(learner, params, before, support.x[t : t + 1])[0], readings[t])


def test_no_label_is_seen_before_it_is_predicted() -> None:
    learner, params = made("mann", VECTORS, online=True)
    support, _ = episodes(VECTORS, tasks=None)
    renamed = support._replace(y=torch.cat([support.y[:3], (support.y[3:] + 1) % 3]))
    one, other = (learner.readings(learner.adapt(params, s)) for s in (support, renamed))
    torch.testing.assert_close(one[:4], other[:4])
    assert not torch.allclose(one[4:], other[4:])


def test_online_loss_is_over_the_whole_sequence() -> None:
    learner, params = made("lstm", VECTORS, online=True)
    episode = episodes(VECTORS, tasks=None)
    state = learner.adapt(params, episode.support)
    logits = torch.cat([learner.readings(state), learner.predict(params, state, episode.query.x)])
    wanted = nn.functional.cross_entropy(logits, torch.cat([episode.support.y, episode.query.y]))
    torch.testing.assert_close(learner.loss(params, episode), wanted)


def test_the_gates_are_those_of_the_lstm_cell() -> None:
    reader = Recurrent(nn.Flatten(), formats.make("array", shape=(3,)), 2, 2, width=4).double()
    cell = nn.LSTMCell(3 + 2 + 1, 4).double()
    gates = reader.gates
    i, f, o, g = gates.enter.weight.chunk(4)
    hi, hf, ho, hg = gates.again.weight.chunk(4)
    bi, bf, bo, bg = gates.enter.bias.chunk(4)
    with torch.no_grad():
        cell.weight_ih.copy_(torch.cat([i, f, g, o]))
        cell.weight_hh.copy_(torch.cat([hi, hf, hg, ho]))
        cell.bias_ih.copy_(torch.cat([bi, bf + 1, bg, bo]))
        cell.bias_hh.zero_()
    z, y = torch.randn(5, 3).double(), torch.randn(5, 2).double()
    h, c = torch.zeros(2, 1, 4).double()
    for t in range(5):
        h, c = cell(torch.cat([z[t], y[t], torch.ones(1).double()])[None], (h, c))
    state = reader.read(z, y, torch.ones(5).bool())
    torch.testing.assert_close(state["h"], h[0])
    torch.testing.assert_close(state["c"], c[0])


def test_the_memory_is_written_to_rows_that_are_used_least() -> None:
    reader = MemoryAugmented(nn.Flatten(), formats.make("array", shape=(3,)), 2, 2, width=4, slots=6, size=3).double()
    nn.init.constant_(reader.reuse.value, -50.0)  # always the least used row
    state = reader.read(torch.randn(6, 3).double(), torch.eye(2).double().repeat(3, 1), torch.ones(6).bool())
    keys = state["rows"][:, :3].norm(dim=1)
    torch.testing.assert_close(keys, torch.ones_like(keys))  # six examples, six rows, each once
    assert state["rows"].unique(dim=0).shape[0] == 6


def test_snail_answers_as_its_own_sequence_goes_on() -> None:
    """A query by itself is what the causal network gives at the end of a sequence that ends in it."""
    reader = Snail(nn.Flatten(), formats.make("array", shape=(3,)), 2, 2, length=4, filters=3, size=4).double()
    z, y = torch.randn(5, 3).double(), torch.eye(2).double()[torch.tensor([0, 1, 1, 0, 1])]
    answer = reader.answer(reader.read(z[:4], y[:4], torch.ones(4).bool()), z[4:])
    asked = torch.cat([y[:4], torch.zeros(1, 2).double()])
    through = reader.read(z, asked, torch.ones(5).bool())
    h = through["entering.1"][-1:]  # after the first attention
    for index, layer in enumerate(reader.layers):
        if index == 0:
            continue
        if f"entering.{index}" in through:
            torch.testing.assert_close(h, through[f"entering.{index}"][-1:])
            before = through[f"entering.{index}"]
            place = 4 - layer.dilation  # type: ignore[operator]
            earlier = before[place : place + 1] if place >= 0 else torch.zeros_like(h)
            h = layer(h, earlier)
        else:
            h = layer(h, through[f"keys.{index}"], through[f"values.{index}"], torch.arange(6) < 5)
    torch.testing.assert_close(answer, reader.head(h))


def test_the_surprise_is_the_log_density_of_a_normal_distribution() -> None:
    mean, spread, y = torch.randn(3, 4, 2).unbind(1)[0], torch.rand(3, 2) + 0.1, torch.randn(3, 2)
    wanted = -torch.distributions.Normal(mean, spread).log_prob(y).mean(1)
    torch.testing.assert_close(VALUES.target.surprise(Distribution(mean, spread), y), wanted)


def test_scaling_by_the_support_set_makes_units_meaningless() -> None:
    learner, params = made("incontext", VALUES, standardise=True)
    support, query = episodes(VALUES, tasks=None)
    assert isinstance(support.x, Tensor) and isinstance(query.x, Tensor)
    mean, spread = told(learner, params, learner.adapt(params, support), query.x)
    scale = torch.tensor([3.0, 0.1, 50.0, 1.0, 7.0], dtype=torch.float64)
    other = Examples(support.x * scale + 4, support.y * 100 - 5, support.mask)
    mean_2, spread_2 = told(learner, params, learner.adapt(params, other), query.x * scale + 4)
    torch.testing.assert_close(mean_2, mean * 100 - 5)
    torch.testing.assert_close(spread_2, spread * 100)


def test_a_column_that_does_not_vary_leaves_gradients_finite() -> None:
    learner, params = made("incontext", VECTORS, standardise=True)
    episode = episodes(VECTORS, tasks=None)
    assert isinstance(episode.support.x, Tensor)
    episode.support.x[:, 2] = 1234.567
    moving = {name: value.requires_grad_() for name, value in params.items()}
    grads = torch.autograd.grad(learner.loss(moving, episode), list(moving.values()), allow_unused=True)
    assert all(bool(torch.isfinite(grad).all()) for grad in grads if grad is not None)


def test_more_classes_than_it_was_built_for_are_refused() -> None:
    learner, _ = made("incontext", VECTORS, limit=4)
    assert learner.at(VECTORS.at(4)).spec.ways == 4
    with pytest.raises(ConfigError, match="5-way tasks, but the network was built for at most 4 classes"):
        learner.at(VECTORS.at(5))
    free, params = made("incontext", VECTORS, labels="pointer")
    wider = episodes(VECTORS.at(5), tasks=None, support=10)
    assert said(free.at(VECTORS.at(5)), params, wider.support, wider.query.x).shape == (6, 5)  # type: ignore[arg-type]


def test_more_columns_than_it_was_built_for_are_refused() -> None:
    spec = classes((4,), 3)
    learner = learners["incontext"](models["columns"](spec, head=False), spec, layers=1)
    params = learner.init(generator())

    def task(columns: int) -> tuple[TaskSpec, Episode]:
        other = classes((columns,), 3)
        return other, Episode(*(Examples(p.x.float(), p.y, p.mask) for p in episodes(other, tasks=None)))  # type: ignore[union-attr]

    narrow, episode = task(2)
    assert said(learner.at(narrow), params, *episode.support[:0], episode.support, episode.query.x).shape == (6, 3)
    wide, episode = task(6)
    with pytest.raises(ModelError, match="6 columns, but the network was built for at most 4"):
        learner.at(wide).adapt(params, episode.support)


def test_wrong_uses_are_refused() -> None:
    with pytest.raises(ConfigError, match="online=False"):
        made("lstm", VALUES, online=True)
    learner, params = made("cnp", VECTORS)
    assert (
        learner.predictive(params, learner.adapt(params, episodes(VECTORS, tasks=None).support), torch.zeros(1, 5))
        is None
    )
    with pytest.raises(ConfigError, match="cannot be shared by 5 heads"):
        made("incontext", VECTORS, width=8, heads=5)
    with pytest.raises(ConfigError, match="built for tasks of 3 classes and cannot do 2 numbers"):
        learner.at(VALUES)
    with pytest.raises(ModelError, match="must be a models.readers.Reader"):
        ReaderLearner(network=qs.learners.Network(nn.Linear(5, 3)), spec=VECTORS)


def test_the_exact_posterior_explains_functions_of_its_own_process() -> None:
    """Targets standardised by the posterior are standard normal; and noiseless support points are met exactly."""
    source = sources["gp"](kernels=("rbf", "matern32", "periodic"), lengthscale=(0.3, 0.8))
    source = source.sampled(qs.Sampling(1, 8, 20))
    indices = torch.arange(400)
    mean, spread = source.posterior("test", indices)
    scores = (source.episodes("test", indices).query.y - mean) / spread
    assert abs(float(scores.mean())) < 0.05
    assert abs(float(scores.std()) - 1) < 0.05
    prior = source.episodes("test", indices).query.y
    assert abs(float(prior.std()) - (1 + 0.1**2) ** 0.5) < 0.05


def test_made_up_tables_can_be_learned_but_not_guessed() -> None:
    source = sources["structural"](columns=8).sampled(qs.Sampling(3, 60, 40))
    drawn = source.episodes("train", torch.arange(60))
    assert isinstance(drawn.support.x, Tensor) and isinstance(drawn.query.x, Tensor)
    nearest = torch.cdist(drawn.query.x, drawn.support.x).argmin(2)
    hit = (drawn.support.y.gather(1, nearest) == drawn.query.y)[drawn.query.mask].float().mean()
    most = drawn.support.y.mode(1).values[:, None]
    blind = (most == drawn.query.y)[drawn.query.mask].float().mean()
    assert hit > blind + 0.05
    shares = torch.nn.functional.one_hot(drawn.query.y, 3).float().mean((0, 1))
    assert abs(float(shares[0] - shares[1])) < 0.1  # every task has these two classes, and neither is the frequent one


def test_hints_are_what_ridge_regression_on_the_other_examples_says() -> None:
    hints = RidgeHints().double()
    z, y = torch.randn(7, 3, dtype=torch.float64), torch.randn(7, 2, dtype=torch.float64)
    mask = torch.tensor([1, 1, 0, 1, 1, 1, 1], dtype=torch.bool)
    own, weights = hints.fit(z, torch.where(mask[:, None], y, 0.0), mask)
    one = torch.cat([z, torch.ones(7, 1, dtype=torch.float64)], dim=1)
    size = (one[mask].square().sum() / 6).item()
    strengths = hints.change().exp() * torch.tensor([0.01, 0.1, 1.0], dtype=torch.float64) * size + 1e-6

    def solved(rows: Tensor, strength: Tensor) -> Tensor:
        a = one[rows]
        return torch.linalg.solve(a.T @ a + strength * torch.eye(4, dtype=torch.float64), a.T @ y[rows])

    for i in mask.nonzero().flatten().tolist():
        others = mask.clone()
        others[i] = False
        wanted = torch.cat([one[i] @ solved(others, strength) for strength in strengths])
        torch.testing.assert_close(own[i], wanted)
    wanted = torch.cat([one @ solved(mask, strength) for strength in strengths], dim=1)
    torch.testing.assert_close(hints(weights, z), wanted)


def test_hints_are_what_kernel_regression_on_the_other_rows_says() -> None:
    """Against regressions that are solved anew without each row; one of the rows is padding."""
    hints = KernelHints().double()
    z, y = torch.randn(7, 3, 2, dtype=torch.float64), torch.randn(7, 2, dtype=torch.float64)
    mask = torch.tensor([1, 1, 0, 1, 1, 1, 1], dtype=torch.bool)
    own, kept = hints.fit(z, torch.where(mask[:, None], y, 0.0), mask)
    apart = (z[:, None] - z).square().sum(3).sqrt().sum(2)
    size = apart[mask][:, mask].sum() / 30 + 1e-6
    widths, strengths = hints.change().exp() * torch.tensor([[1.0, 3.0], [0.1, 0.1]], dtype=torch.float64)

    def said(rows: Tensor, at: Tensor) -> Tensor:
        each = []
        for width, strength in zip(widths, strengths, strict=True):
            kernel = (-apart / (width * size)).exp() + 10
            eye = torch.eye(int(rows.sum()), dtype=torch.float64)
            each.append(kernel[at][:, rows] @ torch.linalg.solve(kernel[rows][:, rows] + strength * eye, y[rows]))
        return torch.cat(each, dim=1)

    for i in mask.nonzero().flatten().tolist():
        others = mask.clone()
        others[i] = False
        torch.testing.assert_close(own[i : i + 1], said(others, torch.tensor([i])))
    assert not own[2].any()
    torch.testing.assert_close(hints(kept, z), said(mask, torch.arange(7)))


@pytest.mark.parametrize("mode", ["vmap", "loop"])
@pytest.mark.parametrize("name", NAMES)
def test_readers_run_in_sixteen_bits(name: str, mode: str) -> None:
    for spec, options in ((VECTORS, {}), (VALUES, {}), (VECTORS, {"online": True} if name in ("lstm", "mann") else {})):
        learner: ReaderLearner = learners[name](perceptron(spec, 4).float(), spec, **options)
        params = learner.init(generator())
        both = []
        for precision in ("float32", "bfloat16"):
            engine = qs.Engine(learner, torch.device("cpu"), mode, precision)  # type: ignore[arg-type]
            batch = map_episode(lambda t: t.float() if t.is_floating_point() else t, episodes(spec))
            grads, loss, _ = engine.gradients(params, batch)
            assert all(bool(torch.isfinite(grad).all()) for grad in grads.values())
            both.append(loss)
        torch.testing.assert_close(both[1], both[0], rtol=0.1, atol=0.05)


@pytest.mark.parametrize("value", [1234.567, 98765.43, 1e-6])
def test_a_column_that_does_not_vary_says_nothing(value: float) -> None:
    learner: ReaderLearner = learners["incontext"](perceptron(VECTORS, 4).float(), VECTORS, standardise=True)
    params = learner.init(generator())
    support, query = map_episode(lambda t: t.float() if t.is_floating_point() else t, episodes(VECTORS, tasks=None))
    assert isinstance(support.x, Tensor) and isinstance(query.x, Tensor)
    support.x[:, 2] = value
    answers = []
    for other in (value, 1.01 * value, -3.0):
        query.x[:, 2] = other
        answers.append(said(learner, params, support, query.x))
    torch.testing.assert_close(answers[1], answers[0])
    torch.testing.assert_close(answers[2], answers[0])


def test_small_units_are_scaled_too() -> None:
    learner: ReaderLearner = learners["anp"](perceptron(VALUES, 4).float(), VALUES, standardise=True)
    params = learner.init(generator())
    support, query = map_episode(lambda t: t.float() if t.is_floating_point() else t, episodes(VALUES, tasks=None))
    assert isinstance(query.x, Tensor)
    mean, spread = told(learner, params, learner.adapt(params, support), query.x)
    small = support._replace(y=support.y * 1e-7)
    mean_2, spread_2 = told(learner, params, learner.adapt(params, small), query.x)
    torch.testing.assert_close(mean_2 * 1e7, mean, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(spread_2 * 1e7, spread, rtol=1e-3, atol=1e-4)


def test_building_a_reader_leaves_the_encoder_as_it_was() -> None:
    encoder = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4))
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    learners["cnp"](encoder, VECTORS)
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("incontext", {"layers": 0}),
        ("cnp", {"depth": 0}),
        ("snail", {"length": 0}),
        ("lstm", {"width": 0}),
        ("mann", {"slots": 0}),
    ],
)
def test_sizes_below_one_are_refused(name: str, options: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(options))} must be at least 1, found 0"):
        made(name, VECTORS, **options)


def test_an_unknown_way_for_labels_is_refused() -> None:
    with pytest.raises(ConfigError, match="pointers"):
        made("incontext", VECTORS, labels="pointers")


@pytest.mark.parametrize("name", NAMES)
def test_texts_are_answered_in_their_shape(name: str) -> None:
    """At each of 7 positions a blank or one of 2 tokens, of which the network writes 21 numbers."""
    spec = TaskSpec(VECTORS.format, Transcript(tokens=("a", "b"), longest=3, positions=7))
    learner, params = made(name, spec)
    y, _ = spec.target.encode(["a", "ab", "bba"])
    x = torch.randn(3, *spec.input_shape, generator=generator(), dtype=torch.float64)
    support = Examples(x, y, torch.ones(3) > 0)
    answer = said(learner, params, support, support.x)
    assert answer.shape == (3, 7, 3)
    loss, _ = learner.score(params, Episode(support, support))
    torch.testing.assert_close(loss, spec.target.loss(answer, support))
