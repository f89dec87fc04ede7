"""
Sample the hits: some start an early refresh (XFetch), some are audited.

A policy tells once whether its hits are inspected at all, so that a plain hit reads one attribute. The auditor is a
door: the app installs it, and the core knows only its two functions.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from random import random
from typing import Any, Literal, Protocol, TypeVar

from django.core.exceptions import ImproperlyConfigured

from cachedeco.loading.computing import Miss
from cachedeco.loading.effects import Flow
from cachedeco.loading.policy import CachePolicy
from cachedeco.loading.refreshing import xfetch_time
from cachedeco.storage.entries import Entry

T = TypeVar("T")

ResolveCalls = Callable[[Sequence[Any]], list[list[str]]]  # takes ids, and returns the keys of each


class Auditor(Protocol):
    """Recompute hits in the background. Each method returns the flow that serves the caller."""

    def audited_hit_flow(self, miss: Miss, /) -> Flow[Any]:
        """Serve one hit, and audit it."""
        ...

    def audited_batch_flow(
        self, misses: Mapping[Hashable, Miss], resolve_calls: ResolveCalls, flow: Flow[T], /
    ) -> Flow[T]:
        """Run the flow of a bulk call, and audit some of its hits, by id."""
        ...


_auditor: Auditor | None = None


def install_auditor(auditor: Auditor | None) -> None:
    """Install the auditor of the hits that the setting `AUDIT` samples; None removes it."""
    global _auditor  # noqa: PLW0603 -- one auditor per process
    _auditor = auditor


def auditor() -> Auditor:
    """
    Return the installed auditor.

    Raises:
        ImproperlyConfigured: No auditor is installed.
    """
    if _auditor is None:
        msg = "CACHEDECO['AUDIT'] is set, and no auditor is installed; add 'cachedeco' to INSTALLED_APPS."
        raise ImproperlyConfigured(msg)
    return _auditor


def share_to_audit(share: float) -> float:
    """Return the share of hits to audit; if it is not 0, check that an auditor is installed."""
    if share:
        auditor()
    return share


def inspect_hit(policy: CachePolicy, entry: Entry) -> Literal["refresh", "audit"] | None:
    """Decide at random what else to do with a fresh hit; None, for most, is to serve it only."""
    if policy.early and entry.expires <= xfetch_time(entry, policy.early):
        return "refresh"
    if policy.audit and random() < policy.audit:
        return "audit"
    return None
