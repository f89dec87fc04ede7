"""Functions that read each table: under AUTO, and with the model declared."""

from typing import Any

from cachedeco import AUTO, MISSING, CachedQuery, cached_query
from tests.invalidation.writes.rows import MODELS, ModelClass
from tests.models import SquadView

Reader = CachedQuery[[str], list[Any]]


def _reader(model: ModelClass, dependency: Any, how: str) -> Reader:
    def rows_of(alias: str) -> list[Any]:
        return sorted(map(str, model._base_manager.using(alias).values_list()))

    return cached_query(
        key="{alias}", ignore=("model",), depends_on=[dependency], name=f"writes.{how}.{model.__name__}"
    )(rows_of)


DECLARED: dict[ModelClass, Reader] = {model: _reader(model, model, "declared") for model in MODELS}
BY_AUTO: dict[ModelClass, Reader] = {model: _reader(model, AUTO, "auto") for model in (*MODELS, SquadView)}


def readers() -> list[tuple[ModelClass, Reader]]:
    """Return all functions, each with the model whose rows it reads."""
    return [*DECLARED.items(), *BY_AUTO.items()]


def warm(alias: str) -> None:
    """Call each function until its value is stored: a write would prove nothing otherwise."""
    for _, function in readers():
        function(alias)
    assert not ended(alias)


def ended(alias: str) -> set[ModelClass]:
    """Return the models for which a function's value is stored no more."""
    return {model for model, function in readers() if function.peek(alias) is MISSING}


def changed(alias: str, before: dict[ModelClass, list[Any]]) -> set[ModelClass]:
    """Return the models whose rows are not as they were before."""
    return {model for model, rows in before.items() if BY_AUTO[model].uncached(alias) != rows}


def rows_now(alias: str) -> dict[ModelClass, list[Any]]:
    """Return the rows of every model, past the cache."""
    return {model: function.uncached(alias) for model, function in BY_AUTO.items()}


def stale(alias: str) -> list[str]:
    """Return the functions that give another value than their plain function."""
    return [
        f"{'auto' if function is BY_AUTO.get(model) else 'declared'} {model.__name__}"
        for model, function in readers()
        if function(alias) != function.uncached(alias)
    ]
