"""Trained runs as estimators of scikit-learn, for tables and series; extra `sklearn`.

from quickstudy.sklearn import FewShotClassifier
FewShotClassifier().fit(X, y).predict_proba(new)
"""

from __future__ import annotations

from quickstudy.errors import MissingExtra

try:
    import sklearn  # noqa: F401
except ImportError as error:
    raise MissingExtra("scikit-learn", "sklearn", "The estimators of quickstudy.sklearn") from error

from quickstudy.sklearn.classifier import FewShotClassifier
from quickstudy.sklearn.forecaster import FewShotForecaster
from quickstudy.sklearn.regressor import FewShotRegressor

__all__ = ["FewShotClassifier", "FewShotForecaster", "FewShotRegressor"]
