"""Classes, from a few rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self, cast

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from quickstudy.deploy.model import Model
from quickstudy.formats.records import Stored
from quickstudy.sklearn.base import Array, TableEstimator
from quickstudy.sklearn.codes import codebook, coupled
from quickstudy.sklearn.parts import dealt
from quickstudy.sklearn.trained import InputError, as_value_errors


class FewShotClassifier(ClassifierMixin, TableEstimator):  # type: ignore[misc]
    """A classifier that was trained before, on other tables, and learns this one in a forward pass: nothing is tuned.

    X: numbers (n, columns) with NaN for gaps; a data frame, or an array of objects, may hold texts, truth values and
    dates as well. y: classes of any kind, at least two of them.

    run: the name of a trained model, the folder of a run, or a `quickstudy.Run`, on tasks of tables and classes. rows:
    the most that one model reads; more are dealt out to several of the same mix of classes, whose probabilities are
    averaged, so that none is left out. columns: the most that are read; of more, those that tell most of the labels,
    each by itself, which is said by a warning. categories: columns, by name or number, whose cells are names of things
    though they look like numbers; in a frame also those of the type 'category'. random_state: of how rows are dealt
    out, and classes grouped. device: another than the run's.

    More classes than the network tells apart (`codes_`) are put into groups, several times; each way is a model, and
    their answers are coupled.

    After `fit`: `classes_`, and what `TableEstimator` names. Stored by pickle or joblib, it holds its models as the
    bytes of their safetensors files.

    >>> FewShotClassifier().fit(X, y).predict_proba(new)  # doctest: +SKIP
    """

    def fit(self, X: Any, y: Any) -> Self:
        """Learn rows X and their classes y. ValueError for what cannot be learned, such as a single class."""
        with as_value_errors():
            ready = self._trained()
            ready.learner.spec.target.require_classes("FewShotClassifier", "Take FewShotRegressor, or another run.")
            y = validate_data(self, y=y)
            check_classification_targets(y)
            self.classes_, ids = np.unique(y, return_inverse=True)
            count = len(self.classes_)
            format, stored = self._stored(ready, X, np.eye(count)[ids])
            if count < 2:
                raise InputError(f"All rows are of one class ({self.classes_[0]!r}). Give at least two classes.")
            draw = check_random_state(self.random_state)
            self.codes_ = codebook(count, ready.limit, draw)
            parts = dealt(len(ids), self.rows, draw, ids)
            self.models_ = [self._adapted(ready, format, stored, parts, code[ids]) for code in self.codes_]
            self.groups_ = [[list(map(int, model.names)) for model in shared] for shared in self.models_]
            if len(self.codes_) == 1:  # every class is its own group: the models say its name
                self.models_ = [[self._named(model) for model in self.models_[0]]]
        return self

    def predict_proba(self, X: Any) -> Array:
        """The probability of each class, (n, classes), in the order of `classes_`."""
        check_is_fitted(self)
        ways = list(zip(self.models_, self.groups_, self.codes_, strict=True))
        return self._answers(
            X,
            lambda rows: coupled(
                [_mean(shared, seen, rows, int(code.max()) + 1) for shared, seen, code in ways], self.codes_
            ),
        )

    def _named(self, model: Model) -> Model:
        """A model of groups of one class each, which are called as the classes are."""
        names = [str(self.classes_[int(group)]) for group in model.names]
        return replace(model, names=tuple(names)) if len(set(names)) == len(names) else model

    def predict(self, X: Any) -> Array:
        """The likeliest class of each row, (n,)."""
        said = self.predict_proba(X)
        return cast(Array, self.classes_[said.argmax(axis=1)])


def _mean(models: Sequence[Model], seen: Sequence[Sequence[int]], stored: Stored, groups: int) -> Array:
    """The mean of what models say of groups, (n, groups). seen: by each, in its order; another is impossible to it."""
    total: Array = np.zeros((len(stored.kept), groups))
    for model, columns in zip(models, seen, strict=True):
        said: Any = model.answer(stored)  # names with probabilities
        total[:, columns] += said.probabilities.double().numpy()
    return total / len(models)
