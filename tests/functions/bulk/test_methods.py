"""Methods: reached through instance or class they are bound, verbs included."""

import functools
import inspect
import pickle
from typing import Any

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction
from django.utils.decorators import method_decorator

from cachedeco import cached_query, cached_query_many
from cachedeco.testing import assert_computations

asked: list[Any] = []


@cached_query_many(over="ids")
def plain(ids: list[int]) -> dict[int, str]:
    """Be at the top of a module."""
    return {each: f"plain {each}" for each in ids}


@cached_query_many(over="ids")
async def aplain(ids: list[int]) -> dict[int, str]:
    """Be async."""
    return {each: f"async {each}" for each in ids}


class Shop:
    """Functions over many ids of each kind."""

    def __init__(self, country: str) -> None:
        """Be told apart by the country."""
        self.country = country

    def __cache_key__(self) -> str:
        """Return what is in a key."""
        return self.country

    @cached_query_many(over="skus", key="{self}:{each}", namespace="shop:{self.country}:{each}")
    def prices(self, skus: list[int]) -> dict[int, str]:
        """Be a method."""
        asked.append((self.country, skus))
        return {each: f"{self.country} {each}" for each in skus}

    @cached_query_many(over="skus")
    async def aprices(self, skus: list[int]) -> dict[int, str]:
        """Be an async method."""
        return {each: f"{self.country} {each}" for each in skus}

    @cached_query_many(over="skus")
    @classmethod
    def names(cls, skus: list[int]) -> dict[int, str]:
        """Be a classmethod."""
        return {each: f"{cls.__name__} {each}" for each in skus}

    @staticmethod
    @cached_query_many(over="skus")
    def weights(skus: list[int]) -> dict[int, int]:
        """Be a staticmethod."""
        return {each: each * 2 for each in skus}


def test_method_is_bound_with_its_verbs() -> None:
    """One instance's prices are not another's; invalidate() of one id of one instance reaches that."""
    asked.clear()
    dutch, german = Shop("nl"), Shop("de")

    found = [dutch.prices([1, 2]), german.prices(skus=[1]), Shop.prices(dutch, [1])]
    dutch.prices.invalidate([1])

    assert [{1: "nl 1", 2: "nl 2"}, {1: "de 1"}, {1: "nl 1"}] == found
    assert ({2: "nl 2"}, {1: "de 1"}) == (dutch.prices.peek([1, 2]), german.prices.peek([1, 2]))
    assert [("nl", [1, 2]), ("de", [1])] == asked


def test_async_method_is_bound_with_its_verbs() -> None:
    """The same, awaited; it looks like an async function."""
    shop = Shop("nl")

    found = async_to_sync(shop.aprices)([1])

    assert ({1: "nl 1"}, True) == (found, iscoroutinefunction(shop.aprices))
    assert {1: "nl 1"} == async_to_sync(shop.aprices.apeek)([1]) == async_to_sync(shop.aprices.arefresh)([1])


def test_classmethod_and_staticmethod_are_reached_as_usual() -> None:
    """The class is the first argument of a classmethod, nothing is of a staticmethod."""

    class Market(Shop):
        pass

    assert ({1: "Shop 1"}, {1: "Market 1"}, {1: 2}) == (Shop.names([1]), Market.names([1]), Shop.weights([1]))
    Shop.names.invalidate([1])
    assert ({}, {1: "Market 1"}) == (Shop.names.peek([1]), Market.names.peek([1]))


def test_method_decorator_of_django_is_refused() -> None:
    """Its wrapper would have no verbs; the error says what to do in its place."""
    with pytest.raises(TypeError, match="put our decorator right above it"):

        class Wrapped:
            @method_decorator(cached_query_many(over="skus"))
            def prices(self, skus: list[int]) -> dict[int, int]:
                return dict.fromkeys(skus, 1)


def test_signature_name_and_documentation_are_the_functions() -> None:
    """Tools see the function, bound as it is."""
    assert ("(ids: list[int]) -> dict[int, str]", "plain") == (str(inspect.signature(plain)), plain.__name__)
    assert "(skus: list[int]) -> dict[int, str]" == str(inspect.signature(Shop("nl").prices))
    assert "Be at the top of a module." == plain.__doc__


def test_it_is_pickled_by_name() -> None:
    """As functions are."""
    assert plain is pickle.loads(pickle.dumps(plain))  # noqa: S301 -- ours


def test_it_is_equal_to_itself_bound_alike() -> None:
    """As bound methods are."""
    shop = Shop("nl")

    assert shop.prices == shop.prices
    assert hash(shop.prices) == hash(shop.prices)
    assert shop.prices != Shop("nl").prices
    assert plain != aplain


def test_wrapper_of_a_cached_function_can_be_cached_over_many_ids() -> None:
    """What functools.wraps() copies from a cached function, its own attributes and those it carries, is no clash."""
    inner = cached_query(name="below")(lambda ids: dict.fromkeys(ids, "row"))
    inner.other = "theirs"  # type: ignore[attr-defined] # as another library would

    @functools.wraps(inner)
    def above(ids: list[int]) -> dict[int, str]:
        return inner(tuple(ids))

    many = cached_query_many(over="ids", name="above")(above)

    assert ({1: "row"}, {1: "row"}, "theirs") == (many([1]), many.peek([1]), vars(many)["other"])


def test_assertions_of_the_kit_take_it() -> None:
    """A test can say how often it may be computed."""
    with assert_computations(plain, 1):
        plain([71, 72])
        plain([72, 71])
