"""What is made of the pages for the site, by the hooks that mkdocs calls; `make docs` builds the whole."""

import importlib.util
from types import ModuleType, SimpleNamespace

import pytest

from tests.support import ROOT


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    """Give the module of the hooks."""
    spec = importlib.util.spec_from_file_location("docs_site", ROOT / "scripts" / "docs_site.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def page(name: str) -> SimpleNamespace:
    """Return what mkdocs gives for a page, as far as the hooks look at it."""
    return SimpleNamespace(file=SimpleNamespace(src_uri=name), parent=None, meta={})


@pytest.mark.parametrize(
    ("name", "link", "expected"),
    [
        ("index.md", "docs/caveats.md", "caveats.md"),
        ("index.md", "docs/how-to/views.md#languages", "how-to/views.md#languages"),
        ("index.md", "CHANGELOG.md", "changelog.md"),
        ("index.md", "LICENSE", "{source}LICENSE"),
        ("security.md", "docs/how-to/trust.md", "how-to/trust.md"),
        ("how-to/views.md", "../reference/values.md", "../reference/values.md"),
        ("contributing.md", "../README.md", "index.md"),
        ("contributing.md", "../cachedeco/checks/__init__.py", "{source}cachedeco/checks/__init__.py"),
        ("how-to/views.md", "#languages", "#languages"),
        ("how-to/views.md", "https://example.org/", "https://example.org/"),
    ],
)
def test_link_leads_to_a_page_or_into_the_repository(name: str, link: str, expected: str, hooks: ModuleType) -> None:
    """A link to a page leads to it on the site, and one to another file to that file where the source is."""
    assert f"[it]({expected.format(source=hooks._source_url())})" == hooks.on_page_markdown(f"[it]({link})", page(name))


def test_page_shows_nothing_that_readers_do_not_see(hooks: ModuleType) -> None:
    """What only the tests run is left out."""
    text = "Before.\n\n<!-- check:\nassert True\n-->\n\nAfter.\n"

    assert "Before.\n\nAfter.\n" == hooks.on_page_markdown(text, page("why.md"))


@pytest.mark.parametrize(
    "loaded",
    [
        '<script src="https://cdn.example/a.js"></script>',
        '<link rel="stylesheet" href="https://fonts.example/a.css">',
        "<img src=http://example.org/a.png>",
    ],
)
def test_page_that_loads_from_another_host_is_refused(loaded: str, hooks: ModuleType) -> None:
    """The site has nothing from other hosts but links."""
    hooks.on_post_page('<a href="https://example.org/">it</a><img src="a.png">', page("why.md"))

    with pytest.raises(SystemExit, match=r"why\.md loads http"):
        hooks.on_post_page(loaded, page("why.md"))
