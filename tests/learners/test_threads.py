"""Many threads may call one network at once: nobody gets another's weights, features or statistics."""

from __future__ import annotations

import copy
import pickle
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
import torch
from small_tasks import IMAGES, VECTORS, convolutional, episodes, generator, perceptron, random_params
from torch import Tensor, nn

from quickstudy.episode import Episode, Params
from quickstudy.learners import Network, cavia, frozen, maml, protonet
from quickstudy.learners.given import as_given
from quickstudy.models import FiLM

CALLS = 1500


@pytest.fixture(autouse=True)
def eager_switching() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def at_once(*functions: Callable[[], Any]) -> list[Any]:
    """The results of functions that each run in a thread of its own, at the same time."""
    start = Barrier(len(functions))

    def run(function: Callable[[], Any]) -> Any:
        start.wait()
        return function()

    with ThreadPoolExecutor(len(functions)) as pool:
        return list(pool.map(run, functions))


def wrong(answer: Callable[[], Tensor], right: Tensor, calls: int = CALLS) -> int:
    return sum(not torch.equal(answer(), right) for _ in range(calls))


def calibrated(seed: int) -> tuple[Any, Params]:
    learner = protonet(convolutional(4), IMAGES)
    return learner, learner.calibrate(random_params(learner.init(generator()), seed), batches(seed))


def batches(seed: int, count: int = 3) -> list[Episode]:
    return [episodes(IMAGES, tasks=None, seed=10 * seed + i) for i in range(count)]


@pytest.mark.parametrize("module", [nn.Linear(5, 3).double(), perceptron(VECTORS, 3)])
def test_two_models_of_one_gradient_learner_answer_with_their_own_weights(module: nn.Module) -> None:
    learner, x = maml(module, VECTORS, steps=1), torch.randn(4, 5).double()
    params = [random_params(learner.init(generator()), seed) for seed in range(2)]
    asked = [lambda p=p: learner.predict(p, learner.start(p, episodes(VECTORS, None).support), x) for p in params]
    with torch.no_grad():
        right = [answer() for answer in asked]
    assert at_once(*(lambda a=a, r=r: wrong(a, r.detach()) for a, r in zip(asked, right, strict=True))) == [0, 0]


def test_two_models_with_calibrated_batch_norm_answer_with_their_own_statistics() -> None:
    learner, first = calibrated(0)
    second = calibrated(1)[1]
    uncalibrated = {name: value for name, value in first.items() if not name.startswith("statistics.")}
    x = batches(3)[0].query.x
    phis = (first, second, uncalibrated)
    right = [learner.network(phi, x) for phi in phis]
    found = at_once(
        *(lambda p=p, r=r: wrong(lambda: learner.network(p, x), r) for p, r in zip(phis, right, strict=True))
    )
    assert found == [0, 0, 0]


def test_features_are_the_caller_s_own() -> None:
    network, x = Network(perceptron(VECTORS, 3)), torch.randn(4, 5).double()
    params = [random_params(network.init(generator()), seed) for seed in range(2)]
    right = [network.features(p, x) for p in params]
    found = at_once(
        *(lambda p=p, r=r: wrong(lambda: network.features(p, x), r) for p, r in zip(params, right, strict=True))
    )
    assert found == [0, 0]


def test_statistics_are_of_the_thread_s_own_calls() -> None:
    learner = protonet(convolutional(4), IMAGES)
    phis = [random_params(learner.init(generator()), seed) for seed in range(2)]
    right = [learner.calibrate(phi, batches(seed)) for seed, phi in enumerate(phis)]

    def differing(seed: int) -> int:
        count = 0
        for _ in range(CALLS // 20):
            found = learner.calibrate(phis[seed], batches(seed))
            count += any(not torch.equal(found[name], value) for name, value in right[seed].items())
        return count

    x = batches(5)[0].query.x
    disturb = lambda: [learner.network(phis[0], x) for _ in range(CALLS // 2)] and 0  # noqa: E731
    assert at_once(lambda: differing(0), lambda: differing(1), disturb) == [0, 0, 0]


def test_recordings_within_one_another_each_hear_their_own_network() -> None:
    one, other = (Network(as_given(convolutional(4))) for _ in range(2))
    params, x = one.init(generator()), batches(0)[0].query.x
    with one.recording() as outer:
        one(params, x)
        with other.recording() as inner:
            one(params, x)
            other(params, x)
    one(params, x)
    layer = "statistics.network.1"
    names = {f"{layer}.mean", f"{layer}.variance"}
    assert outer.statistics(torch.float64).keys() == inner.statistics(torch.float64).keys() == names
    assert (outer._sums[layer][0], inner._sums[layer][0]) == (2 * 6 * 4, 6 * 4)


def test_weights_that_threads_draw_at_once_are_those_of_their_own_generators() -> None:
    network = Network(nn.Sequential(*(nn.Linear(3, 3) for _ in range(30))))

    def drawn(seed: int) -> list[Params]:
        return [network.init(generator(seed)) for _ in range(40)]

    for seed, found in enumerate(at_once(*(lambda s=s: drawn(s) for s in range(4)))):
        wanted = network.init(generator(seed))
        assert all(torch.equal(params[name], value) for params in found for name, value in wanted.items())


def test_hooks_modulate_the_copy_that_is_called() -> None:
    learner = cavia(FiLM(perceptron(VECTORS, 3), "1", 6, size=2), VECTORS, steps=1)
    phi, support = random_params(learner.init(generator())), episodes(VECTORS, tasks=None).support
    states = [learner.adapt(phi, support._replace(y=support.y.roll(i))) for i in range(2)]
    right = [learner.predict(phi, state, support.x) for state in states]
    assert not torch.equal(*right)
    found = at_once(
        *(
            lambda s=s, r=r: wrong(lambda: learner.predict(phi, s, support.x), r)
            for s, r in zip(states, right, strict=True)
        )
    )
    assert found == [0, 0]


LEFT: dict[str, Tensor] = {}


class LeftByAHook(nn.Module):
    """What a hook leaves in a place that all copies share is part of the answer."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3))
        self.inner[1].register_forward_hook(lambda module, x, output: LEFT.__setitem__("hidden", output))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.inner(x), LEFT["hidden"]], 1)


class LeftInItself(LeftByAHook):
    """The same, in an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.inner[1]._forward_hooks.clear()

    def forward(self, x: Tensor) -> Tensor:
        self.hidden = self.inner[:2](x)
        return torch.cat([self.inner[2](self.hidden), self.hidden], 1)


@pytest.mark.parametrize("module", [LeftByAHook(), LeftInItself()])
def test_what_a_call_leaves_for_itself_is_not_found_by_another(module: nn.Module) -> None:
    learner = protonet(module.double(), VECTORS)
    params = random_params(learner.init(generator()))
    state = learner.adapt(params, episodes(VECTORS, tasks=None).support)
    model, inputs = frozen(learner, params, state), [torch.randn(4, 5).double() for _ in range(4)]
    for call in (lambda x: learner.network(params, x), model):
        with torch.no_grad():
            right = [call(x) for x in inputs]
        asked = [lambda x=x, call=call: call(x).detach() for x in inputs]
        assert at_once(*(lambda a=a, r=r: wrong(a, r, 500) for a, r in zip(asked, right, strict=True))) == [0] * 4


def test_a_call_that_fails_leaves_the_network_as_it_was() -> None:
    network, x = Network(perceptron(VECTORS, 3)), torch.randn(4, 5).double()
    params = network.init(generator())
    right = network(params, x)
    with pytest.raises(RuntimeError):
        network.features(params, x[:, :3])
    assert torch.equal(network(params, x), right)
    assert torch.equal(network.features(params, x), network.features(params, x))


def test_a_network_can_be_copied_and_sent_to_other_processes() -> None:
    learner, params = calibrated(0)
    x = batches(3)[0].query.x
    right = learner.network(params, x)
    for other in (copy.deepcopy(learner), pickle.loads(pickle.dumps(learner))):
        assert torch.equal(other.network(params, x), right)


def test_a_network_s_copies_share_its_tensors() -> None:
    network = Network(perceptron(VECTORS, 3))
    network(network.init(generator()), torch.randn(4, 5).double())
    copied, module = network._pools.by_batch.take(), network._pools.by_batch.module
    assert copied is not module
    assert all(one is other for one, other in zip(copied.parameters(), module.parameters(), strict=True))
