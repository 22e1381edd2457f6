"""What an answer is, one kind a file. It is the only place that knows loss, metric, direction, guessing and wording."""

from quickstudy.targets.actions import Actions
from quickstudy.targets.answers.base import Answer
from quickstudy.targets.answers.classes import ClassAnswer
from quickstudy.targets.answers.masks import MaskAnswer
from quickstudy.targets.answers.numbers import NumberAnswer
from quickstudy.targets.answers.tags import TagAnswer
from quickstudy.targets.answers.texts import TextAnswer
from quickstudy.targets.base import Target
from quickstudy.targets.classes import Classes
from quickstudy.targets.distribution import Distribution
from quickstudy.targets.maps import LabelMaps
from quickstudy.targets.masks import Masks
from quickstudy.targets.metric import Metric, headline, metric_named
from quickstudy.targets.numbers import Numbers
from quickstudy.targets.sequence import Transcript
from quickstudy.targets.tags import Tags

__all__ = [
    "Actions",
    "Answer",
    "ClassAnswer",
    "Classes",
    "Distribution",
    "LabelMaps",
    "MaskAnswer",
    "Masks",
    "Metric",
    "NumberAnswer",
    "Numbers",
    "TagAnswer",
    "Tags",
    "Target",
    "TextAnswer",
    "Transcript",
    "headline",
    "metric_named",
]
