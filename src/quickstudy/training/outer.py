"""The outer optimizer: any of torch.optim or Muon, with any schedule, moving φ along the meta-gradient."""

from __future__ import annotations

import inspect
import json
import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from quickstudy.entries import trainable
from quickstudy.episode import Params
from quickstudy.errors import ConfigError, unknown_name
from quickstudy.training.muon import Muon
from quickstudy.training.options import OuterOptions

# They need more than a gradient and a step: a closure, sparse gradients, a metric.
_UNFIT = ("LBFGS", "SparseAdam", "ReduceLROnPlateau", "_LRScheduler")
_OWN = {torch.optim: {"Muon": Muon}}  # torch's own takes matrices only


def _torch_class(kind: str, module: Any, name: str, base: type) -> Any:
    classes = {n: c for n, c in vars(module).items() if inspect.isclass(c) and issubclass(c, base) and c is not base}
    known = {n: c for n, c in classes.items() if n not in _UNFIT} | _OWN.get(module, {})
    if name not in known:
        raise unknown_name(kind, name, known)
    return known[name]


def _made(constructor: Any, *arguments: Any, **options: Any) -> Any:
    """What the constructor of a torch class makes; a ConfigError where it refuses its arguments."""
    try:
        return constructor(*arguments, **options)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise ConfigError(
            f"{constructor.__name__} cannot be used with the options {options}: {error}. Change optimizer_options or "
            "schedule_options, or choose another optimizer or schedule."
        ) from error


def _laid_out_as(value: Tensor, other: Tensor) -> Tensor:
    """`other` with the strides of `value`: fused optimizers pair the two in the order of memory, whatever that is."""
    return other if other.stride() == value.stride() else torch.empty_like(value, dtype=other.dtype).copy_(other)


def _check_signature(kind: str, constructor: Any, options: Mapping[str, Any]) -> None:
    """Refuse options that a torch class does not take, suggesting the nearest."""
    known = [n for n in inspect.signature(constructor).parameters if n not in ("self", "params", "optimizer")]
    for option in options:
        if option not in known:
            raise unknown_name(f"option of the {kind} {constructor.__name__}", option, known)


class Outer:
    """φ, the optimizer's state, the schedule and the moving average: all that changes from one outer step to the next.

    params: φ on the training device, moved in place by `step`. moves: which entries it moves, by name, see
    `Learner.moves`; moving: these. average: the moving average of φ, or φ itself. clip: bound on the meta-gradient's
    norm, 0 for none.
    """

    def __init__(self, params: Params, options: OuterOptions, moves: Callable[[str], bool] = trainable) -> None:
        self.params = params
        self._decay, self.clip = options.average, options.clip
        groups = options.groups(name for name in params if moves(name))
        self.moving = {name: params[name] for _, names in groups for name in names}  # in the order of the optimizer
        self.group_of = {name: index for index, (_, names) in enumerate(groups) for name in names}
        self.average = {n: v.clone() for n, v in params.items()} if options.average else params
        optimizer = _torch_class("optimizer in torch.optim", torch.optim, options.optimizer, torch.optim.Optimizer)
        _check_signature("optimizer", optimizer, options.optimizer_options)
        # One kernel for all parameters, where there is one: for small networks Python costs more than the update.
        choices = {"fused", "foreach", "capturable", "differentiable"}
        one_kernel = "fused" in inspect.signature(optimizer).parameters and not choices & set(options.optimizer_options)
        given = {"lr": options.lr, **({"fused": True} if one_kernel else {}), **options.optimizer_options}
        if options.iterations and not self.moving:
            raise ConfigError(
                "There is nothing to train: the network has no parameters, or all are frozen. Set iterations to 0 "
                "(--iterations 0) to adapt and evaluate it as it is, or let some of it be trained (--trainable)."
            )
        self._full = [rate for rate, _ in groups]
        several = [{"params": [params[name] for name in names], "lr": rate} for rate, names in groups]
        self.optimizer = _made(optimizer, several or [torch.zeros(())], **given)
        self.schedule = self._schedule(options)
        self._last = options.iterations if options.ends else None  # step after which the schedule can give no rate
        self._slots: Params | None = None  # the same tensors from one step to the next

    def _schedule(self, options: OuterOptions) -> Any:
        if options.schedule == "none" or not options.iterations:
            return None
        kinds = torch.optim.lr_scheduler
        schedule = _torch_class(
            "schedule in torch.optim.lr_scheduler (or 'none')", kinds, options.schedule, kinds.LRScheduler
        )
        _check_signature("schedule", schedule, options.schedule_options)
        takes = inspect.signature(schedule).parameters
        implied = {"T_max": options.iterations, "total_steps": options.iterations, "max_lr": self.rates}
        implied = {name: value for name, value in implied.items() if name in takes}
        given = {**implied, **options.schedule_options}
        if "pct_start" in takes and given.get("pct_start", takes["pct_start"].default) * options.iterations == 1:
            # A rise of one step has no length, by which OneCycleLR divides; the first rates stay those of its two ends.
            given["pct_start"] = math.nextafter(1 / options.iterations, 1)
        return _made(schedule, self.optimizer, **given)

    @property
    def rates(self) -> list[float]:
        """The learning rate of each group, as the schedule has it now."""
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def slow_down(self, share: float) -> None:
        """Take the learning rates to a share of what the options say, for loops that go by the clock and have no
        schedule."""
        for group, rate in zip(self.optimizer.param_groups, self._full, strict=False):
            group["lr"] = share * rate

    def step(self, grads: Params, norm: Tensor) -> None:
        """One outer step along the meta-gradient `grads`, of this total norm; its names are the trainable ones of φ."""
        for name, value in self.moving.items():
            value.grad = _laid_out_as(value, grads[name])
        if self.clip:
            torch.nn.utils.clip_grads_with_norm_(self.moving.values(), self.clip, norm)
        self.optimizer.step()
        self._slots = None
        self._follow()

    def put(self, values: Params) -> None:
        """Set entries of φ that no optimizer moves, in its moving average too."""
        for name, value in values.items():
            self.params[name].copy_(value)
            self.average[name].copy_(value)

    def skip(self, steps: int) -> None:
        """Put the schedule where it is after `steps` outer steps, before the first one."""
        if self.schedule is not None:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")  # it is meant here
                for _ in range(steps):
                    self.schedule.step()

    def slots(self) -> Params:
        """The tensors of the optimizer's state, by 'ENTRY/SLOT', not to be changed; empty before the first step."""
        if self._slots is None:
            state = self.optimizer.state
            self._slots = {
                f"{name}/{slot}": kept
                for name, value in self.moving.items()
                for slot, kept in state.get(value, {}).items()
                if isinstance(kept, Tensor)
            }
        return self._slots

    def move(self, changes: Params, slots: Params) -> None:
        """An outer step to where it was found to lead: `changes` of trainable entries of φ, and all `slots`."""
        here = self.slots()
        torch._foreach_add_([self.moving[name] for name in changes], list(changes.values()))
        if slots:
            torch._foreach_copy_([here[name] for name in slots], list(slots.values()))
        self._follow()

    def _follow(self) -> None:
        if self.schedule is not None:
            self.schedule.step()
        if self._decay:
            names = list(self.moving)
            torch._foreach_lerp_([self.average[n] for n in names], [self.moving[n] for n in names], 1 - self._decay)

    def tensors(self) -> dict[str, Tensor]:
        """Everything that is a tensor, by flat names, to be stored."""
        tensors = {f"params.{name}": value for name, value in self.params.items()}
        if self._decay:
            tensors |= {f"average.{name}": value for name, value in self.average.items()}
        for index, slots in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{slot}": v for slot, v in slots.items() if isinstance(v, Tensor)}
        return tensors

    def numbers(self) -> dict[str, Any]:
        """Everything that is not a tensor, as plain data, to be stored."""
        state = self.optimizer.state_dict()
        plain = {
            str(index): {slot: v for slot, v in slots.items() if not isinstance(v, Tensor)}
            for index, slots in state["state"].items()
        }
        # Mappings, such as the milestones of MultiStepLR, never change, and JSON would make strings of their keys.
        stored = {} if self.schedule is None else self.schedule.state_dict()
        schedule = {name: value for name, value in stored.items() if not isinstance(value, dict)}
        numbers = {"groups": state["param_groups"], "state": plain, "schedule": schedule}
        # Through text once, so that what cannot be stored is found before the file is written.
        return json.loads(json.dumps(numbers))  # type: ignore[no-any-return]

    def rehearse(self) -> None:
        """A step along nothing; where the schedule has come to its end, without it."""
        if self.schedule is not None and self.schedule.last_epoch == self._last:
            self.schedule = None
        nothing = {name: torch.zeros_like(value) for name, value in self.moving.items()}
        self.step(nothing, torch.zeros((), device=next(iter(self.params.values())).device))

    def restore(self, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
        """Continue from what `tensors` and `numbers` gave."""
        stores = {"params.": self.params} | ({"average.": self.average} if self._decay else {})
        for prefix, store in stores.items():
            for name, value in store.items():
                value.copy_(tensors[prefix + name])
        state: dict[int, dict[str, Any]] = {int(index): dict(slots) for index, slots in numbers["state"].items()}
        moving = list(self.moving.values())
        for name, value in tensors.items():
            if name.startswith("optimizer."):
                _, index, slot = name.split(".", 2)
                like = moving[int(index)]
                laid_out = _laid_out_as(like, value) if value.shape == like.shape else value
                state.setdefault(int(index), {})[slot] = laid_out
        self.optimizer.load_state_dict({"state": state, "param_groups": numbers["groups"]})
        self._slots = None
        if self.schedule is not None:
            self.schedule.load_state_dict(numbers["schedule"])
