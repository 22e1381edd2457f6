"""Transcripts: the probability of a text by its definition, decoding by enumeration, and error rates by hand."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import ctc_loss

from quickstudy.episode import Examples
from quickstudy.errors import ConfigError, DataError, ShapeError
from quickstudy.registry import targets
from quickstudy.spec import TaskSpec
from quickstudy.targets.ctc import beam, ctc_costs, greedy, positions_needed
from quickstudy.targets.distribution import Distribution
from quickstudy.targets.edits import edits, word_numbers
from quickstudy.targets.sequence import Transcript
from quickstudy.testing import check_target


def logits(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def probabilities(row: Tensor) -> dict[tuple[int, ...], float]:
    """Of every transcript, by summing over all paths through logits (T, 1 + C)."""
    found: dict[tuple[int, ...], float] = {}
    said = row.log_softmax(-1)
    for path in itertools.product(range(row.shape[1]), repeat=row.shape[0]):
        text = tuple(one for one, _ in itertools.groupby(path) if one)
        found[text] = found.get(text, 0.0) + math.exp(sum(float(said[t, one]) for t, one in enumerate(path)))
    return found


def padded(texts: list[tuple[int, ...]], size: int) -> tuple[Tensor, Tensor]:
    rows = [[*text, *[7] * (size - len(text))] for text in texts]  # whatever stands after a text
    return torch.tensor(rows), torch.tensor([len(text) for text in texts])


def test_the_cost_of_every_text_is_what_its_paths_sum_to() -> None:
    row = logits(4, 3)
    every = probabilities(row)
    assert sum(every.values()) == pytest.approx(1.0)
    ids, lengths = padded(list(every), 4)
    costs = ctc_costs(row.expand(len(every), -1, -1), ids, lengths)
    torch.testing.assert_close(costs, -torch.tensor(list(every.values()), dtype=torch.float64).log())


def test_costs_and_gradients_are_those_of_pytorch() -> None:
    x = logits(6, 12, 6).requires_grad_()
    ids = torch.randint(1, 6, (6, 5), generator=torch.Generator().manual_seed(1))
    lengths = torch.tensor([5, 3, 0, 1, 4, 2])
    own = ctc_costs(x, ids, lengths)
    theirs = ctc_loss(x.log_softmax(-1).transpose(0, 1), ids, torch.full((6,), 12), lengths, reduction="none")
    torch.testing.assert_close(own, theirs)
    weights = torch.arange(1.0, 7.0, dtype=torch.float64)
    (mine,), (other,) = (torch.autograd.grad(cost @ weights, x, retain_graph=True) for cost in (own, theirs))
    torch.testing.assert_close(mine, other)


def test_costs_can_be_differentiated_twice_which_pytorch_cannot() -> None:
    ids, lengths = padded([(1, 1), (2,), ()], 2)
    x = logits(3, 4, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: ctc_costs(x, ids, lengths), (x,))
    assert torch.autograd.gradgradcheck(lambda x: ctc_costs(x, ids, lengths), (x,))


def test_a_text_that_needs_more_positions_than_there_are_is_as_good_as_impossible() -> None:
    ids, lengths = padded([(1, 1, 2), (1, 2, 1)], 3)
    assert positions_needed(ids, lengths).tolist() == [4, 3]
    costs = ctc_costs(logits(2, 3, 3), ids, lengths)
    assert costs[0] > 1e20 > 100 > costs[1]


def test_a_wide_beam_finds_the_likeliest_text_where_the_likeliest_path_misses_it() -> None:
    missed = 0
    for seed in range(20):
        row = logits(4, 3, seed=seed)
        every = probabilities(row)
        best = max(every, key=every.__getitem__)
        assert tuple(beam(row, 100)) == best
        ids, lengths = greedy(row[None])
        missed += tuple(ids[0, : lengths[0]].tolist()) != best
    assert missed > 0


def levenshtein(one: list[int], other: list[int]) -> int:
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        new = [i]
        for j, b in enumerate(other, 1):
            new.append(min(row[j] + 1, new[-1] + 1, row[j - 1] + (a != b)))
        row = new
    return row[-1]


def test_edits_are_levenshteins() -> None:
    generator = torch.Generator().manual_seed(0)
    found, wanted = (torch.randint(1, 4, (200, size), generator=generator) for size in (7, 6))
    lengths = [torch.randint(0, size + 1, (200,), generator=generator) for size in (7, 6)]
    told = torch.func.vmap(edits)(found[None], lengths[0][None], wanted[None], lengths[1][None])[0]
    for i, one in enumerate(told.tolist()):
        assert one == levenshtein(found[i, : lengths[0][i]].tolist(), wanted[i, : lengths[1][i]].tolist())


def test_words_are_numbered_by_what_they_spell() -> None:
    target = Transcript(tokens=tuple("ab "), longest=8, positions=20)
    y, _ = target.encode(["ab ba ab", "b ab", "aab"])
    numbers, counts = word_numbers(y[:, 1:], y[:, 0], 3)
    assert counts.tolist() == [3, 2, 1]
    assert numbers[0, 0] == numbers[0, 2] == numbers[1, 1] != numbers[0, 1]
    assert len({*numbers[0, :2].tolist(), int(numbers[1, 0]), int(numbers[2, 0])}) == 4


def test_error_rates_count_tokens_and_words_over_all_texts() -> None:
    """'ab ab' heard as 'ab b' is one edit of 5 characters and one of 2 words; 'b' as 'b' is none of 1."""
    target = Transcript(tokens=tuple("ab "), longest=8, positions=20)
    said, _ = target.encode(["ab b", "b", "aaa"])
    wanted, _ = target.encode(["ab ab", "b", "bbb"])
    mask = torch.tensor([True, True, False])
    prediction = target.read(target.coded(Examples(torch.zeros(3, 1), said, mask | True), torch.float32), {})
    figures = target.metrics(prediction, Examples(torch.zeros(3, 1), wanted, mask))
    assert {name: float(value) for name, value in figures.items()} == pytest.approx(
        {"error_rate": 1 / 6, "word_error_rate": 1 / 3}
    )


@pytest.mark.parametrize("width", [1, 4])
@pytest.mark.parametrize("words", [False, True])
def test_answers_are_texts_with_their_probability(width: int, words: bool) -> None:
    texts = ["one two", "two two one", "one"]
    target = Transcript(positions=25, words=words, beam=width).learn(texts)
    check_target(target, texts)
    y, _ = target.encode(texts)
    clear = target.read(target.coded(Examples(torch.zeros(3, 1), y, torch.ones(3) > 0), torch.float64), {})
    answer = target.answer(Distribution(clear), ())
    assert list(answer.texts) == texts and [answer[i][0] for i in range(3)] == texts
    torch.testing.assert_close(answer.probabilities, (-ctc_costs(clear, y[:, 1:], y[:, 0])).exp())
    assert bool((answer.probabilities > 0.5).all()) and answer.columns == ("text", "probability")


def test_texts_outside_the_alphabet_missing_or_too_long_are_refused_by_name() -> None:
    target = Transcript(tokens=("a", "b", " "), longest=4, positions=5)
    assert target.encode([" a  b "])[0].tolist() == [[3, 1, 3, 2, 0]]  # spaces count once, and not at the ends
    for texts, what in (
        (["a", "b\u00e9"], "'b\u00e9' of example 1 holds 'é'"),
        (["a", ""], "a text that is said in example 1"),
        (["a", None], "a text that is said in example 1"),
        (["abab b"], "has 6 tokens, and 4 are the most"),
        (["aaaa"], "'aaaa' in labels needs 7 positions"),
    ):
        with pytest.raises(DataError, match=what):
            target.encode(texts)
    with pytest.raises(DataError, match="outside"):
        target.check(torch.tensor([[2, 1, 9, 0, 0]]), "y", 1)
    with pytest.raises(ShapeError, match="expected|must be int64"):
        target.check(torch.zeros(1, 5), "y", 1)
    composed = Transcript(tokens=("\u00e9",), longest=1)
    assert composed.encode(["e\u0301"])[0].tolist() == [[1, 1]]
    with pytest.raises(ConfigError, match="learn them"):
        Transcript().encode(["a"])


def test_tokens_that_are_none_are_refused() -> None:
    for options in ({"tokens": ("ab",)}, {"tokens": ("a", "a")}, {"tokens": ("a b",), "words": True}):
        with pytest.raises(ConfigError, match="tokens must be"):
            targets.make("sequence", **options)
    with pytest.raises(ConfigError, match="each token of a text needs one"):
        targets.make("sequence", longest=9, positions=8)


def test_a_target_travels_as_json() -> None:
    from quickstudy.registry import formats

    spec = TaskSpec(formats.make("array", shape=(3,)), Transcript(tokens=("one", "two"), longest=3, words=True))
    assert TaskSpec.from_json(spec.to_json()) == spec


def test_a_text_that_is_longer_than_those_of_training_has_room_in_a_new_task() -> None:
    target = Transcript(positions=6).learn(["ab", "ba"])
    assert target.longest == 2 and target.taking("abab").longest == 4 and target.taking("a").longest == 2
    assert target.taking("abab").fits(target)
    with pytest.raises(DataError, match="has 9 tokens, and 6 are the most"):
        target.taking("ababababa").encode(["ababababa"])
