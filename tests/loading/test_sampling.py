"""The slot of the auditor, and the hits that are inspected."""

from collections.abc import Iterator

import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from cachedeco import cached_query
from cachedeco.loading import sampling


@pytest.fixture
def _no_auditor() -> Iterator[None]:
    """Go on as where the app is not installed, or the auditor was left out."""
    before = sampling._auditor
    sampling.install_auditor(None)
    yield
    sampling.install_auditor(before)


@pytest.mark.usefixtures("_no_auditor")
def test_share_without_an_auditor_is_an_error(settings: Settings) -> None:
    """A setting that nothing obeys is said so at the first call, with the remedy."""
    settings.CACHEDECO = {"AUDIT": 0.1}

    @cached_query
    def one() -> int:
        return 1

    with pytest.raises(ImproperlyConfigured, match=r"'AUDIT'\] is set, .* add 'cachedeco' to INSTALLED_APPS"):
        one()


@pytest.mark.usefixtures("_no_auditor")
@pytest.mark.parametrize(("share", "audit"), [(0, True), (0.1, False)])
def test_function_that_is_not_audited_needs_no_auditor(settings: Settings, *, share: float, audit: bool) -> None:
    """Neither without the setting, nor for a function that opts out."""
    settings.CACHEDECO = {"AUDIT": share}

    @cached_query(audit=audit)
    def one() -> int:
        return 1

    assert [1, 1] == [one(), one()]


@pytest.mark.parametrize(
    ("share", "early", "is_inspected"), [(0, 0, False), (0.1, 0, True), (0, 1, True)], ids=["plain", "audit", "early"]
)
def test_only_hits_with_a_purpose_are_inspected(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, *, share: float, early: float, is_inspected: bool
) -> None:
    """A plain hit asks one question; what it comes to is worked out with the policy."""
    monkeypatch.setattr(sampling, "_auditor", object())
    settings.CACHEDECO = {"AUDIT": share}

    @cached_query(early=early)
    def one() -> int:
        return 1

    assert is_inspected == one._spec.resolve().policy.inspects_hits
