"""A learned optimizer for any model, in the place of one of `torch.optim`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self, TypedDict

import torch
from torch import Tensor

from quickstudy.episode import Params
from quickstudy.errors import CheckpointError, ConfigError, ShapeError
from quickstudy.inner import RULES, Rule
from quickstudy.storage.json import fitting
from quickstudy.storage.tensors import load_tensors, save_tensors

KIND = "learned optimizer"
_ONE = "parameter"  # its name in calls of the rule, which sees one at a time


class LearnedOptimizer(torch.optim.Optimizer):
    """A rule of `quickstudy.inner` with trained weights, as an optimizer of PyTorch (Andrychowicz et al. 2016).

        optimizer = qs.LearnedOptimizer.load("quadratics.safetensors", model.parameters())

    params: tensors of real floating-point numbers, or groups as `torch.optim` takes them. rule, weights: from
    `optim.train_optimizer`, or the entries 'inner.*' of a trained φ without that prefix. lr: a factor on what the rule
    says, 1 for the rule as it was trained; groups and schedules may change it. Parameters without a gradient are
    skipped. Rules that look at the loss ('meta-lstm') need `step(closure)`.

    Raises ConfigError for weights that are not the rule's and for rules with rates for each tensor; ShapeError for
    parameters that are not real floating-point numbers, and for sparse gradients.
    """

    def __init__(
        self, params: Iterable[Tensor] | Iterable[dict[str, Any]], rule: Rule, weights: Params, *, lr: float = 1.0
    ) -> None:
        if not lr >= 0:
            raise ConfigError(f"lr, the factor on the learned updates, cannot be negative, found {lr}.")
        self._rule = rule
        self._weights = _checked(rule, weights)
        self._cast: dict[tuple[torch.device, torch.dtype], Params] = {}
        super().__init__(params, {"lr": lr})

    def __repr__(self) -> str:
        groups = self.param_groups
        count = sum(value.numel() for group in groups for value in group["params"])
        rates = ", ".join(dict.fromkeys(f"{float(group['lr']):g}" for group in groups))
        return (
            f"LearnedOptimizer({type(self._rule).__name__}, lr {rates}, of {count:,} numbers in {len(groups)} groups)"
        )

    @property
    def rule(self) -> Rule:
        return self._rule

    @property
    def weights(self) -> Params:
        """A copy of the rule's weights."""
        return {name: value.clone() for name, value in self._weights.items()}

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        super().add_param_group(param_group)
        for value in self.param_groups[-1]["params"]:
            if not value.is_floating_point():
                kind = "complex numbers" if value.is_complex() else "integers"
                way = "use torch.view_as_real, " if value.is_complex() else ""
                self.param_groups.pop()
                raise ShapeError(
                    f"A learned optimizer moves real floating-point parameters, and one of shape {tuple(value.shape)} "
                    f"holds {kind} ({value.dtype}). Leave it out, {way}or give it to another optimizer."
                )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move every parameter that has a gradient. closure: computes loss and gradients; its loss is returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for value in group["params"]:
                if value.grad is not None:
                    self._move(value, value.grad, group["lr"], loss)
        return loss

    def _move(self, value: Tensor, grad: Tensor, lr: float, loss: Any) -> None:
        if grad.is_sparse:
            raise ShapeError(
                f"The gradient of a parameter of shape {tuple(value.shape)} is sparse, and a learned optimizer moves "
                "every coordinate. Make it dense (sparse=False in nn.Embedding), or use torch.optim.SparseAdam for it."
            )
        weights = self._at(value)
        dtype = next(iter(weights.values())).dtype
        params = {_ONE: value.to(dtype)}
        state = self.state[value] or self._rule.init(params)
        known = torch.as_tensor(loss, dtype=dtype, device=value.device).detach() if loss is not None else None
        updates, self.state[value] = self._rule.update(weights, {_ONE: grad.to(dtype)}, state, params, known)
        value.add_(lr * updates[_ONE])

    def _at(self, value: Tensor) -> Params:
        """The weights where `value` is, in its precision or their own, whichever is higher."""
        own = next(iter(self._weights.values())).dtype
        place = value.device, torch.promote_types(own, value.dtype)
        if place not in self._cast:
            self._cast[place] = {n: w.to(device=place[0], dtype=place[1]) for n, w in self._weights.items()}
        return self._cast[place]

    def state_dict(self) -> dict[str, Any]:
        """As of any optimizer, with the rule's name and a fingerprint of its weights, but without the weights."""
        return super().state_dict() | {"rule": self._identity()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave, to the same bits. Raises ConfigError for that of another rule."""
        theirs, mine = state_dict.get("rule"), self._identity()
        if theirs != mine:
            raise ConfigError(
                f"This state is of the optimizer {theirs}, and this is {mine}. Load the weights it was made with first."
            )
        super().load_state_dict(state_dict)
        ids = [index for group in state_dict["param_groups"] for index in group["params"]]
        own = [value for group in self.param_groups for value in group["params"]]
        for index, value in zip(ids, own, strict=True):  # torch gives a state the precision of its parameter
            if index in state_dict["state"]:
                slots = state_dict["state"][index]
                self.state[value] = {name: held.detach().clone().to(value.device) for name, held in slots.items()}

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_rule": self._rule, "_weights": self._weights, "_cast": {}}

    def _identity(self) -> dict[str, Any]:
        sha = hashlib.sha256(repr(self._rule).encode())
        for name, value in sorted(self._weights.items()):
            sha.update(name.encode() + value.cpu().double().numpy().tobytes())
        return {"name": type(self._rule).__name__, "weights": sha.hexdigest()[:16]}

    def save(self, path: str | Path, facts: Mapping[str, Any] | None = None) -> None:
        """Store the rule and its weights, not the state, as one safetensors file. facts: more to store, as JSON."""
        save_rule(path, self._rule, self._weights, facts)

    @classmethod
    def load(cls, path: str | Path, params: Iterable[Tensor] | Iterable[dict[str, Any]], *, lr: float = 1.0) -> Self:
        """The optimizer stored at `path`, for the parameters `params`.

        Raises RunError if there is no such file, CheckpointError if it is damaged or something else.
        """
        rule, weights, _ = load_rule(path)
        return cls(params, rule, weights, lr=lr)


class _Meta(TypedDict):
    rule: str
    options: dict[str, Any]
    facts: dict[str, Any]


def save_rule(path: str | Path, rule: Rule, weights: Params, facts: Mapping[str, Any] | None = None) -> None:
    """Store a rule of `inner.RULES` and its weights as one safetensors file, with `facts` (JSON)."""
    names = [name for name, kind in RULES.items() if type(rule) is kind]
    if not names:
        raise ConfigError(
            f"{type(rule).__name__} has no name by which it could be built again. Add it to quickstudy.inner.RULES."
        )
    meta = {"kind": KIND, "rule": names[0], "options": asdict(rule), "facts": dict(facts or {})}
    save_tensors(Path(path), _checked(rule, weights), meta)


def load_rule(path: str | Path) -> tuple[Rule, Params, dict[str, Any]]:
    """The rule, weights and facts stored at `path`. Raises RunError and CheckpointError as `LearnedOptimizer.load`."""
    weights, meta = load_tensors(Path(path), KIND, _Meta)
    if meta["rule"] not in RULES:
        raise CheckpointError(
            f"{path} holds a rule called {meta['rule']!r:.80}, which is not known here: {', '.join(RULES)}. Add it to "
            "quickstudy.inner.RULES, or upgrade with: pip install --upgrade quickstudy"
        )
    fitting(meta["options"], RULES[meta["rule"]], f"What {path} says of its rule")
    options: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in meta["options"].items()}
    rule = RULES[meta["rule"]](**options)
    return rule, _checked(rule, weights), meta["facts"]


def _checked(rule: Rule, weights: Params) -> Params:
    """The weights as constants, if they fit the rule."""
    if rule.rates != "shared":
        raise ConfigError(
            f"An optimizer for any model needs a rule that treats all tensors alike, found rates={rule.rates!r}. Use "
            "rates='shared'."
        )
    expected = rule.init_hyper({_ONE: torch.zeros(1)}, torch.Generator().manual_seed(0))
    given = {name: tuple(value.shape) for name, value in weights.items()}
    wanted = {name: tuple(value.shape) for name, value in expected.items()}
    if given != wanted:
        wrong = sorted(n for n in given.keys() | wanted.keys() if given.get(n) != wanted.get(n))
        raise ConfigError(
            f"These are not the weights of a {type(rule).__name__} such as {rule}: {wrong[0]!r} has the shape "
            f"{given.get(wrong[0], 'of nothing')}, expected {wanted.get(wrong[0], 'no such entry')}. Give the weights "
            "that this rule was trained with."
        )
    return {name: value.detach().clone() for name, value in weights.items()}
