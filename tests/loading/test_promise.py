"""Promises: values that one thread sets once, and others wait for."""

from cachedeco.loading.promise import Promise
from tests.support.threads import started


def test_value_stays_as_it_was_set_first() -> None:
    """To keep a promise again changes nothing."""
    promise: Promise[str] = Promise()
    promise.keep("first")

    promise.keep("second")

    assert "first" == promise.result(0)


def test_all_that_wait_get_the_value() -> None:
    """However many threads wait, all are woken; one that comes late does not wait."""
    promise: Promise[str] = Promise()
    with started(lambda: promise.result(60)) as first, started(lambda: promise.result(60)) as second:
        promise.keep("value")

    assert ["value"] * 3 == [first.result(), second.result(), promise.result(60)]


def test_callback_that_comes_late_is_called_at_once() -> None:
    """A callback is called also if the promise is kept already."""
    promise: Promise[str] = Promise()
    promise.keep("value")
    called: list[bool] = []

    promise.call_when_kept(lambda: called.append(True))

    assert called
