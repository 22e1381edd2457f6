"""Families of tasks that are known by name, and what Gymnasium's environments need to be set from outside."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from quickstudy.errors import MissingExtra

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Family:
    """A preset of the source 'gym'. id: of Gymnasium. vary, horizon, level, unit: as of the source, where they are not
    given.

    options: for gymnasium.make. wrapper: around it, by its name in `wrappers`. package: that must be installed besides
    Gymnasium.
    """

    id: str
    vary: tuple[str, ...]
    horizon: int
    options: dict[str, Any] = field(default_factory=dict)
    wrapper: str = ""
    package: str = ""
    level: bool = False
    unit: float = 1.0


_CHEETAH, _ANT = {"ctrl_cost_weight": 0.05}, {
    "ctrl_cost_weight": 0.005, "contact_cost_weight": 5e-4, "healthy_reward": 0.05,
    "include_cfrc_ext_in_observation": False,
}  # fmt: skip

_ROAD = {
    "config": {
        "action": {"type": "DiscreteMetaAction", "target_speeds": [10, 15, 20, 25, 30, 35]}, "duration": 1_000_000,
        "vehicles_count": 10,
    }
}  # fmt: skip

FAMILIES = {
    "cartpole": Family("CartPole-v1", ("length 0.25 1", "masspole 0.05 0.5", "gravity 7 12"), 200),
    "pendulum": Family("Pendulum-v1", ("g 6 12", "m 0.6 1.4", "l 0.6 1.4"), 200),
    "cheetah-dir": Family("HalfCheetah-v5", ("direction -1|1",), 200, _CHEETAH, "Direction", "mujoco"),
    "cheetah-vel": Family("HalfCheetah-v5", ("velocity 0 2",), 200, _CHEETAH, "Velocity", "mujoco"),
    "ant-dir": Family("Ant-v5", ("angle 0 6.2831853",), 200, _ANT, "Heading", "mujoco"),
    "reacher": Family(
        "Reacher-v5", ("angle 0 6.2831853", "area 0 1"), 50, {}, "HiddenGoal", "mujoco", unit=0.05
    ),
    "highway": Family(
        "highway-fast-v0", ("config.vehicles_density 0.7 1.5", "config.vehicles_count 10..30"), 30,
        package="highway_env",
    ),
    "highway-rules": Family(
        "highway-fast-v0",
        ("pays 12 32", "side 0 1", "config.vehicles_density 0.7 1.5", "config.lanes_count 2..4"), 40, _ROAD,
        "HiddenRules", "highway_env",
    ),
    "parking": Family("parking-v0", ("spot 0..27",), 100, {}, "HiddenSpot", "highway_env"),
    "minigrid": Family("MiniGrid-FourRooms-v0", (), 100, {}, "OneHotView", "minigrid", level=True),
    "breakout": Family(
        "ALE/Breakout-v5", ("_game_mode 0|4|8|12|16|20|24|28|32|36|40|44", "_game_difficulty 0|1"), 1000,
        {"obs_type": "ram"}, package="ale_py",
    ),
}  # fmt: skip
"""What tasks differ in stands here, what is rewarded in `wrappers`, or is the environment's own."""

_EXTRAS = {
    "mujoco": ("mujoco", "rl"),
    "highway_env": ("highway-env", "rl,worlds"),
    "minigrid": ("minigrid", "rl,worlds"),
    "ale_py": ("ale-py", "rl,worlds"),
}
"""Packages by the module that registers their environments: the name to install them by, and the extras."""


def gymnasium() -> Any:
    """The module; MissingExtra without it."""
    try:
        return importlib.import_module("gymnasium")
    except ImportError as error:
        raise MissingExtra("gymnasium", "rl", "Acting in environments of Gymnasium") from error


def require(module: str) -> None:
    """Imports a package with environments, which announces them to Gymnasium; MissingExtra without it."""
    package, extras = _EXTRAS[module]
    try:
        _imported(module)
    except ImportError as error:
        raise MissingExtra(package, extras, f"Acting in environments of {package}") from error


def require_for(spec: Any) -> None:
    """Imports the package that environments of Gymnasium's `spec` need, where it is a known one."""
    for module in _EXTRAS:
        if module in str(spec.entry_point):
            require(module)


def announce() -> list[str]:
    """Imports the known packages that are installed; the others, by the name to install them by."""
    missing = []
    for module, (package, _) in _EXTRAS.items():
        try:
            _imported(module)
        except ImportError:
            missing.append(package)
    return missing


@cache
def _imported(module: str) -> Any:
    """A known package. What it says goes to our log, each thing once, not to the terminal or a file where we stand."""
    found = importlib.import_module(module)
    if module == "mujoco":
        found.set_mju_user_warning(_warned)
    elif module == "ale_py":
        found.ALEInterface.setLoggerMode(found.LoggerMode.Warning)
    return found


@cache
def _warned(text: str) -> None:
    level = logging.DEBUG if "deprecated" in text else logging.WARNING  # of files that come with Gymnasium
    _log.log(level, "MuJoCo: %s", text.strip())


def settle(env: Any, paths: Iterable[tuple[str, ...]]) -> None:
    """Computes anew what an environment has computed of its numbers when it was made. paths: of those that were set."""
    inner = env.unwrapped
    if type(inner).__name__ == "CartPoleEnv":
        inner.total_mass = inner.masspole + inner.masscart
        inner.polemass_length = inner.masspole * inner.length
    elif any(path[0] == "model" for path in paths) and type(inner.model).__module__.startswith("mujoco"):
        _imported("mujoco").mj_setConst(inner.model, inner.data)
