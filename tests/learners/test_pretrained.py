"""The baselines: SimpleShot's centring, fine-tuning against torch.optim, training over all classes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from small_tasks import IMAGES, VALUES, VECTORS, convolutional, episodes, generator, perceptron, random_params
from torch import Tensor, nn

from quickstudy.entries import TEACHER, WHITENING, prefixed, with_prefix
from quickstudy.episode import Episode, Examples, Params
from quickstudy.errors import ConfigError
from quickstudy.learners import baseline_plus_plus, finetune, rfs, simpleshot
from quickstudy.learners.pretrained import whitening
from quickstudy.masked import UNLABELLED
from quickstudy.testing import check_learner

EPISODE = episodes(VECTORS, tasks=None)


def embed(params: Params, x: object) -> Tensor:
    assert isinstance(x, Tensor)
    hidden = torch.tanh(F.linear(x, params["network.0.weight"], params["network.0.bias"]))
    return F.linear(hidden, params["network.2.weight"], params["network.2.bias"])


@pytest.mark.parametrize("centre", [True, False])
def test_simpleshot_is_the_nearest_centroid_of_centred_unit_embeddings(centre: bool) -> None:
    learner = simpleshot(perceptron(VECTORS, 4), VECTORS, classes=7, centre=centre)
    params = random_params(learner.init(generator()))
    training = [episodes(VECTORS, tasks=None, seed=seed) for seed in (5, 6)]
    calibrated = learner.calibrate(params, training)
    mean = torch.cat([embed(params, e.query.x) for e in training]).mean(0) if centre else 0.0
    z, q = (F.normalize(embed(params, part.x) - mean, dim=1) for part in EPISODE)
    centroids = torch.stack([z[EPISODE.support.y == c].mean(0) for c in range(3)])
    found = learner.predict(calibrated, learner.adapt(calibrated, EPISODE.support), EPISODE.query.x)
    torch.testing.assert_close(found, -(q[:, None] - centroids[None]).square().sum(2))


def test_whitening_makes_the_covariance_within_classes_the_identity() -> None:
    x = torch.randn(60, 4, generator=generator(), dtype=torch.float64) @ torch.diag(
        torch.tensor([3.0, 1, 0.2, 1]).double()
    )
    y = torch.arange(60) % 6 * 7  # the numbers of classes need not follow each other
    shifted = x + 5.0 * y[:, None]
    z = x @ whitening(shifted, y, 0.0)
    within = torch.cat([z[y == c] - z[y == c].mean(0) for c in y.unique()])
    torch.testing.assert_close(within.T @ within / (60 - 6), torch.eye(4).double())
    even = whitening(shifted, y, 1.0)
    torch.testing.assert_close(even, even[0, 0] * torch.eye(4).double())
    assert torch.equal(whitening(x, torch.arange(60), 0.0), torch.eye(4).double())


def test_examples_of_no_told_class_whiten_nothing() -> None:
    learner = simpleshot(perceptron(VECTORS, 4), VECTORS, classes=7, shrinkage=0.1)
    params = random_params(learner.init(generator()))
    whole = [episodes(VECTORS, tasks=None, seed=seed) for seed in (5, 6)]
    untold = [e._replace(query=e.query._replace(y=torch.full_like(e.query.y, UNLABELLED))) for e in whole]
    learned = learner.calibrate(params, whole)
    torch.testing.assert_close(learner.calibrate(params, whole + untold)[WHITENING], learned[WHITENING])
    assert learner.calibrate(learned, untold)[WHITENING] is learned[WHITENING]
    assert WHITENING not in learner.calibrate(params, untold)


def test_simpleshot_whitens_by_training_classes_and_so_any_linear_map_before_it_changes_nothing() -> None:
    learner = simpleshot(perceptron(VECTORS, 4), VECTORS, classes=7, shrinkage=0.0)
    params = random_params(learner.init(generator()))
    training = [episodes(VECTORS, tasks=None, seed=seed) for seed in (5, 6, 7, 8)]

    def answers(params: Params) -> Tensor:
        calibrated = learner.calibrate(params, training)
        return learner.predict(calibrated, learner.adapt(calibrated, EPISODE.support), EPISODE.query.x)

    other = torch.randn(4, 4, generator=generator(), dtype=torch.float64) + 2 * torch.eye(4).double()
    mapped = params | {f"network.2.{name}": other @ params[f"network.2.{name}"] for name in ("weight", "bias")}
    torch.testing.assert_close(answers(mapped), answers(params))
    plain = simpleshot(perceptron(VECTORS, 4), VECTORS, classes=7)
    state = plain.adapt(plain.calibrate(params, training), EPISODE.support)
    assert not torch.allclose(plain.predict(plain.calibrate(params, training), state, EPISODE.query.x), answers(params))
    with pytest.raises(ConfigError, match=r"shrinkage must lie in \[0, 1\]"):
        simpleshot(perceptron(VECTORS, 4), VECTORS, shrinkage=1.5)


@pytest.mark.parametrize("rule", ["sgd", "adam"])
@pytest.mark.parametrize("tune", ["head", "all"])
def test_fine_tuning_equals_a_training_loop_with_torch(rule: str, tune: str) -> None:
    module = perceptron(VECTORS, 4)
    learner = finetune(module, VECTORS, classes=7, lr=0.1, steps=8, rule=rule, tune=tune)  # type: ignore[arg-type]
    params = {name: value.double() for name, value in learner.init(generator()).items()}
    params |= {f"network.{name}": value.detach().clone() for name, value in module.named_parameters()}
    head = nn.Linear(4, 3).double()
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    moving = [*head.parameters(), *(module.parameters() if tune == "all" else ())]
    optimizer = (torch.optim.SGD if rule == "sgd" else torch.optim.Adam)(moving, lr=0.1)
    for _ in range(8):
        optimizer.zero_grad()
        F.cross_entropy(head(module(EPISODE.support.x)), EPISODE.support.y).backward()
        optimizer.step()
    found = learner.predict(params, learner.adapt(params, EPISODE.support), EPISODE.query.x)
    torch.testing.assert_close(found, head(module(EPISODE.query.x)).detach(), rtol=1e-6, atol=1e-8)


def test_training_is_classification_over_all_classes_and_adapting_is_for_the_ways_of_the_task() -> None:
    learner = finetune(perceptron(VECTORS, 4), VECTORS, classes=7, smoothing=0.1, steps=2)
    params = random_params(learner.init(generator()))
    x, y = EPISODE.query.x, torch.tensor([6, 0, 3, 3, 5, 1])
    assert isinstance(x, Tensor)
    nothing = Examples(x[:0], y[:0], y[:0].bool())
    scores = F.linear(embed(params, x), params["classifier.weight"], params["classifier.bias"])
    loss, accuracy = learner.score(params, Episode(nothing, Examples(x, y, torch.ones_like(y).bool())))
    torch.testing.assert_close(loss, F.cross_entropy(scores, y, label_smoothing=0.1))
    torch.testing.assert_close(accuracy, (scores.argmax(1) == y).double().mean())
    assert learner.adapt(params, EPISODE.support)["task.(head).weight"].shape == (3, 4)
    five = learner.at(VECTORS.at(5))
    assert five.predict(params, five.adapt(params, EPISODE.support), x).shape == (6, 5)


def test_the_head_is_trained_in_float32_where_the_encoder_runs_in_less() -> None:
    learner = finetune(perceptron(VECTORS, 4).float(), VECTORS, classes=7, steps=2)
    params, x = learner.init(generator()), EPISODE.support.x.float()  # type: ignore[union-attr]
    with torch.autocast("cpu", torch.bfloat16):
        state = learner.adapt(params, EPISODE.support._replace(x=x))
        assert learner.predict(params, state, x).dtype == torch.float32
        assert learner.score(params, Episode(EPISODE.support, EPISODE.query._replace(x=x)))[0].dtype == torch.float32


def test_baselines_classify_only() -> None:
    with pytest.raises(ConfigError, match=r"the targets of these tasks are 2 numbers\. Use 'maml' or 'r2d2'"):
        simpleshot(perceptron(VALUES, 4), VALUES, classes=3).init(generator())


def pooled(count: int = 6) -> Episode:
    x, y = EPISODE.query.x, torch.tensor([6, 0, 3, 3, 5, 1])[:count]
    assert isinstance(x, Tensor)
    nothing = Examples(x[:0], y[:0], y[:0].bool())
    return Episode(nothing, Examples(x[:count], y, torch.ones_like(y).bool()))


@pytest.mark.parametrize("tune", ["head", "all"])
def test_baseline_plus_plus_trains_cosine_weights_from_the_mean_directions_on(tune: str) -> None:
    module = perceptron(VECTORS, 4)
    learner = baseline_plus_plus(module, VECTORS, classes=7, temperature=6.0, lr=0.1, steps=8, rule="sgd", tune=tune)  # type: ignore[arg-type]
    params = {name: value.double() for name, value in learner.init(generator()).items()}
    params |= {f"network.{name}": value.detach().clone() for name, value in module.named_parameters()}
    assert "classifier.bias" not in params
    support, query = EPISODE

    def cosines(z: Tensor, w: Tensor) -> Tensor:
        return torch.stack([torch.stack([6.0 * (a @ b) / a.norm() / b.norm() for b in w]) for a in z])

    unit = [a / a.norm() for a in module(support.x).detach()]
    starts = [torch.stack([u for u, y in zip(unit, support.y, strict=True) if y == c]).mean(0) for c in range(3)]
    head = torch.stack(starts).requires_grad_()
    optimizer = torch.optim.SGD([head, *(module.parameters() if tune == "all" else ())], lr=0.1)
    for _ in range(8):
        optimizer.zero_grad()
        F.cross_entropy(cosines(module(support.x), head), support.y).backward()
        optimizer.step()
    found = learner.predict(params, learner.adapt(params, support), query.x)
    torch.testing.assert_close(found, cosines(module(query.x), head).detach())


def test_baseline_plus_plus_pretrains_by_cosines_over_all_classes() -> None:
    learner = baseline_plus_plus(perceptron(VECTORS, 4), VECTORS, classes=7, temperature=6.0)
    params, batch = random_params(learner.init(generator())), pooled()
    z, w = embed(params, batch.query.x), params["classifier.weight"]
    scores = 6.0 * torch.stack([torch.cosine_similarity(a[None], w) for a in z])
    loss, accuracy = learner.score(params, batch)
    torch.testing.assert_close(loss, F.cross_entropy(scores, batch.query.y))
    torch.testing.assert_close(accuracy, (scores.argmax(1) == batch.query.y).double().mean())


def test_a_class_without_support_leaves_cosine_training_finite() -> None:
    learner = baseline_plus_plus(perceptron(VECTORS, 4), VECTORS, classes=7, tune="all", steps=3)
    params, support = random_params(learner.init(generator())), EPISODE.support
    for mask in (support.y != 2, torch.zeros_like(support.mask)):
        state = learner.adapt(params, support._replace(mask=mask))
        assert learner.predict(params, state, EPISODE.query.x).isfinite().all()


def test_rfs_is_logistic_regression_on_embeddings_of_length_one() -> None:
    learner = rfs(perceptron(VECTORS, 4), VECTORS, classes=7, regularisation=0.3)
    params = random_params(learner.init(generator()))
    z, q = (F.normalize(embed(params, part.x), dim=1) for part in EPISODE)
    w, b = torch.zeros(4, 3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    coded = torch.eye(3, dtype=torch.float64)[EPISODE.support.y]
    for _ in range(20000):  # plain gradient descent on what the paper writes down
        error = (z @ w + b).softmax(1) - coded
        w, b = w - 0.2 * (z.T @ error + 0.3 * w), b - 0.2 * error.sum(0)
    found = learner.predict(params, learner.adapt(params, EPISODE.support), EPISODE.query.x)
    torch.testing.assert_close(found, q @ w + b, rtol=1e-5, atol=1e-6)


def test_a_student_is_trained_towards_its_labels_and_the_softened_answers_of_its_teacher() -> None:
    learner = rfs(convolutional(4), IMAGES, classes=7, distil=0.3, temperature=2.0)
    plain = rfs(convolutional(4), IMAGES, classes=7)
    images = [episodes(IMAGES, tasks=None, seed=seed) for seed in range(2)]
    teacher = plain.calibrate(random_params(plain.init(generator(1)), 1), images)
    params = random_params(learner.init(generator())) | with_prefix(TEACHER, teacher)
    query = images[0].query._replace(y=torch.tensor([6, 0, 3, 3, 5, 1]))
    query = query._replace(mask=torch.tensor([True] * 5 + [False]))
    student = {name: value for name, value in params.items() if not name.startswith(TEACHER)}

    def logits(phi: Params) -> Tensor:
        z = plain.network(phi, query.x)
        return F.linear(z, phi["classifier.weight"], phi["classifier.bias"])[:5]

    s, t = logits(student) / 2, logits(teacher) / 2  # the teacher's BatchNorm uses its own statistics
    p = t.exp() / t.exp().sum(1, keepdim=True)
    away = (p * (p.log() - (s - s.logsumexp(1, keepdim=True)))).sum(1).mean()
    wanted = 0.7 * F.cross_entropy(2 * s, query.y[:5]) + 0.3 * 4 * away
    loss, _ = learner.score(params, Episode(images[0].support, query))
    torch.testing.assert_close(loss, wanted)
    assert {n for n in params if n.startswith(TEACHER) and learner.moves(n)} == set()
    assert prefixed(TEACHER, learner.calibrate(params, images)).keys() == teacher.keys()
    state = learner.adapt(params, images[0].support)
    assert not [n for n in learner.predicts_with(params, state)[0] if n.startswith(TEACHER)]


@pytest.mark.parametrize("options", [{"distil": 0.5}, {"distil": 1.0, "temperature": 1.0, "regularisation": 0.1}])
def test_a_learner_with_a_teacher_conforms(options: dict[str, float]) -> None:
    for norm in ("running", "batch"):
        learner = rfs(convolutional(4), IMAGES, classes=4, norm=norm, **options)  # type: ignore[arg-type]
        check_learner(learner, episodes(IMAGES, tasks=2))


def test_a_share_of_the_teacher_beyond_one_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"distil must lie in \[0, 1\]"):
        rfs(perceptron(VECTORS, 4), VECTORS, classes=7, distil=1.5)
