"""Starting from memories: what is recalled, what it becomes, and what is put back."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from small_tasks import classes, numbers

import quickstudy as qs
from quickstudy.engine import Engine
from quickstudy.entries import CENTRE, DESCRIPTORS, METRIC, PARAMETER, prefixed
from quickstudy.episode import Episode, Examples, Params, task
from quickstudy.errors import ConfigError, DataError, ModelError, ShapeError
from quickstudy.learners import MemoryLearner, maml, memory, protonet
from quickstudy.learners.descent import task_parameters
from quickstudy.learners.describe import LENGTH, describe, fit_head
from quickstudy.learners.network import Network
from quickstudy.memory import Bank, Memory
from quickstudy.memory.health import export, merge, near_duplicates, prune, usefulness
from quickstudy.memory.map import neighbours, projected, write_map
from quickstudy.models import mlp
from quickstudy.tasks.base import Source
from quickstudy.tasks.classes import ClassSource
from quickstudy.tasks.pool import TensorPool

WAYS, D = 3, 5
SPEC = classes((D,), WAYS)
KINDS = ("features", "task2vec")


def source(groups: int = 4) -> Source:
    """Classes are Gaussians; those of a group lie in a corner of their own."""
    drawn = torch.Generator().manual_seed(0)
    corners = 4 * torch.randn(groups, D, generator=drawn)
    centres = corners.repeat_interleave(4, 0) + torch.randn(4 * groups, D, generator=drawn)
    x = centres.repeat_interleave(20, 0) + 0.5 * torch.randn(80 * groups, D, generator=drawn)
    classes = 4 * groups
    pool = TensorPool.from_labels(
        SPEC.format,
        x,
        torch.arange(classes).repeat_interleave(20),
        [f"group {i // 4}/class {i}" for i in range(classes)],
        groups=[str(i // 4) for i in range(classes)],
    )
    splits = {"train": torch.arange(classes - 4), "val": torch.arange(4), "test": torch.arange(classes - 4, classes)}
    return ClassSource(pool=pool, splits=splits, spec=SPEC, within=True).sampled(qs.Sampling(WAYS, 5, 5))


def learner(**options: object) -> MemoryLearner:
    return memory(mlp(SPEC, width=16), SPEC, **({"lr": 0.1, "steps": 3, "near": -1.0} | options))  # type: ignore[arg-type]


def phi(made: MemoryLearner) -> Params:
    some = source().episodes("train", torch.arange(16))
    return made.calibrate(made.init(torch.Generator().manual_seed(0)), [task(some, i) for i in range(16)])


def episode(index: int = 0) -> Episode:
    return task(source().episodes("train", torch.tensor([index])), 0)


def remembered(made: MemoryLearner, params: Params, count: int = 6) -> tuple[Params, list[Params]]:
    episodes = [episode(i) for i in range(100, 100 + count)]
    tasks = [task_parameters(made.adapt(params, e.support)) for e in episodes]
    return made.remembering(params, torch.stack([made.description(params, e.support) for e in episodes]), tasks), tasks


@pytest.mark.parametrize("how", KINDS)
@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_a_description_depends_on_neither_order_nor_names(how: str, kind: str) -> None:
    spec = SPEC if kind == "classification" else numbers((D,))
    network = Network(mlp(spec, width=16).double())
    params = network.init(torch.Generator().manual_seed(0))
    x = torch.randn(9, D, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    y = torch.arange(9) % WAYS if kind == "classification" else x[:, :1] * 2
    support = Examples(x, y, torch.ones(9, dtype=torch.bool))
    description = describe(how, network, params, support, spec)  # type: ignore[arg-type]
    order = torch.randperm(9, generator=torch.Generator().manual_seed(2))
    shuffled = describe(how, network, params, Examples(x[order], y[order], support.mask), spec)  # type: ignore[arg-type]
    torch.testing.assert_close(description, shuffled)
    mask = torch.arange(11) < 9
    padded = Examples(torch.cat([x, x[:2] + 1]), torch.cat([y, y[:2]]), mask)
    torch.testing.assert_close(description, describe(how, network, params, padded, spec))  # type: ignore[arg-type]
    assert description.shape == (LENGTH,) and bool(torch.isfinite(description).all())
    if kind == "classification":
        renamed = describe(how, network, params, Examples(x, (y + 1) % WAYS, support.mask), spec)  # type: ignore[arg-type]
        torch.testing.assert_close(description, renamed)


@pytest.mark.parametrize("how", KINDS)
def test_tasks_of_one_group_are_described_alike(how: str) -> None:
    made = learner(describe=how)
    params, names = phi(made), source()
    descriptions = torch.stack([made.description(params, episode(i).support) for i in range(60)])
    groups = [names.class_names("train", i)[0].split("/")[0] for i in range(60)]
    near = neighbours(descriptions, 1)
    assert sum(groups[i] == groups[other] for i, [(other, _)] in enumerate(near)) > 40  # of 60; by chance 20


def test_without_memories_it_starts_from_phi() -> None:
    made = learner()
    params, support = phi(made), episode().support
    state = made.start(params, support)
    head = fit_head(made.network, params, {}, support, SPEC)
    for name, value in task_parameters(state).items():
        assert torch.equal(value, head.get(name, params[PARAMETER + name]))
    assert state["recalled"].tolist() == [-1]


def test_the_average_is_weighted_by_closeness() -> None:
    made = learner(nearest=3)
    params, tasks = remembered(made, phi(made))
    support = episode(7).support
    state = made.start(params, support)
    cosines = F.cosine_similarity(made.description(params, support)[None], params[DESCRIPTORS])
    best = cosines.topk(3)
    assert state["recalled"].tolist() == best.indices.tolist()
    torch.testing.assert_close(state["closeness"], best.values)
    weights = (10 * best.values).softmax(0)
    expected = sum(w * tasks[i]["linear1.weight"] for w, i in zip(weights, best.indices.tolist(), strict=True))
    torch.testing.assert_close(state["task.linear1.weight"], expected)


def test_the_best_of_the_nearest_has_the_least_support_loss() -> None:
    made = learner(nearest=4, recall="best")
    params, tasks = remembered(made, phi(made))
    support = episode(8).support
    state = made.start(params, support)
    (chosen,) = [i for i in state["recalled"].tolist() if i >= 0]
    nearest = F.cosine_similarity(made.description(params, support)[None], params[DESCRIPTORS]).topk(4).indices.tolist()
    losses = {}
    for i in nearest:
        values = made.body(tasks[i])
        whole = values | fit_head(made.network, params, values, support, SPEC)
        losses[i] = float(F.cross_entropy(made.network(params, support.x, whole), support.y))
    assert chosen == min(losses, key=lambda i: losses[i])


def test_memories_that_are_not_near_are_not_used() -> None:
    made = learner(near=1.0)
    params, _ = remembered(made, phi(made))
    support = episode(9).support
    state, plain = made.start(params, support), made.start(phi(made), support)
    assert set(state["recalled"].tolist()) == {-1}
    for name, value in task_parameters(plain).items():
        torch.testing.assert_close(task_parameters(state)[name], value)


@pytest.mark.parametrize("recall", ["average", "best"])
def test_with_memories_vmap_is_the_loop_and_the_answer_keeps_its_symmetries(recall: str) -> None:
    made = learner(recall=recall)
    params, _ = remembered(made, phi(made))
    episodes = source().episodes("test", torch.arange(4))
    one, other = (Engine(made, torch.device("cpu"), mode).predictions(params, episodes) for mode in ("vmap", "loop"))  # type: ignore[arg-type]
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    (x, y, mask), query = task(episodes, 0)
    state = made.adapt(params, Examples(x, (y + 1) % WAYS, mask))
    torch.testing.assert_close(made.predict(params, state, query.x).roll(-1, 1), one[0], rtol=1e-3, atol=1e-3)


def test_any_number_of_classes_is_learned() -> None:
    made = learner()
    params, _ = remembered(made, phi(made))
    wider = source().sampled(qs.Sampling(4, 5, 5))
    e = task(wider.episodes("train", torch.tensor([3])), 0)
    at = made.at(wider.spec)
    answers = at.predict(params, at.adapt(params, e.support), e.query.x)
    assert answers.shape == (20, 4) and float((answers.argmax(1) == e.query.y).float().mean()) > 0.6


def test_what_cannot_remember_is_refused() -> None:
    with pytest.raises(ConfigError, match="EmbeddingLearner has no such parameters"):
        MemoryLearner.around(protonet(mlp(SPEC, head=False), SPEC))
    with pytest.raises(ModelError, match="End the network with nn.Linear"):
        memory(torch.nn.Sequential(torch.nn.Linear(D, WAYS), torch.nn.PReLU()), SPEC)
    with pytest.raises(ConfigError, match="nearest"):
        learner(nearest=0)
    plain = MemoryLearner.around(maml(mlp(SPEC), SPEC, lr=0.3, steps=2), nearest=2)
    assert plain.steps == 2 and plain.nearest == 2 and plain.rule.lr == 0.3


def bank(tmp_path: Path, count: int = 12, **options: object) -> Memory:
    made = learner()
    filled = Memory(Bank(tmp_path / "bank"), made, phi(made), **options)  # type: ignore[arg-type]
    filled.build(source(), count)
    return filled


def test_the_loop_remembers_and_starts_from_what_it_remembers(tmp_path: Path) -> None:
    filled = bank(tmp_path, keep="examples")
    entries = filled.bank.entries()
    assert len(entries) == 12 and filled.bank.check() == {}
    assert not entries[0].parents and all(entry.parents for entry in entries[1:])
    assert {p for e in entries for p in e.parents} <= {e.id for e in entries}
    assert entries[4].metrics["accuracy"] == entries[4].metrics["stored accuracy"]
    assert entries[4].name.startswith("group ") and entries[4].statistics["classes"] == WAYS
    kept = filled.bank.support(entries[4].id)
    assert kept is not None and torch.equal(kept.x, episode(4).support.x)  # type: ignore[arg-type]
    e = episode(4)
    solved = filled.adapt(e.support, query=e.query)
    assert len(filled.bank) == 12 and solved.recalled[0][0].id == entries[4].id  # the same task is its own nearest
    assert solved.recalled[0][1] == pytest.approx(1.0, abs=1e-3) and "group" in str(solved)
    again = Memory(Bank(tmp_path / "bank"), filled.learner, filled.params)
    same = again.adapt(e.support, query=e.query)
    torch.testing.assert_close(solved.state, same.state)


@pytest.mark.parametrize("codec", ["bfloat16", "int8"])
def test_what_is_lost_by_storing_less_is_told(codec: str, tmp_path: Path) -> None:
    filled = bank(tmp_path, 4, codec=codec)
    e = episode(9)
    solved = filled.adapt(e.support, query=e.query, remember=True)
    assert solved.id is not None
    stored = Bank(tmp_path / "bank").load(solved.id)
    origin = prefixed(PARAMETER, filled.params)
    for name, value in task_parameters(solved.state).items():
        moved = float((value - origin[name]).abs().max())
        bound = moved / 250 if codec == "int8" else float(value.abs().max()) / 250
        assert float((stored[name] - value).abs().max()) <= bound + 1e-7
    entry = filled.bank.entries()[3]
    assert abs(entry.metrics["accuracy"] - entry.metrics["stored accuracy"]) <= 0.1
    assert entry.metrics["loss"] != entry.metrics["stored loss"] and entry.codec == codec


def test_memories_that_are_gone_or_damaged_are_left_out_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    filled = bank(tmp_path, 3)
    ids = [entry.id for entry in filled.bank.entries()]
    filled.bank.tables.table("tasks").update(
        where=f"id = '{ids[0]}'", values={"signature": filled.signature, "sha256": "0"}
    )
    with caplog.at_level(logging.WARNING):
        solved = filled.adapt(episode(0).support)
    assert {e.id for e, _ in solved.recalled} <= set(ids[1:]) and "does not match its checksum" in caplog.text
    filled.bank.remove(ids)
    assert not filled.adapt(episode(0).support).recalled


def test_starts_are_what_they_say(tmp_path: Path) -> None:
    filled = bank(tmp_path, 3)
    e = episode(5)
    for start in ("phi", "random"):
        assert not filled.adapt(e.support, start=start).recalled  # type: ignore[arg-type]
    one, other = (filled.adapt(e.support, start="random", seed=seed).state for seed in (1, 2))
    assert not torch.equal(one["task.linear1.weight"], other["task.linear1.weight"])
    with pytest.raises(ConfigError, match="Did you mean 'memory'"):
        filled.adapt(e.support, start="memry")  # type: ignore[arg-type]


def test_pruning_forgets_the_least_used_and_merging_joins_what_is_alike(tmp_path: Path) -> None:
    filled = bank(tmp_path)
    entries = filled.bank.entries()
    used = usefulness(entries)
    assert sum(used.values()) == pytest.approx(sum(bool(e.parents) for e in entries))
    rate = {e.id: (used[e.id] + 1) / (len(entries) - i) for i, e in enumerate(entries)}  # for each that came after
    would = prune(filled.bank, count=8, dry=True)
    assert len(filled.bank) == len(entries)
    forgotten = prune(filled.bank, count=8)
    assert [e.id for e in forgotten] == [e.id for e in would]
    assert len(filled.bank) == 8 and max(rate[e.id] for e in forgotten) <= min(
        rate[e.id] for e in filled.bank.entries()
    )
    assert entries[-1].id in {e.id for e in filled.bank.entries()}  # nothing could have started from it yet
    size = sum(e.size for e in filled.bank.entries()) // 2
    prune(filled.bank, size=size)
    assert sum(e.size for e in filled.bank.entries()) <= size
    with pytest.raises(ConfigError, match="budget"):
        prune(filled.bank)
    before = filled.bank.entries()
    twin = filled.adapt(
        episode(int(before[0].support_uri.split("/")[1])).support, remember=True, name="group 0 twin"
    ).id
    groups = near_duplicates(filled.bank.entries(), 0.999)
    assert [{e.id for e in group} for group in groups] == [{before[0].id, twin}]
    assert merge(filled.bank, 0.999) == 1 and len(filled.bank) == len(before)
    merged = filled.bank.entries()[-1]
    assert merged.statistics["merged"] == 2 and filled.bank.check() == {}


def test_exports_are_plain_files_and_the_map_is_a_page(tmp_path: Path) -> None:
    filled = bank(tmp_path)
    folder = export(filled.bank, tmp_path / "out")
    one = filled.bank.entries()[0]
    stored = load_file(folder / f"{one.id}.safetensors")
    assert all(torch.equal(value, stored[name]) for name, value in filled.bank.load(one.id).items())
    page = write_map(filled.bank, tmp_path / "map.html").read_text()
    assert "Nearest neighbours" in page and one.name in page and page.count("<svg") == 2
    filled.bank.remove([e.id for e in filled.bank.entries()[1:]])
    with pytest.raises(DataError, match="at least two tasks"):
        write_map(filled.bank, tmp_path / "map.html")


def test_the_projection_keeps_the_largest_variance() -> None:
    vectors = torch.randn(50, 6, generator=torch.Generator().manual_seed(0)) * torch.tensor([9.0, 4, 1, 1, 1, 1])
    places, shares = projected(vectors)
    spread = torch.linalg.eigvalsh(torch.cov(vectors.T)).flip(0)
    torch.testing.assert_close(places.var(0), spread[:2], rtol=1e-4, atol=1e-4)
    assert shares == pytest.approx((spread[:2] / spread.sum()).tolist(), rel=1e-4)


def test_regression_tasks_are_remembered_too(tmp_path: Path) -> None:
    spec = numbers((1,))
    made = memory(mlp(spec), spec, lr=0.01, steps=5)
    waves = qs.tasks.sinusoid().sampled(qs.Sampling(1, 10, 10))
    params = made.init(torch.Generator().manual_seed(0))
    filled = Memory(Bank(tmp_path), made, params)
    solved = filled.build(waves, 3)
    assert CENTRE not in params and solved[2].recalled and "mse" in solved[2].metrics
    assert prefixed("task.", solved[2].state).keys() == prefixed(PARAMETER, params).keys()


def test_a_learned_distance_finds_what_matters(tmp_path: Path) -> None:
    """The first four directions say which memory helps, the others are noise."""
    drawn = torch.Generator().manual_seed(0)
    asked, known = torch.randn(60, 24, generator=drawn), torch.randn(40, 24, generator=drawn)
    gain = F.normalize(asked[:, :4], dim=1) @ F.normalize(known[:, :4], dim=1).T
    weights = qs.memory.learn_metric(asked, known, gain)
    assert float(weights[:4].min()) > 2 * float(weights[4:].max()) and bool((weights >= 0).all())
    filled = bank(tmp_path, 4)
    plain = filled.search(episode(2).support, 4)
    filled.params[METRIC] = torch.zeros(LENGTH).index_fill(0, torch.arange(3), 1.0)
    chosen = filled.search(episode(2).support, 4)
    asked_for = filled.learner.description(filled.params, episode(2).support) * filled.params[METRIC]
    for entry, near in chosen:
        assert near == pytest.approx(float(F.cosine_similarity(asked_for, entry.descriptor, dim=0)), abs=1e-5)
    assert [near for _, near in plain] != [near for _, near in chosen]


def test_only_memories_of_the_same_network_phi_and_description_are_recalled(tmp_path: Path) -> None:
    """Two memories in one bank never see each other's tasks, whatever of the network, φ or description differs."""
    shared = Bank(tmp_path)
    wide = replace(learner(), network=Network(mlp(SPEC, width=8), inner_loop=True))
    tanh = torch.nn.Sequential(*(torch.nn.Tanh() if isinstance(m, torch.nn.ReLU) else m for m in mlp(SPEC, width=16)))
    others = [learner(describe="task2vec"), wide, memory(tanh, SPEC, lr=0.1, near=-1.0)]
    memories = [Memory(shared, made, phi(made)) for made in (learner(), *others)]
    other_phi = learner().init(torch.Generator().manual_seed(9))
    memories.append(Memory(shared, learner(), learner().calibrate(other_phi, [episode(i) for i in range(4)])))
    for one in memories:
        one.build(source(), 3)
    assert len({one.signature for one in memories}) == 5 and len(shared) == 15
    for one in memories:
        mine = {entry.id for entry in shared.entries(one.signature)}
        assert len(mine) == 3 and {e.id for e, _ in one.adapt(episode(40).support).recalled} <= mine
    assert Memory(shared, learner(nearest=2, lr=0.5), memories[0].params).signature == memories[0].signature


def test_what_diverged_is_not_remembered(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = learner(lr=1e20)
    filled = Memory(Bank(tmp_path), made, phi(made))
    with caplog.at_level(logging.WARNING):
        assert filled.adapt(episode(0).support, remember=True, name="too fast").id is None
    assert "'too fast' is not remembered: its training diverged" in caplog.text and len(filled.bank) == 0


def test_a_damaged_phi_costs_no_entry_that_does_not_need_it(tmp_path: Path) -> None:
    filled = bank(tmp_path, 3)
    filled.bank.tables.table("bases").update(values={"facts": "{}"})
    again = Bank(tmp_path / "bank")
    assert list(again.check()) == [f"φ {filled.base}"]
    again.remove(list(again.check()))
    assert len(again) == 3 and again.load(again.entries()[0].id)


def test_an_entry_that_cannot_be_read_does_not_hide_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    filled = bank(tmp_path, 3)
    first = filled.bank.entries()[0].id
    filled.bank.tables.table("tasks").update(where=f"id = '{first}'", values={"told": "{"})
    with caplog.at_level(logging.WARNING):
        assert len(filled.bank.entries()) == 2 and len(filled.adapt(episode(1).support).recalled) == 2
    assert "is damaged" in caplog.text and set(filled.bank.check()) == {first}


def test_examples_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    filled = bank(tmp_path, 2)
    x, y, mask = episode(0).support
    same = filled.adapt(Examples(x.double(), y, mask)).metrics  # type: ignore[union-attr]
    assert same == filled.adapt(Examples(x, y, mask)).metrics and "support accuracy" in same
    with pytest.raises(DataError, match="mask is False everywhere"):
        filled.adapt(Examples(x, y, torch.zeros_like(mask)))
    with pytest.raises(DataError, match="NaN"):
        filled.search(Examples(x * torch.nan, y, mask))  # type: ignore[operator]
    with pytest.raises(ShapeError, match="axis"):
        filled.adapt(Examples(x[:, :2], y, mask))  # type: ignore[index]


def test_merging_keeps_uses_figures_and_support_sets(tmp_path: Path) -> None:
    filled = bank(tmp_path, 4, keep="examples")
    first = filled.bank.entries()[0]
    twin = filled.adapt(episode(0).support, remember=True).id
    before = usefulness(filled.bank.entries())
    assert merge(filled.bank, 0.999) == 1
    merged = filled.bank.entries()[-1]
    assert usefulness(filled.bank.entries())[merged.id] == pytest.approx(before[first.id] + before[str(twin)])
    assert merged.metrics and filled.bank.support(merged.id) is not None


def test_task2vec_refuses_batch_statistics() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(D, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, WAYS))
    with pytest.raises(ModelError, match="one example at a time"):
        memory(module, SPEC, norm="batch", describe="task2vec")
