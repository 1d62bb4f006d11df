"""Rows come by weight and by length, in an order that seed and epoch alone decide."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectllm.training.order import BatchOrder, Mix, padding_share, shares


def one(lengths: list[int]) -> Mix:
    return Mix([0] * len(lengths), [1])


def epochs(order: BatchOrder, count: int) -> list[list[int]]:
    found = []
    for epoch in range(count):
        order.set_epoch(epoch)
        found.append(list(order))
    return found


@given(st.lists(st.integers(1, 500), min_size=1, max_size=80), st.integers(1, 9), st.integers(0, 3), st.booleans())
def test_an_epoch_of_one_data_set_holds_every_row_once(
    lengths: list[int], batch: int, seed: int, grouped: bool
) -> None:
    for rows in epochs(BatchOrder(lengths, one(lengths), batch, seed, grouped), 3):
        assert sorted(rows) == list(range(len(lengths)))


def test_little_of_a_batch_is_padding() -> None:
    import random

    rng = random.Random(3)
    # Answers of describe mode: most near 200 tokens, some several times as long.
    lengths = [int(rng.lognormvariate(5.3, 0.6)) + 40 for _ in range(3000)]
    grouped, mixed = (
        [lengths[row] for row in epochs(BatchOrder(lengths, one(lengths), 8, 7, by_length), 1)[0]]
        for by_length in (True, False)
    )
    assert padding_share(grouped, 8) < 0.1
    assert padding_share(mixed, 8) > 0.3


def test_seed_and_epoch_decide_the_order() -> None:
    lengths = [i % 17 for i in range(100)]
    first, second = (BatchOrder(lengths, one(lengths), 4, 7) for _ in range(2))
    a, b = epochs(first, 2)
    second.set_epoch(1)
    assert list(second) == b
    assert a != b
    assert epochs(BatchOrder(lengths, one(lengths), 4, 8), 1)[0] != a


def test_weights_decide_how_often_a_data_set_is_taken() -> None:
    mix = Mix([0] * 90 + [1] * 10, [2, 1])
    order = BatchOrder([1] * 100, mix, 4, 7)
    taken = Counter(mix.source_of_row[row] for rows in epochs(order, 3) for row in rows)
    assert taken == {0: 201, 1: 99}


def test_no_row_comes_twice_before_all_came_once() -> None:
    mix = Mix([0] * 90 + [1] * 10, [1, 1])
    taken = [row for rows in epochs(BatchOrder([1] * 100, mix, 4, 7), 9) for row in rows]
    large, small = (Counter(row for row in taken if mix.source_of_row[row] == source) for source in (0, 1))
    assert set(large.values()) == {5}
    assert set(small.values()) == {45}


def test_a_data_set_of_weight_0_is_left_out() -> None:
    order = BatchOrder([1] * 20, Mix([0] * 10 + [1] * 10, [0, 3]), 4, 7)
    assert set(epochs(order, 1)[0]) == set(range(10, 20))


def test_processes_get_the_batches_of_one_process() -> None:
    """What two processes take at once is what one process takes with twice the batch."""
    lengths = [(7 * i) % 31 for i in range(64)]
    two = epochs(BatchOrder(lengths, one(lengths), 2, 7, processes=2), 1)[0]
    assert two == epochs(BatchOrder(lengths, one(lengths), 4, 7), 1)[0]


@given(st.integers(0, 1000), st.lists(st.floats(0.01, 100), min_size=1, max_size=6))
def test_shares_add_up(total: int, weights: list[float]) -> None:
    found = shares(total, weights)
    assert sum(found) == total
    assert found == pytest.approx([total * weight / sum(weights) for weight in weights], abs=1)
