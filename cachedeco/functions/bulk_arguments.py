"""The ids among the arguments of a call, and the keys of their entries."""

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from inspect import Parameter, Signature
from typing import Any, Final, NamedTuple

from django.core.exceptions import SynchronousOnlyOperation
from django.db.models import Manager

from cachedeco.functions.base import Args, Kwargs
from cachedeco.invalidation.delivery import Invalidation, invalidate
from cachedeco.keys.expressions import ONE_ID
from cachedeco.loading.found import Found, Wanted
from cachedeco.loading.policy import CachePolicy
from cachedeco.runtime.interrupts import pass_interrupt
from cachedeco.runtime.reprs import repr_of
from cachedeco.storage import many_caches

# Collections of ids that ask no database when they are read, as a QuerySet or a generator may.
IN_MEMORY: Final[tuple[type, ...]] = (list, tuple, set, frozenset, dict, range, type({}.keys()), type({}.values()))


class BulkArguments(NamedTuple):
    """The arguments of a call over many ids, and the position of the ids in them."""

    args: Args
    kwargs: Kwargs
    position: int | str  #: index in the arguments, or name in the keyword arguments
    ids: list[Any]  #: in the order of the call, each once

    def for_each(self, ids: Iterable[object]) -> Iterator[tuple[Args, Kwargs]]:
        """Return the arguments for the key of each id, which is called `each` there."""
        if isinstance(self.position, str):
            kwargs = {name: value for name, value in self.kwargs.items() if name != self.position}
            return ((self.args, {**kwargs, ONE_ID: one_id}) for one_id in ids)
        before, after = self.args[: self.position], self.args[self.position + 1 :]
        return (((*before, one_id, *after), self.kwargs) for one_id in ids)

    def with_ids(self, ids: object) -> tuple[Args, Kwargs]:
        """Return the arguments with other ids in the place of the ids."""
        if isinstance(self.position, str):
            return self.args, {**self.kwargs, self.position: ids}
        return (*self.args[: self.position], ids, *self.args[self.position + 1 :]), self.kwargs


class BulkSignature(NamedTuple):
    """The parameters of a function over many ids, and which of them takes the ids."""

    name: str  #: of the function
    over: str
    signature: Signature

    def find_ids(self, args: Args, kwargs: Kwargs, *, on_loop: bool = False) -> BulkArguments:
        """
        Find the ids in the arguments of a call.

        Raises:
            TypeError: The function does not accept the arguments, or the ids are no collection.
            SynchronousOnlyOperation: Ids that may come from a database can't be read on an event loop.
        """
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            msg = f"{self.name}(): {error}"
            raise TypeError(msg) from None
        bound.apply_defaults()
        ids = bound.arguments[self.over]
        if on_loop and type(ids) not in IN_MEMORY:
            raise SynchronousOnlyOperation
        if isinstance(ids, str | bytes) or not isinstance(ids, Iterable):
            given = repr_of(ids, self.over)
            meant = "[] for none" if ids is None else "its all()" if isinstance(ids, Manager) else f"[{given}]"
            msg = f"{self.name}() got {self.over}={given}; it takes a collection of ids: {meant}."
            raise TypeError(msg)
        by_name = self.signature.parameters[self.over].kind is Parameter.KEYWORD_ONLY
        position = self.over if by_name else list(self.signature.parameters).index(self.over)
        try:
            return BulkArguments(bound.args, bound.kwargs, position, list(dict.fromkeys(ids)))
        except TypeError as error:
            if "unhashable" not in str(error):  # of an iterator of the user's
                raise
            what = f"{self.name}() got {self.over}="
            msg = f"{what} with an id that has no hash; it takes numbers, texts, saved rows."
            raise TypeError(msg) from error

    def find_ids_on_loop(self, args: Args, kwargs: Kwargs) -> BulkArguments | None:
        """Do as `find_ids()` on an event loop; return None if a thread is to do it. Then no iterator was begun."""
        try:
            return self.find_ids(args, kwargs, on_loop=True)
        except Exception as error:  # noqa: BLE001 -- an id may ask the database for its hash; the thread tries it again
            pass_interrupt(error)
            return None


class AdmittedCall(NamedTuple):
    """A call that does not bypass the cache: its policy, and for each id the keys of its entry and tokens."""

    policy: CachePolicy
    keys: dict[Any, list[str]]  #: by id
    bypassed: AbstractSet[Any]  #: ids that this transaction has invalidated, which it must not read until the commit

    @property
    def read_keys(self) -> dict[Any, list[str]]:
        """The keys of the ids that are not bypassed."""
        if not self.bypassed:
            return self.keys
        return {one_id: keys for one_id, keys in self.keys.items() if one_id not in self.bypassed}

    @property
    def wanted(self) -> list[Wanted]:
        """The calls to look up: one for each id that is not bypassed."""
        return [(self.policy, keys) for keys in self.read_keys.values()]

    def tokens(self) -> dict[Any, Found]:
        """Return the tokens of each id as they are now: to compute or store all ids anew."""
        tokens = dict.fromkeys(key for keys in self.keys.values() for key in keys[1:])
        raw = many_caches.get_many_across_caches(self.policy.store, list(tokens))
        return {one_id: Found(keys, raw) for one_id, keys in self.keys.items()}

    def invalidate(self, entry_keys: Sequence[str]) -> None:
        """Invalidate the ids whose entries have these keys."""
        own_tokens = {keys[0]: keys[1] for keys in self.keys.values()}
        store, lifetime = self.policy.store, self.policy.lifetime
        invalidate(self.policy.using, *[Invalidation(store, own_tokens[key], lifetime) for key in entry_keys])
