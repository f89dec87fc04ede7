"""What is left out of a product of parameters is covered by the rest."""

from itertools import combinations, product

import pytest

from tests.support import postgres, programs
from tests.support.selection import covering, is_quick, refuse_processes

PRODUCT = [
    dict(zip("abcd", indices, strict=True)) for indices in product(range(6), range(4), range(2), range(2))
]  # fmt: skip


@pytest.mark.parametrize(("strength", "most"), [(1, 6), (2, 28), (4, 96)])
def test_each_tuple_of_values_is_in_a_chosen_combination(strength: int, most: int) -> None:
    """Nothing that depends on so many parameters is left out, and most of the product is."""
    chosen = [PRODUCT[number] for number in covering(PRODUCT, strength)]

    for names in combinations("abcd", strength):
        assert {tuple(each[name] for name in names) for each in PRODUCT} == {
            tuple(each[name] for name in names) for each in chosen
        }
    assert len(chosen) <= most


def test_choice_does_not_depend_on_the_order() -> None:
    """Each process of a run, whose tests are shuffled, chooses the same."""
    chosen = [PRODUCT[number] for number in covering(PRODUCT, 2)]
    reversed_ = PRODUCT[::-1]

    again = [reversed_[number] for number in covering(reversed_, 2)]

    assert sorted(map(str, chosen)) == sorted(map(str, again))


@pytest.mark.parametrize("imported", [programs.run, programs.output_of, postgres.PostgreSQL])
def test_quick_leaves_out_modules_that_start_processes(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, imported: object
) -> None:
    """One who works needs no server, and waits for no interpreter to start."""
    assert is_quick(request.node)

    monkeypatch.setattr(request.module, "by_any_name", imported, raising=False)

    assert not is_quick(request.node)


def test_process_that_quick_did_not_foresee_fails_its_test() -> None:
    """So that what needs a server is found where there is one, too."""
    with pytest.raises(pytest.fail.Exception, match="mark the test slow"):
        refuse_processes("subprocess.Popen", ())
