"""What the package says of itself agrees with the code, the pages and the workflow, wherever it is shown."""

import re
import tomllib
import zipfile
from datetime import date
from typing import Any

import pytest
import yaml
from packaging.metadata import Metadata
from packaging.requirements import Requirement
from packaging.version import Version
from readme_renderer import markdown

from tests.docs.test_pages import anchor_of, headings_of, tables_under
from tests.support import ROOT
from tests.support.distributions import Built

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
JOBS: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text())["jobs"]
STEPS = [step for job in JOBS.values() for step in job["steps"]]
Pair = tuple[str, str]

# As Keep a Changelog names them, in our order: what breaks stands first.
SECTIONS = ["Security", "Removed", "Deprecated", "Added", "Changed", "Fixed"]


@pytest.fixture(scope="session")
def metadata(built: Built) -> Metadata:
    """Give the metadata of the wheel, each field of which has been validated."""
    with zipfile.ZipFile(built.wheel) as wheel:
        [name] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
        return Metadata.from_email(wheel.read(name), validate=True)


@pytest.fixture(scope="session")
def page(metadata: Metadata) -> str:
    """Give the README as an index of packages shows it, which renders nothing if anything in it is wrong."""
    rendered = markdown.render(metadata.description or "")
    assert rendered
    return str(rendered)


# --- what is shown without the repository ---


def test_links_of_the_package_are_of_one_place(metadata: Metadata) -> None:
    """The package has the links that readers look for; all lie under its home."""
    urls = metadata.project_urls or {}

    assert ["Homepage", "Documentation", "Source", "Issues", "Changelog"] == list(urls)
    assert all(url.startswith(urls["Homepage"]) for url in urls.values())


def test_readme_has_no_link_that_is_dead_elsewhere(metadata: Metadata, page: str) -> None:
    """Each link of the rendered README is absolute; one into the repository leads to a file and a heading there."""
    source = f"{(metadata.project_urls or {})['Source']}blob/main/"
    links = re.findall(r'<a href="([^"]+)"', page)
    ours = [link.removeprefix(source).partition("#") for link in links if link.startswith(source)]

    assert [] == [link for link in links if not link.startswith(("https://", "#user-content-"))]
    assert 5 < len(ours)
    for path, _, anchor in ours:
        assert (ROOT / path).exists(), path
        if anchor:
            assert anchor in map(anchor_of, headings_of(ROOT / path)), (path, anchor)


def test_readme_shows_all_and_nothing_of_the_tests(page: str) -> None:
    """Code and tables are rendered, images are absolute, and what tests run in comments is not there."""
    assert re.search(r"<pre.*cached_query", page)
    assert not re.search(r"&lt;!--|<!--|^```|^\||src=\"(?!https://)", page, re.MULTILINE)


# --- versions ---


def classified(prefix: str) -> list[str]:
    """Return the versions that classifiers with a prefix name."""
    matches = [re.fullmatch(rf"{prefix} :: (\d+\.\d+)", each) for each in PROJECT["classifiers"]]
    return [match[1] for match in matches if match]


def test_asgiref_is_one_that_keeps_copied_contexts_apart() -> None:
    """
    What a copied context sets, or deletes, in a `Local` of asgiref changes no other context.

    The defect: on asgiref 3.8, which Django 5.2 takes, a refresh in the background under `async_to_sync()` waited for
    ever, and the caller's cache objects were taken from it.
    """
    [asgiref] = [each for each in map(Requirement, PROJECT["dependencies"]) if each.name == "asgiref"]

    assert ["3.9.1", "3.13.0"] == list(asgiref.specifier.filter(["3.8.1", "3.9.0", "3.9.1", "3.13.0"]))


def pairs_of_the_matrix() -> set[Pair]:
    """Return the pairs of Python and Django that the workflow tests."""
    matrix = JOBS["versions"]["strategy"]["matrix"]
    left_out = {(each["python"], each["django"]) for each in matrix["exclude"]}
    return {(python, django) for python in matrix["python"] for django in matrix["django"]} - left_out


def test_workflow_tests_what_the_classifiers_claim() -> None:
    """The matrix has each Python and each Django of the classifiers, and no other; 6.x only where it runs."""
    pythons, djangos = classified("Programming Language :: Python"), classified("Framework :: Django")

    assert {
        (python, django)
        for python in pythons
        for django in djangos
        if Version(django) < Version("6") or Version(python) >= Version("3.12")
    } == pairs_of_the_matrix()
    assert f">={pythons[0]}" == PROJECT["requires-python"]
    assert f"Django>={djangos[0]}" in PROJECT["dependencies"]


def test_page_of_versions_has_the_tested_pairs() -> None:
    """What users read of Python and Django is what is tested."""
    [table] = tables_under(ROOT / "docs" / "versions.md", "Python and Django")
    pairs = {
        (python, django)
        for djangos, pythons in table
        for django in djangos.split(", ")
        for python in pythons.split(", ")
    }

    assert pairs_of_the_matrix() == pairs


def test_page_of_versions_has_the_clients_of_the_extras() -> None:
    """The oldest clients that the page names are those that the extras take."""
    extras = PROJECT["optional-dependencies"]
    found = re.search(r"pymemcache from (\d+) and redis-py from (\d+)", (ROOT / "docs" / "versions.md").read_text())

    assert found
    assert ([f"pymemcache>={found[1]}"], [f"redis>={found[2]}"]) == (extras["memcached"], extras["redis"])


# --- the workflow ---


def test_workflow_runs_what_ci_runs() -> None:
    """One job is `.ci/run`; each program of the repository that a step names is there, and can be run."""
    commands = [step["run"] for step in STEPS if "run" in step]
    programs = re.findall(r"(?<![\w'])(?:\.ci|scripts)/[\w.-]+", "\n".join(commands))

    assert ".ci/run" in programs
    assert [] == [program for program in programs if not (ROOT / program).stat().st_mode & 0o111]


def test_workflow_trusts_no_moving_tag() -> None:
    """Each action is named by a commit, with its version beside it, and no job may write to the repository."""
    uses = re.findall(r"uses: (.*)", WORKFLOW.read_text())

    assert len(uses) == sum("uses" in step for step in STEPS)
    assert [] == [each for each in uses if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each)]
    assert {"contents": "read"} == yaml.safe_load(WORKFLOW.read_text())["permissions"]


def test_one_job_stands_for_all() -> None:
    """The job that a forge is told to require waits for each other one, fails with it, and none can run for hours."""
    last = JOBS["passed"]
    others = JOBS.keys() - {"passed"}

    assert others == set(last["needs"])
    assert others == set(re.findall(r"needs\.(\w+)\.result", last["steps"][0]["run"]))
    assert "always()" == last["if"]
    assert all(job["timeout-minutes"] <= 30 for job in JOBS.values())


# --- the changelog ---


def test_changelog_keeps_its_form() -> None:
    """Versions go down, all but the newest are dated, sections have known names in one order, lines are sentences."""
    text = (ROOT / "CHANGELOG.md").read_text()
    heads = re.findall(r"^## (\S+) - (\S+)$", text, re.MULTILINE)
    versions = [Version(version) for version, _ in heads]
    parts = re.split(r"^## .*$", text, flags=re.MULTILINE)[1:]

    assert len(heads) == len(parts) > 0
    assert sorted(set(versions), reverse=True) == versions
    assert all(date.fromisoformat(day) for _, day in heads[heads[0][1] == "Unreleased" :])
    for part in parts:
        sections = re.findall(r"^### (.*)$", part, re.MULTILINE)
        lines = [line for line in part.splitlines() if line and not line.startswith("### ")]
        assert sorted(sections, key=SECTIONS.index) == sections != []
        assert [] == [line for line in lines if not re.match(r"(- |  ).*\.$", line)]
