"""Repeat a call in another thread or task, to refresh its entries."""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from cachedeco.functions.base import Args, CachedFunction, Kwargs
from cachedeco.functions.bulk_arguments import BulkArguments
from cachedeco.loading.refreshing import enqueue


class Repeat(NamedTuple):
    """A way to repeat a call: a `Reinvocation`."""

    function: CachedFunction[..., Any]
    args: Args
    kwargs: Kwargs

    def resolve_keys(self, _ids: Sequence[Any], /) -> list[list[str]]:
        """Return the keys of the call in this thread: they may depend on its state, by `vary`."""
        function = self.function
        return [function._spec.resolve_call(function._bound_args + self.args, self.kwargs)[1]]

    def enqueue(self, ids: Sequence[Any], /) -> None:
        """Enqueue a task that refreshes the entry."""
        call = cast("Any", self.function).call(*self.args, **self.kwargs)
        enqueue(call, [keys[0] for keys in self.resolve_keys(ids)])


class RepeatMany(NamedTuple):
    """A way to repeat a call for some of its ids: a `Reinvocation`."""

    function: CachedFunction[..., Any]
    call: BulkArguments

    def resolve_keys(self, ids: Sequence[Any], /) -> list[list[str]]:
        """Return the keys of these ids in this thread, as of one call."""
        several: list[list[str]] = self.function._spec.resolve_calls(self.call.for_each(ids))[1]
        return several

    def enqueue(self, ids: Sequence[Any], /) -> None:
        """Enqueue a task that refreshes the entries of these ids."""
        args, kwargs = self.call.with_ids(list(ids))
        bound = len(self.function._bound_args)
        call = cast("Any", self.function).call(*args[bound:], **kwargs)
        enqueue(call, [keys[0] for keys in self.resolve_keys(ids)])
