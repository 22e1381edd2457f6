"""Registries: read by many threads, traits that can be relied on, options described where they are defined."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from typing import Any

import pytest
from small_tasks import classes

from quickstudy.errors import ConfigError
from quickstudy.registry import Registry, learners, models, sources
from quickstudy.traits import LearnerTraits, ModelTraits

NAMES = ("maml", "glyphs", "conv4", "demo")
MANY_THREADS = """
import sys, threading
sys.setswitchinterval(1e-5)
from quickstudy import registry
asked = list(zip((registry.learners, registry.sources, registry.models, registry.recipes), sys.argv[1:]))
start, said = threading.Barrier(24), []
def look(kind, name):
    start.wait()
    try:
        said.append(kind[name].__name__ == name and name in list(kind))
    except Exception as error:
        said.append(repr(error))
threads = [threading.Thread(target=look, args=asked[i % 4]) for i in range(24)]
[t.start() for t in threads]
[t.join(60) for t in threads]
print(said.count(True), [other for other in said if other is not True])
"""

OWN_PARTS_FROM_THREADS = """
import threading
from quickstudy.registry import learners
def announce(i):
    learners.register(f"mine{i}", head=True)(lambda module, spec: None)
    assert len(list(learners)) > 10
threads = [threading.Thread(target=announce, args=(i,)) for i in range(8)]
[t.start() for t in threads]
[t.join(60) for t in threads]
print(sum(f"mine{i}" in learners and learners.traits(f"mine{i}").head for i in range(8)))
"""


@pytest.mark.parametrize(("program", "wanted"), [(MANY_THREADS, "24 []"), (OWN_PARTS_FROM_THREADS, "8")])
def test_threads_that_read_first_at_the_same_time_all_find_every_part(program: str, wanted: str) -> None:
    done = subprocess.run([sys.executable, "-c", program, *NAMES], capture_output=True, text=True, timeout=120)
    assert (done.stdout.strip(), done.stderr) == (wanted, "")


def made(kind: str = "thing", traits: type[Any] = LearnerTraits) -> Registry[Any, Any]:
    return Registry(kind, traits)


def test_iterating_survives_what_other_threads_register() -> None:
    registry = made()
    for i in range(50):
        registry.register(f"first{i}")(lambda: None)
    names = iter(registry)
    next(names)
    thread = threading.Thread(target=lambda: [registry.register(f"second{i}")(lambda: None) for i in range(50)])
    thread.start()
    thread.join()
    assert sum(1 for _ in names) == 49
    assert len(registry) == 100


def test_a_name_is_given_once() -> None:
    registry = made()
    registry.register("one")(lambda: 1)
    with pytest.raises(ConfigError, match="already a thing called 'one'"):
        registry.register("one")(lambda: 2)
    assert registry["one"]() == 1


def test_a_trait_that_does_not_exist_or_is_of_another_type_is_refused_when_a_part_is_registered() -> None:
    with pytest.raises(ConfigError, match="trait of a learner called 'heads'.*mean 'head'.*context"):
        learners.register("mine", heads=True)
    with pytest.raises(ConfigError, match=r"The trait 'head' of the learner 'mine' is 1, expected true or false\."):
        learners.register("mine", head=1)
    with pytest.raises(ConfigError, match=r"'axes' of the model 'mine' is True, expected a whole number or nothing"):
        models.register("mine", axes=True)
    assert "mine" not in learners


def test_traits_have_defaults_and_hidden_parts_are_known_by_name_only() -> None:
    registry = made(traits=ModelTraits)
    registry.register("seen", axes=3)(lambda: None)
    registry.register("unseen", hidden=True)(lambda: None)
    assert registry.traits("seen") == ModelTraits(axes=3, narrower=False)
    assert list(registry) == ["seen"]
    assert "unseen" in registry
    with pytest.raises(ConfigError, match="mean 'seen'"):
        registry.traits("sen")


def test_options_are_described_by_the_constructor_s_docstring() -> None:
    def constructor(module: Any, *, lr: float = 0.1, steps: int = 1, wide: bool = False, silent: int = 0) -> None:
        """A thing.

        Not of an option: this.

        module: a network. lr, steps: of the loop, which
            goes on: see there. wide: whether the lr: is wide.

        Raises nothing.
        """

    registry = made()
    registry.register("one")(constructor)
    assert registry.describe("one") == {
        "lr": "of the loop, which goes on: see there.",
        "steps": "of the loop, which goes on: see there.",
        "wide": "whether the lr: is wide.",
        "silent": "",
    }


@pytest.mark.parametrize("registry", [learners, models, sources], ids=lambda registry: registry.kind)
def test_every_option_of_every_part_is_described(registry: Registry[Any, Any]) -> None:
    silent = [f"{name}.{option}" for name in registry for option, text in registry.describe(name).items() if not text]
    assert silent == []


def test_a_model_that_does_not_fit_names_those_that_do() -> None:
    with pytest.raises(ConfigError, match=re.escape("--model mlp, or a module")):
        models["conv4"](classes((5,), 3))
