from __future__ import annotations

import math
from collections import Counter

import torch

from quickstudy import rng

N = 20_000


def keys(n: int = N, seed: int = 0) -> torch.Tensor:
    return rng.fold(rng.key(seed, "test"), torch.arange(n))


def chi_square(counts: torch.Tensor) -> float:
    expected = counts.sum().item() / counts.numel()
    return float(((counts - expected) ** 2 / expected).sum())


def test_uniform_fills_its_range_evenly_along_keys_and_along_lanes() -> None:
    for u in (rng.uniform(keys()), rng.uniform(rng.key(3), (N,))):
        assert u.min() >= 0.0 and u.max() < 1.0
        # 63 degrees of freedom: 110 is passed with probability 0.0002 by chance.
        assert chi_square(torch.histc(u, 64, 0, 1)) < 110


def test_every_bit_of_a_draw_is_fair_and_neighbouring_keys_are_unrelated() -> None:
    bits = rng.bits(keys(), ())
    for place in range(63):
        ones = int(((bits >> place) & 1).sum())
        assert abs(ones - N / 2) < 5 * math.sqrt(N) / 2, place
    flips = torch.stack([((bits[1:] ^ bits[:-1]) >> place) & 1 for place in range(63)]).float().mean()
    assert abs(float(flips) - 0.5) < 0.003


def test_normal_has_the_moments_of_a_standard_normal() -> None:
    z = rng.normal(keys()).double()
    assert abs(z.mean()) < 4 / math.sqrt(N)
    assert abs(z.var() - 1) < 4 * math.sqrt(2 / N)
    assert abs((z**4).mean() - 3) < 4 * math.sqrt(96 / N)
    assert torch.isfinite(z).all()


def test_choose_gives_every_ordered_pair_equally_often_and_never_repeats() -> None:
    chosen = rng.choose(keys(), torch.tensor(5), 2)
    counts = Counter(map(tuple, chosen.tolist()))
    assert len(counts) == 20 and all(a != b for a, b in counts)
    assert chi_square(torch.tensor([float(c) for c in counts.values()])) < 50  # 19 degrees of freedom: p = 0.0001


def test_choose_all_of_a_population_is_a_permutation_and_populations_may_differ_by_key() -> None:
    population = torch.tensor([4, 9, 100])
    chosen = rng.choose(keys(3), population, 4)
    assert sorted(chosen[0].tolist()) == [0, 1, 2, 3]
    assert (chosen < population[:, None]).all() and (chosen >= 0).all()


def test_choose_is_floyds_algorithm_and_its_numbers_never_change() -> None:
    for population, count in ((5, 5), (9, 6), (40, 16), (1000, 3), (7, 1)):
        some = keys(300)
        draws = rng.bits(some, (count,)).tolist()
        order = rng.permutation(rng.fold(some, count), count).tolist()
        choices = rng.choose(some, torch.tensor(population), count).tolist()
        for chosen, drawn, places in zip(choices, draws, order, strict=True):
            expected: list[int] = []
            for j, number in enumerate(drawn):
                top = population - count + j
                pick = number % (top + 1)
                expected.append(top if pick in expected else pick)
            assert chosen == [expected[p] for p in places]


def test_keys_are_splitmix64_of_whole_numbers() -> None:
    """Episodes of a published run must stay the same bits; this is the definition, in Python's whole numbers."""

    def mix(x: int) -> int:
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) % 2**64
        return x ^ (x >> 31)

    golden = 0x9E3779B97F4A7C15

    def fold(key: int, data: int) -> int:
        return mix((key * golden + mix((data + golden) % 2**64)) % 2**64)

    some = keys(20)
    for data in (0, 1, -3, 2**40 + 5):
        expected = [fold(int(k) % 2**64, data % 2**64) for k in some]
        assert [int(k) % 2**64 for k in rng.fold(some, data)] == expected
        assert [int(k) % 2**64 for k in rng.fold(some, torch.tensor(data))] == expected
    assert torch.equal(rng.split(some, 7), rng.fold(some[:, None], torch.arange(7)))
    assert [int(b) for b in rng.bits(some[0], (4,))] == [fold(int(some[0]) % 2**64, i) >> 1 for i in range(4)]


def test_permutation_puts_every_element_everywhere() -> None:
    order = rng.permutation(keys(4000), 6)
    assert (order.sort(dim=1).values == torch.arange(6)).all()
    assert chi_square(torch.stack([(order == i).sum(0) for i in range(6)]).float().flatten()) < 70


def test_a_draw_depends_on_its_own_key_only() -> None:
    some = keys(50)
    for draw in (lambda k: rng.uniform(k, (3,)), lambda k: rng.choose(k, torch.tensor(40), 7), rng.normal):
        batch = draw(some)
        # The logarithms and cosines of `normal` may round differently by where in a vector register they are computed.
        tolerance = {"rtol": 1e-6, "atol": 1e-6} if draw is rng.normal else {"rtol": 0.0, "atol": 0.0}
        for alone, together in ((draw(some.flip(0)).flip(0), batch), (draw(some[17:18])[0], batch[17])):
            torch.testing.assert_close(alone, together, **tolerance)
        torch.testing.assert_close(draw(some[17]), batch[17], **tolerance)


def test_seeds_and_labels_give_different_keys() -> None:
    made = [
        rng.key(seed, *labels)
        for seed in (-1, 0, 1, 2**40)
        for labels in ((), ("a",), ("a", "b"), ("ab",), ("b", "a"), ("a", 1), (1,))
    ]
    assert len({int(k) for k in made}) == len(made)
