"""Transcripts: sequences of tokens, of which nobody says when each is heard."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from quickstudy.episode import Examples
from quickstudy.errors import ConfigError, DataError, ShapeError, first_of
from quickstudy.masked import one_hot
from quickstudy.registry import targets
from quickstudy.targets.answers.texts import TextAnswer
from quickstudy.targets.base import Target
from quickstudy.targets.ctc import BLANK, beam, ctc_costs, greedy, positions_needed
from quickstudy.targets.distribution import Distribution
from quickstudy.targets.edits import edits, word_numbers
from quickstudy.targets.metric import Metric
from quickstudy.targets.units import Units

_SURE = 10.0  # the logit of what labels themselves say


@targets.register("sequence")
@dataclass(frozen=True, kw_only=True)
class Transcript(Target):
    """What is said, as text: predictions are logits (n, positions, 1 + tokens), the first of them a blank's.

    Learned by connectionist temporal classification (Graves et al. 2006): a label is a text alone, not when each part
    of it is heard. y (n, 1 + longest) int64 is the number of its tokens, then their ids from 1, then 0.

    tokens: what texts are made of: characters, or, with `words`, words between spaces. longest: of a text, in tokens.
    Both are learned from the texts of all tasks where they are not given.
    positions: at which a network says something; a text needs one for each token, and one between equal ones.
    beam: prefixes that answers are searched with (Graves 2012); 1 takes the likeliest path, as the error rate does.
    """

    tokens: tuple[str, ...] = ()
    longest: int = 0
    positions: int = 64
    words: bool = False
    beam: int = 8

    metric = Metric(
        "error_rate",
        "error rate",
        "tokens wrong, missing or too many",
        False,
        percent=True,
        short="of the tokens wrong",
    )
    guess = "saying nothing"
    whole_only = True

    def __post_init__(self) -> None:
        odd = [token for token in self.tokens if (self.words and token.split() != [token]) or not token]
        odd += [token for token in self.tokens if not self.words and len(token) != 1]
        if odd or len(set(self.tokens)) < len(self.tokens):
            kind = "words without spaces" if self.words else "single characters"
            raise ConfigError(f"tokens must be {kind}, each named once, found {first_of(self.tokens)}.")
        if self.longest < 0 or self.positions < max(1, self.longest) or self.beam < 1:
            raise ConfigError(
                f"positions and beam must be at least 1, and positions at least longest: each token of a text needs one"
                f". Found longest={self.longest}, positions={self.positions}, beam={self.beam}. Lower the stride of "
                "positions, cut recordings, or write shorter texts."
            )

    @property
    def outputs(self) -> int:
        return self.positions * (1 + len(self.tokens))

    @property
    def shape(self) -> tuple[int, ...]:
        return (1 + self.longest,)

    @property
    def prediction_shape(self) -> tuple[int, ...]:
        return self.positions, 1 + len(self.tokens)

    def __str__(self) -> str:
        return f"texts of {len(self.tokens)} {'words' if self.words else 'characters'}"

    def learned(self, examples: str) -> str:
        return f"Learned from {examples} to tell {self}"

    def fits(self, other: Target) -> bool:
        return isinstance(other, Transcript) and (self.tokens, self.words) == (other.tokens, other.words)

    def learn(self, labels: Any) -> Transcript:
        """With the tokens of these texts, the commonest first, and the length of the longest, where none are given."""
        parts = [self.split(text) for text in labels if isinstance(text, str)]
        counts = Counter(part for one in parts for part in one)
        tokens = tuple(sorted(counts, key=lambda token: (-counts[token], token)))
        longest = min(max(map(len, parts), default=1), self.positions)  # `encode` names a text that is longer
        return replace(self, tokens=self.tokens or tokens, longest=self.longest or longest)

    def taking(self, labels: Any) -> Transcript:
        most = replace(self, longest=0).learn([labels] if isinstance(labels, str) else labels).longest
        return replace(self, longest=max(self.longest, most))

    # Texts and ids

    def split(self, text: str) -> list[str]:
        """The tokens of a text, whose spaces count once and not at its ends."""
        parts = unicodedata.normalize("NFC", text).split()
        return parts if self.words else list(" ".join(parts))

    def joined(self, ids: Iterable[int]) -> str:
        """The text of some ids."""
        return (" " if self.words else "").join(self.tokens[one - 1] for one in ids)

    def united(self, parts: Sequence[tuple[Tensor, Sequence[str]]]) -> tuple[Tensor, tuple[str, ...]]:
        width = max(y.shape[1] for y, _ in parts)
        return torch.cat([torch.nn.functional.pad(y, (0, width - y.shape[1])) for y, _ in parts]), ()

    def encode(self, labels: Any) -> tuple[Tensor, tuple[str, ...]]:
        if not self.tokens or not self.longest:
            raise ConfigError(
                "No token of these texts is known yet. Name them (tokens=…), or learn them: target.learn(texts)."
            )
        texts = [labels] if isinstance(labels, str) else list(labels)
        number = {token: i for i, token in enumerate(self.tokens, 1)}
        y = torch.zeros((len(texts), 1 + self.longest), dtype=torch.int64)
        for index, text in enumerate(texts):
            who = getattr(text, "place", f"example {index}")
            if not isinstance(text, str) or not text.strip():
                raise DataError(f"There must be a text that is said in {who}, found {text!r:.60}. Write it.")
            parts = self.split(text)
            strange = [part for part in dict.fromkeys(parts) if part not in number]
            if strange:
                raise DataError(
                    f"The text {str(text)!r:.80} of {who} holds {first_of(map(repr, strange))}, which is none of "
                    f"the {len(self.tokens)} {'words' if self.words else 'characters'} that are known "
                    f"({first_of(self.tokens)}). Write it with these, or train on texts that hold it."
                )
            if len(parts) > self.longest:
                raise DataError(
                    f"The text {str(text)!r:.80} of {who} has {len(parts)} tokens, and {self.longest} are the most. "
                    "Cut the recording and its text, or train with more positions (a smaller stride)."
                )
            y[index, 0] = len(parts)
            y[index, 1 : 1 + len(parts)] = torch.tensor([number[part] for part in parts])
        self._require_positions(y, "labels")
        return y, ()

    def check(self, y: Tensor, name: str, lead: int) -> None:
        if tuple(y.shape[lead:]) != self.shape or y.dtype != torch.int64:
            raise ShapeError(
                f"{name} must be int64 of the shape {self.shape} for one text (how many tokens, and their ids), found "
                f"{y.dtype} of {tuple(y.shape[lead:])}. Use the target's `encode`."
            )
        lengths, ids = y[..., 0], y[..., 1:]
        there = torch.arange(self.longest, device=y.device) < lengths[..., None]
        known = (ids >= 1) & (ids <= len(self.tokens))
        if bool(((lengths < 0) | (lengths > self.longest)).any()) or bool((there & ~known).any()):
            raise DataError(
                f"{name} holds lengths outside [0, {self.longest}] or ids outside [1, {len(self.tokens)}]. Use the "
                "target's `encode`."
            )
        self._require_positions(y.reshape(-1, y.shape[-1]), name)

    def _require_positions(self, y: Tensor, name: str) -> None:
        need = positions_needed(y[:, 1:], y[:, 0])
        if len(y) and int(need.max()) > self.positions:
            worst = int(need.argmax())
            raise DataError(
                f"The text {self.told(y[worst : worst + 1], ())[0]!r:.80} in {name} needs {int(need.max())} positions, "
                f"one for each token and one between equal ones, and there are {self.positions}. Give more "
                "(positions=…), or shorter texts."
            )

    def statistics(self, examples: Examples) -> dict[str, Any]:
        lengths = examples.y[examples.mask][:, 0].float()
        return {"tokens in a text": float(lengths.mean()), "longest text": int(lengths.max())}

    # Costs and figures

    def losses(self, prediction: Tensor, y: Tensor, smoothing: float = 0.0) -> Tensor:
        """Minus the log-probability of each text, in nats for each of its tokens."""
        return ctc_costs(prediction, y[:, 1:], y[:, 0]) / y[:, 0].clamp(min=1)

    def scores(self, prediction: Tensor, y: Tensor) -> Tensor:
        """Edits that turn the likeliest path's text into the label, for each token of the label."""
        return self._edits(prediction, y) / y[:, 0].clamp(min=1)

    def score(self, prediction: Tensor, examples: Examples) -> Tensor:
        """All edits over all tokens, as error rates are published: a text counts by its length."""
        real = examples.mask.to(prediction.dtype)
        return (self._edits(prediction, examples.y) @ real) / (examples.y[:, 0].to(real.dtype) @ real).clamp(min=1)

    def metrics(self, prediction: Tensor, examples: Examples) -> dict[str, Tensor]:
        """The error rate of tokens, and where these are characters and one is a space, that of words."""
        found = super().metrics(prediction, examples)
        if self.words or " " not in self.tokens:
            return found
        space, real = 1 + self.tokens.index(" "), examples.mask.to(prediction.dtype)
        said, wanted = (
            word_numbers(*greedy(prediction), space),
            word_numbers(examples.y[:, 1:], examples.y[:, 0], space),
        )
        wrong = edits(*said, *wanted).to(real.dtype) @ real
        return found | {"word_error_rate": wrong / (wanted[1].to(real.dtype) @ real).clamp(min=1)}

    def strange(self, labels: Any, names: Sequence[str]) -> list[str]:
        known = set(self.tokens)
        parts = (self.split(label) if isinstance(label, str) else [] for label in labels)
        return [next((part for part in one if part not in known), "") for one in parts]

    def _edits(self, prediction: Tensor, y: Tensor) -> Tensor:
        return edits(*greedy(prediction), y[:, 1:], y[:, 0]).to(prediction.dtype)

    def coded(self, examples: Examples, dtype: torch.dtype) -> Tensor:
        """1 at a blank or token of each position, (n, outputs): of a path with every token as long as the others."""
        lengths, ids = examples.y[:, :1], examples.y[:, 1:]
        place = torch.arange(self.positions, device=ids.device)[None]
        width = (self.positions // lengths.clamp(min=1)).clamp(min=1)
        token = place // width
        said = (token < lengths) & (place % width < (width + 1) // 2)
        path = torch.where(said, ids.gather(1, token.clamp(max=self.longest - 1)), BLANK)
        return (one_hot(path, 1 + len(self.tokens)).to(dtype) * examples.mask[:, None, None]).flatten(1)

    def read(self, values: Tensor, params: Any) -> Tensor:
        return _SURE * super().read(values, params)

    def baseline(self, support: Examples, query: Examples) -> Tensor:
        """Blanks: whoever hears nothing says nothing."""
        silent = torch.zeros(self.prediction_shape, device=query.y.device)
        silent[:, BLANK] = _SURE
        return silent.expand(len(query.y), *self.prediction_shape)

    # What people see

    def answer(self, said: Distribution, names: Sequence[str], units: Units | None = None) -> TextAnswer:
        logits = said.mean.cpu()
        if self.beam == 1:
            ids, lengths = greedy(logits)
            found = [row[:length] for row, length in zip(ids.tolist(), lengths.tolist(), strict=True)]
        else:
            found = [beam(one, self.beam) for one in logits]
        longest = max(map(len, found), default=0)
        ids = torch.tensor([[*one, *[BLANK] * (longest - len(one))] for one in found], dtype=torch.int64)
        costs = ctc_costs(logits, ids.view(len(found), longest), torch.tensor([len(one) for one in found]))
        return TextAnswer(tuple(self.joined(one) for one in found), (-costs).exp(), logits)

    def told(self, y: Tensor, names: Sequence[str]) -> list[str]:
        return [self.joined(ids[:length]) for length, *ids in y.tolist()]

    def lead(self, given: str, example: str, whole: str, each: bool) -> str:
        return (
            f"Shown {given} of a {whole} it has never heard, each with its text, this network writes down what is said "
            f"in further {example}s."
        )
