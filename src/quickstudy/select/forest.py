"""Random forests (Breiman 2001) as plain arrays: grown by scikit-learn, stored and asked without it."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from quickstudy.errors import MissingExtra
from quickstudy.select.base import State
from quickstudy.select.scenario import Array

Tried = Literal["all", "third", "sqrt", "log2"]
"""How many features are looked at for each split."""
_SHARES: dict[Tried, float | str] = {"all": 1.0, "third": 1 / 3, "sqrt": "sqrt", "log2": "log2"}


def grow(
    x: Array, y: Array, *, trees: int, leaf: int, tried: Tried, seed: int, weights: Array | None = None
) -> list[State]:
    """The trees of a forest that regresses y (n, K) on x (n, D), by squared error; K outputs share each tree's splits.

    For y of 0 and 1 the splits are those of a classification by Gini's impurity, which is twice the variance. leaf:
    examples that a leaf must have. weights: (n,), of examples. A tree without any difference to learn is one leaf.
    """
    if weights is not None and not weights.any():
        return [_constant(y.mean(axis=0))]
    if (y == y[0]).all():
        return [_constant(y[0])]
    try:
        from sklearn.ensemble import RandomForestRegressor
    except ImportError as error:
        raise MissingExtra("scikit-learn", "select", "Growing forests") from error
    forest = RandomForestRegressor(trees, min_samples_leaf=leaf, max_features=_SHARES[tried], random_state=seed)
    forest.fit(x, y[:, 0] if y.shape[1] == 1 else y, sample_weight=weights)
    return [_arrays(estimator.tree_) for estimator in forest.estimators_]


def bags(count: int, trees: int, seed: int) -> NDArray[np.int64]:
    """How often each of `count` examples is drawn for each tree, (trees, count): `count` draws with repeats."""
    draw = np.random.default_rng(seed)
    drawn = draw.integers(count, size=(trees, count))
    return np.stack([np.bincount(one, minlength=count) for one in drawn])


def grow_extra(x: Array, y: Array, *, leaf: int, tried: Tried, seed: int, drawn: NDArray[np.int64]) -> list[State]:
    """Trees as of `grow`, whose thresholds are drawn (extremely randomised trees, Geurts et al. 2006): one for each bag
    (trees, n), of `bags`."""
    if (y == y[0]).all():
        return [_constant(y[0]) for _ in drawn]
    try:
        from sklearn.tree import ExtraTreeRegressor
    except ImportError as error:
        raise MissingExtra("scikit-learn", "select", "Growing forests") from error
    single, trees = np.ascontiguousarray(x, dtype=np.float32), list[State]()
    for number, counts in enumerate(drawn):
        tree = ExtraTreeRegressor(min_samples_leaf=leaf, max_features=_SHARES[tried], random_state=seed + 7919 * number)
        held = counts > 0
        tree.fit(single[held], y[held], sample_weight=counts[held].astype(np.float64))
        trees.append(_arrays(tree.tree_))
    return trees


def _constant(value: Array) -> State:
    one = np.full(1, -1, dtype=np.int32)
    return {"feature": one, "threshold": np.zeros(1, np.float32), "left": one, "right": one,
            "value": value[None].astype(np.float32)}  # fmt: skip


def _arrays(tree: Any) -> State:
    """A tree as arrays over its nodes; leaves have the feature -1.

    scikit-learn compares features in single precision with thresholds in double. Rounded down, a threshold in single
    precision divides the same numbers.
    """
    threshold = tree.threshold.astype(np.float32)
    threshold = np.where(threshold > tree.threshold, np.nextafter(threshold, np.float32(-np.inf)), threshold)
    leaf = tree.children_left < 0
    return {
        "feature": np.where(leaf, -1, tree.feature).astype(np.int32),
        "threshold": threshold,
        "left": tree.children_left.astype(np.int32),
        "right": tree.children_right.astype(np.int32),
        "value": np.where(leaf[:, None], tree.value[:, :, 0], 0.0).astype(np.float32),
    }


def planted(forests: list[list[State]]) -> State:
    """Forests as one state: arrays over all nodes, 'forest.root' over the trees, 'forest.owner' whose each tree is."""
    trees = [tree for forest in forests for tree in forest]
    sizes = np.array([len(tree["feature"]) for tree in trees])
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    state = {f"forest.{name}": np.concatenate([tree[name] for tree in trees]) for name in trees[0]}
    shift = np.repeat(starts, sizes)
    for side in ("left", "right"):
        children = state[f"forest.{side}"]
        state[f"forest.{side}"] = np.where(children < 0, -1, children + shift).astype(np.int32)
    owner = np.repeat(np.arange(len(forests)), [len(forest) for forest in forests])
    return state | {"forest.root": starts.astype(np.int32), "forest.owner": owner.astype(np.int32)}


def asked(state: State, x: Array) -> Array:
    """The means over the trees of each forest, (m, forests, K), for x (m, D)."""
    owner, values = state["forest.owner"], state["forest.value"]
    singles = x.astype(np.float32)
    count = int(owner[-1]) + 1
    answers = np.zeros((len(x), count, values.shape[1]))
    bounds = np.searchsorted(owner, np.arange(count + 1))
    for number in range(count):
        roots = state["forest.root"][bounds[number] : bounds[number + 1]]
        answers[:, number] = values[_leaves(state, roots, singles)].mean(axis=1, dtype=np.float64)
    return answers


def asked_unseen(state: State, x: Array, drawn: NDArray[np.int64]) -> Array:
    """For the examples (n, D) that one forest has grown on, the means (n, K) over the trees whose bag (trees, n) does
    not hold them (out of bag); over all trees for an example that all have seen."""
    values, weights = state["forest.value"], (drawn == 0).T.astype(np.float64)
    weights[weights.sum(axis=1) == 0] = 1.0
    weights /= weights.sum(axis=1, keepdims=True)
    leaves = _leaves(state, state["forest.root"], x.astype(np.float32))
    return np.stack([weight @ values[at] for weight, at in zip(weights, leaves, strict=True)])


def _leaves(state: State, roots: NDArray[np.int32], x: NDArray[np.float32]) -> NDArray[np.int64]:
    """The leaf that each example (m, D) comes to in each tree, (m, trees)."""
    at = np.broadcast_to(roots.astype(np.int64), (len(x), len(roots))).copy()
    rows = np.arange(len(x))[:, None]
    while True:
        feature = state["forest.feature"][at]
        inside = feature >= 0
        if not inside.any():
            return at
        below = x[rows, np.maximum(feature, 0)] <= state["forest.threshold"][at]
        child = np.where(below, state["forest.left"][at], state["forest.right"][at])
        if (inside & (child <= at)).any():
            raise ValueError("a tree's branch leads back")
        at = np.where(inside, child, at)
