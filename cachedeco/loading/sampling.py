"""
Sample the hits: some start an early refresh (XFetch), some are audited.

A policy tells once whether its hits are inspected at all, so that a plain hit reads one attribute. The auditor is a
door: the app installs it, and the core knows only its two functions.
"""

from random import random
from typing import Literal, Protocol, TypeVar

from django.core.exceptions import ImproperlyConfigured

from cachedeco.loading.effects import Flow
from cachedeco.loading.load import Load
from cachedeco.loading.policy import CachePolicy
from cachedeco.loading.refreshing import xfetch_time
from cachedeco.storage.entries import Entry

T = TypeVar("T")


class Auditor(Protocol):
    """Recomputes hits in the background."""

    def audited_flow(self, hits: Load, flow: Flow[T], /) -> Flow[T]:
        """Run the flow that serves the caller, and audit these hits."""
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
    if policy.audit and not entry.is_error and random() < policy.audit:
        return "audit"
    return None
