"""
Hits that do more than return: an early refresh (XFetch), or an audit of a sample of the hits.

A policy says once whether its hits are inspected at all, so that a plain hit asks one question. The auditor is a door:
it is installed by the app, and the core knows only its two functions.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from random import random
from typing import Any, Literal, Protocol, TypeVar

from django.core.exceptions import ImproperlyConfigured

from cachedeco.loading.computing import Miss
from cachedeco.loading.effects import Flow
from cachedeco.loading.policy import CachePolicy
from cachedeco.loading.refreshing import ahead
from cachedeco.storage.entries import Entry

T = TypeVar("T")

ResolveCalls = Callable[[Sequence[Any]], list[list[str]]]  # takes ids, and returns the keys of each


class Auditor(Protocol):
    """Compute hits again beside their callers. Each function returns the steps that serve the caller."""

    def audited_hit_flow(self, call: Miss, /) -> Flow[Any]:
        """Serve one hit, and audit it."""
        ...

    def audited_batch_flow(
        self, calls: Mapping[Hashable, Miss], resolve_calls: ResolveCalls, steps: Flow[T], /
    ) -> Flow[T]:
        """Take the steps of a bulk call, and audit some of its hits, by id."""
        ...


_auditor: Auditor | None = None


def install_auditor(auditor: Auditor | None) -> None:
    """Have this auditor audit the hits that the setting `AUDIT` asks for; None removes it."""
    global _auditor  # noqa: PLW0603 -- the one slot
    _auditor = auditor


def auditor() -> Auditor:
    """
    Return the installed auditor.

    Raises:
        ImproperlyConfigured: There is none.
    """
    if _auditor is None:
        msg = "CACHEDECO['AUDIT'] is set, and no auditor is installed; add 'cachedeco' to INSTALLED_APPS."
        raise ImproperlyConfigured(msg)
    return _auditor


def share_to_audit(share: float) -> float:
    """Return the share of hits to audit; check that there is an auditor if it is not 0."""
    if share:
        auditor()
    return share


def inspect_hit(policy: CachePolicy, entry: Entry) -> Literal["refresh", "audit"] | None:
    """Return what to do with a fresh hit, by chance, apart from serving it: nothing, for most."""
    if policy.early and entry.expires <= ahead(entry, policy.early):
        return "refresh"
    if policy.audit and random() < policy.audit:
        return "audit"
    return None
