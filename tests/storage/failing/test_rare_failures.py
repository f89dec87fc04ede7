"""What seldom happens: a value that can't be put, a token that can't be replaced, a probe for which no caller waits."""

from contextlib import ExitStack

import pytest

from cachedeco import MISSING, cached_query
from cachedeco.storage.store import Store
from cachedeco.tracking import nested_names
from tests.support.faults import faulty
from tests.support.stored import stored

pytestmark = pytest.mark.usefixtures("faulty_backend")


@cached_query
def answer() -> object:
    """Return something."""
    return 42


def test_value_that_can_be_used_once_is_not_put() -> None:
    """To set an iterator is the error that returning one is."""
    with pytest.raises(TypeError, match="can be used only once"):
        answer.call().set(iter([]))


def test_nonsense_under_a_tokens_name_that_can_not_be_replaced_keeps_the_value_from_being_stored() -> None:
    """The call goes on, and leaves no entry without a stamp."""
    own = answer.key_for().replace(":e:", ":t:").replace("|", "")
    stored().set(own, "no token")

    with faulty("set_many", raises=OSError):
        value = answer()

    assert (42, MISSING) == (value, answer.peek())


def test_names_of_nested_tokens_that_could_not_be_read_are_not_remembered() -> None:
    """The first read finds the entry, and the second one fails: with the names each later read would, one of others."""

    @cached_query
    def around() -> object:
        return answer()

    around()
    nested_names.forget()
    with ExitStack() as outage:
        with faulty("get_many", after=lambda: outage.enter_context(faulty("get_many", raises=OSError)), times=1):
            found = around.peek()
        known = dict(nested_names.names_by_function)

    assert (MISSING, {}) == (found, known)
    assert 42 == around.peek()


def test_cache_that_fails_when_asked_does_not_answer() -> None:
    """Also where nothing was known of its trouble."""
    with faulty("set_many", raises=OSError):
        answers = Store("default").probe()

    assert not answers
