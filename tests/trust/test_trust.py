"""Trust of a run: fitted over validation tasks, held against test tasks, carried by models, stored and read."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import quickstudy as qs
from quickstudy.engine import Engine
from quickstudy.episode import Examples
from quickstudy.errors import CheckpointError, ConfigError, DataError
from quickstudy.registry import formats, learners, models, targets
from quickstudy.spec import TaskSpec
from quickstudy.targets.answers.classes import NONE, ClassAnswer
from quickstudy.tasks.base import Sampling
from quickstudy.tasks.classes import ClassSource
from quickstudy.training.learner import build_learner
from quickstudy.trust.base import Trust
from quickstudy.trust.draw import Size, Tried, sizes, tried
from quickstudy.trust.evidence import LeftOut, embedded, evidence, examined, folds_of, left_out, ranks
from quickstudy.trust.familiar import familiar, places, products
from quickstudy.trust.fit import LEAST, fit_trust
from quickstudy.trust.task import TaskTrust, task_trust

WAYS, SHOTS = 5, 5
OWN = Sampling(WAYS, SHOTS, 15)


def clusters(classes: int = 160, each: int = 40, apart: float = 1.5, val: float = 0.4) -> ClassSource:
    """Classes that overlap, so that answers are right in some four of five cases; most are held out."""
    generator = torch.Generator().manual_seed(0)
    centres = apart * torch.randn((classes, 4), generator=generator)
    x = (centres[:, None] + torch.randn((classes, each, 4), generator=generator)).flatten(0, 1)
    y = [c for c in range(classes) for _ in range(each)]
    return qs.tasks.arrays(x, y, val=val, test=val)


def engine_of(source: ClassSource, learner: str = "protonet", **options: object) -> tuple[Engine, dict[str, Tensor]]:
    config = qs.RunConfig(name="t", learner=learners.part(learner, **options))
    built = build_learner(config, source.sampled(OWN).spec, module=nn.Linear(4, WAYS if learner == "maml" else 4))
    params = built.init(torch.Generator().manual_seed(0))
    if learner == "protonet":
        params |= {"network.weight": torch.eye(4), "network.bias": torch.zeros(4)}
    return Engine(built, torch.device("cpu")), params


@pytest.fixture(scope="module")
def source() -> ClassSource:
    return clusters()


@pytest.fixture(scope="module")
def fitted(source: ClassSource) -> tuple[Engine, dict[str, Tensor], Trust]:
    engine, params = engine_of(source)
    return engine, params, fit_trust(engine, params, source, OWN, seed=0)


@pytest.fixture(scope="module")
def unseen(source: ClassSource, fitted: tuple[Engine, dict[str, Tensor], Trust]) -> list[tuple[TaskTrust, Tried]]:
    """Test tasks with all that is said of them."""
    engine, params, trust = fitted
    size = Size(WAYS, SHOTS, 3, 30, tasks=400)
    every = tried(engine, params, source, "test", size, first=0, space=trust.space)
    return [(TaskTrust(trust, one.evidence, None), one) for one in every]


def test_intervals_and_sets_and_alarms_hold_on_unseen_tasks(unseen: list[tuple[TaskTrust, Tried]]) -> None:
    """Tasks of other classes, in the mean over 400; the bounds leave room for the 64 classes that both rest on."""
    held, covered, alarms, right, likely, sizes_of = [], [], [], [], [], []
    for trust, one in unseen:
        known, said = one.y >= 0, trust.estimate()
        held.append(float(said.low <= one.accuracy <= said.high))
        judged = trust.judged(one.logits, one.familiar, coverage=0.9, false_alarms=0.1)
        assert judged.inside is not None and judged.accepted is not None and judged.known is not None
        covered.append(float(judged.inside[known].gather(1, one.y[known][:, None]).double().mean()))
        sizes_of.append(float(judged.inside[known].double().sum(1).mean()))
        alarms.append(float((~judged.accepted[known]).double().mean()))
        right.append(float((judged.known[known][:, None] > judged.known[~known]).double().mean()))
        likely.append(float((one.familiar[known, :1] > one.familiar[~known, 0]).double().mean()))
    parts = {"held": held, "sets": covered, "alarms": alarms, "auroc": right, "by probability": likely}
    mean = {name: sum(values) / len(values) for name, values in parts.items()}
    assert 0.85 < mean["held"] < 0.95, mean
    assert 0.87 < mean["sets"] < 0.93, mean
    assert 0.07 < mean["alarms"] < 0.13, mean
    assert mean["auroc"] > mean["by probability"] + 0.05, mean
    assert sum(sizes_of) / len(sizes_of) < 2.5


def test_probabilities_are_as_right_as_they_say(unseen: list[tuple[TaskTrust, Tried]]) -> None:
    sure, right = [], []
    for trust, one in unseen:
        known = one.y >= 0
        p = trust.judged(one.logits, one.familiar).logits[known].softmax(1)
        sure.append(p.amax(1))
        right.append(p.argmax(1) == one.y[known])
    p, true = torch.cat(sure), torch.cat(right).double()
    for low in (0.3, 0.5, 0.7, 0.9):
        inside = (p > low) & (p <= low + 0.1)
        assert abs(float(p[inside].mean() - true[inside].mean())) < 0.04


@pytest.mark.parametrize("learner", ["protonet", "matchingnet", "r2d2", "maml"])
def test_evidence_by_folds_is_that_of_really_leaving_out(source: ClassSource, learner: str) -> None:
    engine, params = engine_of(source, learner)
    one = engine.learner.evaluated()
    drawn = source.sampled(Sampling(WAYS, 3, 1)).episodes("val", torch.arange(2))
    inner, after = embedded(engine, params, drawn)
    found = examined(inner, params, after.support)
    for task in range(2):
        support = Examples(*(part[task] for part in drawn.support))
        assert torch.equal(ranks(support), torch.arange(3).repeat(WAYS))
        for shot in range(3):
            left = ranks(support) == shot
            rest = Examples(*(part[~left] for part in support))
            exact = one.predict(params, one.adapt(params, rest), support.x[left])
            assert torch.allclose(found.logits[task][left].float(), exact, atol=1e-4)


@pytest.mark.parametrize("learner", ["protonet", "r2d2", "lrd2", "matchingnet"])
def test_parts_that_are_left_out_at_once_are_those_that_are_left_out_one_after_another(
    source: ClassSource, learner: str
) -> None:
    engine, params = engine_of(source, learner)
    inner, after = embedded(engine, params, source.sampled(OWN).episodes("val", torch.arange(1)))
    support = Examples(*(part[0] for part in after.support))
    assert inner.learner.embedded is not None
    at_once, one_by_one = (left_out(inner.learner, params, support, 3, tasks=tasks) for tasks in (1, 1 << 30))
    for name, here, there in zip(LeftOut._fields, at_once, one_by_one, strict=True):
        torch.testing.assert_close(here, there, rtol=1e-5, atol=1e-5, msg=lambda said, name=name: f"{name}: {said}")


def test_products_give_the_distances_of_embeddings() -> None:
    generator = torch.Generator().manual_seed(0)
    support = Examples(torch.randn((6, 3), generator=generator) + 9, torch.arange(6) % 3, torch.arange(6) < 5)
    z = torch.randn((4, 3), generator=generator) + 9
    by = products(support, z)
    assert by is not None
    at = places(support, by, 4)
    means = torch.stack([support.x[support.mask & (support.y == c)].mean(0) for c in range(3)])
    assert torch.allclose(at.to_means[:, :3].float(), torch.cdist(z, means).square(), atol=1e-4)
    assert at.present.tolist() == [True, True, True, False]
    middle = means.mean(0)
    exact = nn.functional.cosine_similarity((z - middle)[:, None], (means - middle)[None], dim=2)
    assert torch.allclose(at.cosines[:, :3].float(), exact, atol=1e-4)
    near = familiar(torch.randn((4, 4), generator=generator), support, by)
    nearest = torch.cdist(z, support.x[support.mask]).square().amin(1)
    assert torch.allclose(-near[:, 5], nearest.double().log(), atol=1e-4)


def test_shuffling_the_support_set_changes_nothing_but_the_folds(source: ClassSource) -> None:
    engine, params = engine_of(source)
    support = Examples(*(part[0] for part in source.sampled(OWN).episodes("val", torch.arange(1)).support))
    order = torch.randperm(len(support.y), generator=torch.Generator().manual_seed(0))
    other = Examples(*(part[order] for part in support))
    folds = folds_of(support)
    one, two = (left_out(engine.learner, params, part, folds) for part in (support, other))
    assert folds == SHOTS
    assert torch.allclose(one.strange[order], two.strange, atol=1e-5)


def trained(place: Path, source: ClassSource) -> qs.Run:
    config = qs.RunConfig(
        name="t", learner=learners.part("protonet"), ways=WAYS, shots=SHOTS, queries=10, iterations=30,
        validation_episodes=20, device="cpu",
    )  # fmt: skip
    return qs.train(config, module=nn.Linear(4, 4), source=source, out=place / "run", quiet=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> qs.Run:
    return trained(tmp_path_factory.mktemp("trust"), clusters(60))


def task(run: qs.Run, shots: int = SHOTS) -> tuple[Tensor, list[str], Tensor]:
    """A support set, its names, and 150 queries of its classes."""
    generator = torch.Generator().manual_seed(1)
    centres = 2 * torch.randn((WAYS, 4), generator=generator)
    x, queries = (
        (centres[:, None] + torch.randn((WAYS, n, 4), generator=generator)).flatten(0, 1) for n in (shots, 30)
    )
    return x, [f"c{c}" for c in range(WAYS) for _ in range(shots)], queries


def test_a_model_carries_its_trust_into_its_file(run: qs.Run, tmp_path: Path) -> None:
    x, names, queries = task(run)
    model = run.adapt(x, names)
    again = qs.load(model.save(tmp_path / "m"), module=nn.Linear(4, 4), device="cpu")
    assert str(again.estimate) == str(model.estimate)
    one, two = (m.predict(queries, coverage=0.9, false_alarms=0.05) for m in (model, again))
    assert isinstance(one, ClassAnswer) and isinstance(two, ClassAnswer)
    for part in ("probabilities", "known", "accepted", "inside"):
        assert torch.equal(getattr(one, part), getattr(two, part))
    assert one.columns[:5] == ("class", "probability", "known", "accepted", "set")
    assert one.row(0)[4] == "; ".join(one.sets[0])
    assert torch.equal(one.probabilities.argmax(1), model(queries).argmax(1))  # a temperature changes no order
    far = model.predict(queries + 100, false_alarms=0.05)
    assert far.told(0) == NONE and isinstance(far, ClassAnswer) and not bool(far.accepted.any())  # type: ignore[union-attr]


def test_a_score_holds_sets_and_refusals_against_the_labels(run: qs.Run) -> None:
    x, names, queries = task(run)
    labels = [f"c{c}" for c in range(WAYS) for _ in range(30)]
    model = run.adapt(x, names)
    far = torch.cat([queries, queries[:20] + 100])
    scored = model.score(far, [*labels, *["other"] * 20], coverage=0.9, false_alarms=0.1)
    said = model.predict(far, coverage=0.9, false_alarms=0.1)
    assert isinstance(said, ClassAnswer) and said.accepted is not None
    (sets,) = scored.promises
    held = sum(label in one for label, one in zip(labels, said.sets, strict=False)) / len(labels)
    assert (sets.what, sets.level, sets.found.value) == ("sets", 0.9, pytest.approx(held))
    assert sets.size == pytest.approx(sum(len(one) for one in said.sets[:150]) / 150)
    assert scored.refusals is not None and scored.refusals.unknown.value == 1.0
    assert scored.refusals.known.value == pytest.approx(1 - float(said.accepted[:150].double().mean()))
    assert scored.to_json()["refusals"]["promised"] == 0.1
    assert model.score(queries, labels).promises == () and model.score(queries, labels).refusals is None
    with pytest.raises(ConfigError, match="cannot say how far"):
        run.adapt(x, names, trust=False).score(queries, labels, coverage=0.9)


def test_trust_is_fitted_once_and_again_for_another_model(run: qs.Run) -> None:
    first = run.trust
    assert qs.Run(run.folder, run._module, run._source).trust == first
    path = run.folder / "trust.json"
    stored = json.loads(path.read_text())
    path.write_text(json.dumps(stored | {"of": {"step": -1}}))
    assert qs.Run(run.folder, run._module, run._source).trust == first  # the same numbers, fitted anew
    assert json.loads(path.read_text())["of"] == stored["of"]
    assert Trust.from_json(first.to_json()) == first
    with pytest.raises(CheckpointError, match="reads up to"):
        Trust.from_json(first.to_json() | {"version": 99})


def test_one_example_of_a_class_shows_no_spread(run: qs.Run) -> None:
    x, names, _ = task(run, shots=1)
    said = run.adapt(x, names).estimate
    assert "no spread" in str(said)
    x, names, _ = task(run)
    assert said.high - said.low > 0 and not run.adapt(x, names).estimate.note


def test_what_cannot_be_promised_is_refused(run: qs.Run) -> None:
    x, names, queries = task(run)
    model = run.adapt(x, names)
    with pytest.raises(ConfigError, match="coverage lies between 0 and 1"):
        model.predict(queries, coverage=1.0)
    with pytest.raises(ConfigError, match="needs about 100000000 inputs"):
        model.predict(queries, false_alarms=1e-7)
    with pytest.raises(ConfigError, match="no sets|no coverage|There are no sets"):
        _ = model.predict(queries).sets  # type: ignore[attr-defined]
    without = run.adapt(x, names, trust=False)
    with pytest.raises(ConfigError, match="trust=False"):
        _ = without.estimate
    assert torch.allclose(without.predict(queries).probabilities, model(queries).softmax(1))  # type: ignore[attr-defined]


def test_a_task_unlike_all_of_validation_says_so(run: qs.Run) -> None:
    x, names, _ = task(run, shots=30)
    assert "30 examples of a class" in run.adapt(x, names).estimate.note


def test_without_held_out_classes_a_model_is_made_and_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    few = trained(tmp_path, clusters(60, val=0.0))
    few.__dict__.pop("trust", None)
    x, names, queries = task(few)
    with caplog.at_level(logging.INFO, "quickstudy"):
        model = few.adapt(x, names)
    assert "cannot tell how far" in caplog.text
    with pytest.raises(ConfigError, match="held out"):
        _ = model.estimate
    assert len(model.predict(queries)) == len(queries)


def test_sizes_are_those_that_the_classes_allow(source: ClassSource) -> None:
    engine, _ = engine_of(source)
    found = sizes(engine, source, "val", OWN, 300)
    assert found[0].ways == WAYS and found[0].tasks == 150 and found[0].strange == 2
    assert {one.ways for one in found} == {2, 5, 10} and {one.shots for one in found} == {1, 2, 3, 5, 10}
    assert sum(one.tasks for one in found) <= 300
    with pytest.raises(DataError, match="too few classes"):
        sizes(engine, clusters(12, val=0.2), "val", OWN, 300)


def test_tasks_of_tags_have_none() -> None:
    spec = TaskSpec(formats.make("array", shape=(1,)), targets.make("tags", names=("a", "b", "c")))
    learner = build_learner(qs.RunConfig(name="n", model=models.part("mlp"), learner=learners.part("maml")), spec)
    engine = Engine(learner, torch.device("cpu"))
    with pytest.raises(ConfigError, match="tasks are of classes, numbers or masks"):
        fit_trust(engine, learner.init(torch.Generator().manual_seed(0)), qs.tasks.sinusoid(), OWN, 0)


def test_padding_counts_for_nothing(source: ClassSource) -> None:
    engine, params = engine_of(source)
    trust = fit_trust(engine, params, source, OWN, seed=0, tasks=40)
    support = Examples(*(part[0] for part in source.sampled(OWN).episodes("test", torch.arange(1)).support))
    padded = Examples(
        torch.cat([support.x, torch.full((2, 4), 7.0)]),
        torch.cat([support.y, torch.zeros(2, dtype=torch.int64)]),
        torch.cat([support.mask, torch.zeros(2, dtype=torch.bool)]),
    )
    one, two = (task_trust(trust, engine.learner, params, part) for part in (support, padded))
    assert torch.allclose(one.evidence.features, two.evidence.features, atol=1e-5)
    assert one.estimate().mean == pytest.approx(two.estimate().mean, abs=1e-4)


@pytest.mark.parametrize("said", [torch.nan, -torch.inf])
def test_what_a_network_says_of_padding_is_no_evidence(source: ClassSource, said: float) -> None:
    engine, params = engine_of(source)
    inner, after = embedded(engine, params, source.sampled(OWN).episodes("val", torch.arange(1)))
    left, support = examined(inner, params, after.support), after.support
    one = LeftOut(*(part[0] for part in left))
    known = Examples(torch.zeros(0), support.y[0], support.mask[0])
    padded = Examples(torch.zeros(0), torch.cat([known.y, known.y[:1]]), torch.cat([known.mask, ~known.mask[:1]]))
    more = {name: torch.cat([getattr(one, name), torch.full_like(getattr(one, name)[:1], said)])
            for name in ("logits", "known", "strange")}  # fmt: skip
    wider = one._replace(told=torch.cat([one.told, padded.mask[-1:]]), **more)
    for part, other in zip(evidence(one, known)[:3], evidence(wider, padded)[:3], strict=True):
        torch.testing.assert_close(other, part)


def test_the_next_to_label_lie_between_classes_and_apart(run: qs.Run) -> None:
    x, names, queries = task(run)
    model = run.adapt(x, names)
    centres = x.unflatten(0, (WAYS, SHOTS)).mean(1)
    between = (centres[0] + centres[1]) / 2
    pool = torch.cat([queries[:20], between[None], between[None] + 1e-3])
    top = model(pool).softmax(1).topk(2, dim=1).values
    chosen = model.next(pool, 3)
    assert float(top[chosen[0], 0] - top[chosen[0], 1]) < float((top[:, 0] - top[:, 1]).median())
    assert not {20, 21} <= set(chosen)  # as they are one
    assert sorted(model.next(queries, 500)) == list(range(len(queries)))
    with pytest.raises(ConfigError, match="count=0"):
        model.next(queries, 0)


def test_trust_that_cannot_be_stored_is_told_and_used(
    run: qs.Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = shutil.copytree(run.folder, tmp_path / "given")
    copy = qs.Run(folder, run._module, run._source)
    assert copy.params and copy.parts
    shutil.rmtree(folder)
    folder.touch()  # so that nothing can be written into it
    x, names, _ = task(run)
    assert copy.believed()[0] == run.trust
    assert str(copy.adapt(x, names).estimate) == str(run.adapt(x, names).estimate)
    found = copy.fit_trust(tasks=2 * LEAST)
    assert found.several is not None and "cannot be stored" in caplog.text


def test_small_classes_are_asked_about_with_the_few_examples_that_they_have() -> None:
    """Classes of eight examples leave three queries beside five shots; more are not demanded."""
    small = clusters(classes=40, each=SHOTS + 3)
    engine, _ = engine_of(small)
    first = sizes(engine, small, "val", OWN, 40)[0]
    assert (first.ways, first.shots, first.queries) == (WAYS, SHOTS, 3) and first.strange >= 2
