"""Batches are read one ahead of the one that is answered, in order."""

import threading

import pytest

from eval.predict import one_ahead


def test_the_next_is_made_while_its_forerunner_is_used() -> None:
    begun = [threading.Event() for _ in range(3)]

    def make(number: int) -> int:
        begun[number].set()
        return 10 * number

    found = []
    for made in one_ahead(make, [0, 1, 2]):
        found.append(made)
        following = made // 10 + 1
        assert following == 3 or begun[following].wait(10)
        assert not any(event.is_set() for event in begun[following + 1 :])
    assert found == [0, 10, 20]
    assert list(one_ahead(make, [])) == []


def test_what_goes_wrong_is_raised_in_its_turn() -> None:
    def make(number: int) -> int:
        if number == 1:
            raise OSError("the disk is gone")
        return number

    made = one_ahead(make, [0, 1])
    assert next(made) == 0
    with pytest.raises(OSError, match="the disk is gone"):
        next(made)
