"""Many cases in one test: each that fails is named."""

import pytest

from tests.support.cases import in_one_test


def test_each_case_that_fails_is_named() -> None:
    """The others are run all the same."""
    seen = []

    @in_one_test([(1, 2), (2, 2), (3, 4)])
    def are_equal(one: int, other: int) -> None:
        seen.append(one)
        assert one == other

    with pytest.raises(AssertionError) as failure:
        are_equal()

    assert [1, 2, 3] == seen
    assert (True, False, True) == tuple(case in str(failure.value) for case in ("(1, 2):", "(2, 2):", "(3, 4):"))


def test_case_that_raises_is_named() -> None:
    """What is no failed assertion is raised as it is."""

    @in_one_test(["1", "a"])
    def is_number(text: str) -> None:
        int(text)

    with pytest.raises(ValueError, match="'a'") as failure:
        is_number()

    assert ["The case: 'a'"] == failure.value.__notes__
