"""The helpers of the public projects that the oracle is put around."""

from importlib import import_module
from typing import Any

from benchmarks.suites.oracle import with_oracle

_replaced: set[str] = set()


def replace_helpers(suite: str) -> None:
    """Put the oracle around the helpers of a suite, once."""
    if suite not in _replaced:
        _replaced.add(suite)
        {"wagtail": _replace_wagtail, "oscar": _replace_oscar}[suite]()


def _replace_methods(model: Any, names: str, **options: Any) -> None:
    """Put the oracle around methods and properties of a class, for its subclasses too."""
    for name in names.split():
        label = f"{model.__name__}.{name}"
        found = getattr(model, name)
        if isinstance(found, property):
            setattr(model, name, property(with_oracle(label, found.fget, _is_saved, **options)))  # type: ignore[arg-type] # each has one
        else:
            setattr(model, name, with_oracle(label, found, _is_saved, **options))


def _is_saved(row: Any, *_: object, **__: object) -> bool:
    """Tell whether a row can be in a key."""
    return row.pk is not None


def _replace_wagtail() -> None:
    from wagtail.models import Page, Site

    sites, middleware = (
        import_module(name) for name in ("wagtail.models.sites", "wagtail.contrib.redirects.middleware")
    )
    sites.get_site_for_hostname = with_oracle("get_site_for_hostname", sites.get_site_for_hostname)  # type: ignore[attr-defined]
    Site.get_site_root_paths = staticmethod(with_oracle("Site.get_site_root_paths", Site.get_site_root_paths))
    _replace_methods(Page, "get_children get_ancestors get_descendants get_view_restrictions")
    # A request carries what it was told before, in a memo: such a call is none for a cache.
    Page.get_url = with_oracle(
        "Page.get_url",
        Page.get_url,
        lambda page, request=None, **_: request is None and page.pk is not None,
        ignore=("request",),
    )
    Page.url = property(Page.get_url)
    middleware._get_redirect = with_oracle(  # type: ignore[attr-defined] # noqa: SLF001
        "redirects._get_redirect",
        middleware._get_redirect,  # noqa: SLF001
        key=lambda request, path: (request.get_host(), request.get_port(), path),
    )


def _replace_oscar() -> None:
    from oscar.core.loading import get_model

    product, category, ranges = (
        get_model("catalogue", "Product"),
        get_model("catalogue", "Category"),
        get_model("offer", "Range"),
    )
    _replace_methods(product, "get_title get_categories has_stockrecords calculate_rating")
    _replace_methods(category, "get_full_slug full_name get_ancestors_and_self get_descendants_and_self")
    _replace_methods(ranges, "contains_product")
