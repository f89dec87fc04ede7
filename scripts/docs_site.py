"""What the site of the documentation needs beside docs/: hooks that mkdocs calls, as mkdocs.yml says."""

import os
import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
# Pages that are made from files of the project.
GENERATED = {"index.md": "README.md", "changelog.md": "CHANGELOG.md", "security.md": "SECURITY.md"}

LINK = re.compile(r"\]\((?!https?://|#)([^)\s]+)\)")
# What the tests run, and readers don't see.
HIDDEN = re.compile(r"^ *<!-- (?:setup|check):\n.*?-->\n+", re.MULTILINE | re.DOTALL)


# What a browser loads by itself.
LOADED = re.compile(r"<(?:script|img|iframe|link)\b[^>]*? (?:src|href)=[\"']?(https?://[^\"' >]+)")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are no files of docs/."""
    from mkdocs.structure.files import File

    for page, source in GENERATED.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: object) -> str:
    """Leave out what readers don't see, and let each link lead to a page, or to the file in the repository."""
    name = page.file.src_uri
    if page.parent is None:
        page.meta["hide"] = ["navigation"]  # it has no pages beside it
    here = ROOT / GENERATED[name] if name in GENERATED else ROOT / "docs" / name
    return LINK.sub(lambda match: f"]({_followed(match[1], here, name)})", HIDDEN.sub("", markdown))


def on_page_content(html: str, **_: object) -> str:
    """Leave out the mark that stands before code in a docstring."""
    return html.replace("<p>::</p>", "")


def on_post_page(output: str, page: Any, **_: object) -> str:
    """Refuse a page that loads something from another host."""
    for match in LOADED.finditer(output):
        msg = f"{page.file.src_uri} loads {match[1]}; the site loads nothing from other hosts."
        raise SystemExit(msg)
    return output


def _followed(link: str, here: Path, name: str) -> str:
    path, mark, anchor = link.partition("#")
    target = os.path.relpath(os.path.normpath(here.parent / path), ROOT)
    pages = {source: page for page, source in GENERATED.items()}
    page = pages.get(target) or (target.removeprefix("docs/") if target.startswith("docs/") else None)
    if page is None:
        return f"{_source_url()}{target}{mark}{anchor}"
    return f"{os.path.relpath(page, Path(name).parent)}{mark}{anchor}"


def _source_url() -> str:
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]
    return f"{urls['Source']}blob/main/"
