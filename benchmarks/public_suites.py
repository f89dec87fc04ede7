"""
Do the suites of public projects end as before with cachedeco installed, and would it have served anything old in them?

    make public-suites                      # or: python benchmarks/public_suites.py: some ten minutes, and a network
    python benchmarks/public_suites.py wagtail --rounds 2
    python benchmarks/public_suites.py oscar --oscar ../django-oscar     # a checkout of the version below

Installs the versions below from PyPI into an environment of its own under build/, and fetches the tests of
django-oscar, which no package has, from its repository. Then runs a part of each suite, on SQLite and LocMemCache:

plain
    as the project does.

app
    with "cachedeco" in INSTALLED_APPS, and nothing cached: the same tests must fail and pass.

oracle
    with a dozen helpers of the project also called through `cached_query(depends_on=[AUTO])`, and caches isolated for
    each test: what the cache gives must be what the helper gives without it, each time. The tests get the latter.

bare
    as oracle, without isolation: nothing may be old there either, though each test rolls back what it has written.

control
    as oracle, by functions that depend on nothing: shows what the oracle finds where nothing is invalidated.

Ends with 1 where "app" ends otherwise than "plain", where anything was stale, or where the control was not.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import venv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "public-suites"
PYTHON = BUILD / "venv" / "bin" / "python"
MODES = ("plain", "app", "oracle", "bare", "control")
ISOLATED = ("oracle", "control")
OSCAR = "4.2"
OSCAR_TAG = "4.2.0"
OSCAR_TESTS = "https://github.com/django-oscar/django-oscar"
# What the suites import beside what the projects require. wagtail's own extra installs linters, too.
PACKAGES = (
    "Django==5.2.19",
    "wagtail==8.0.1",
    f"django-oscar[sorl-thumbnail,easy-thumbnails]=={OSCAR}",
    "pytest==9.2.0",
    "pytest-django==4.14.0",
    *("Jinja2<3.2", "freezegun", "django-pattern-library", "responses", "factory-boy<4", "boto3"),
    *("azure-identity<2", "azure-mgmt-cdn<15", "azure-mgmt-frontdoor", "azure-mgmt-subscription<4"),
    *("django-webtest<1.10", "WebTest<4", "Whoosh<2.8", "pycountry", "pytz"),
)


class Suite(NamedTuple):
    """A part of the suite of one project."""

    settings: str
    tests: tuple[str, ...]
    is_pytest: bool


SUITES = {
    "wagtail": Suite(
        "wagtail.test.settings",
        (
            "wagtail.sites",
            "wagtail.tests.test_sites",
            "wagtail.contrib.sitemaps",
            "wagtail.contrib.redirects",
            "wagtail.tests.test_page_model",
        ),
        is_pytest=False,
    ),
    "oscar": Suite(
        "tests.settings", ("tests/integration/catalogue", "tests/functional/catalogue", "tests/unit"), is_pytest=True
    ),
}
Figures = dict[str, Any]


def install(names: Sequence[str], oscar: Path) -> None:
    """Make the environment, and fetch the tests that no package has."""
    if not PYTHON.exists():
        venv.create(BUILD / "venv", with_pip=True)
    pip = [PYTHON, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "-qq", "--no-compile"]
    subprocess.run([*pip, *PACKAGES, "--editable", ROOT], check=True)
    if "oscar" in names and not oscar.exists():
        quiet = ["git", "-c", "advice.detachedHead=false", "clone", "-q", "--depth", "1"]
        if subprocess.run([*quiet, "-b", OSCAR_TAG, OSCAR_TESTS, oscar], check=False).returncode:
            sys.exit(f"No tests of oscar; with a checkout of {OSCAR_TAG}: --oscar DIRECTORY; without oscar: wagtail")


def run(name: str, mode: str, oscar: Path) -> Figures:
    """Run a suite once; return its figures."""
    suite, out = SUITES[name], BUILD / f"{name}-{mode}.json"
    out.unlink(missing_ok=True)
    folder = oscar if suite.is_pytest else BUILD / "run"
    folder.mkdir(exist_ok=True)
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "benchmarks.suites.settings",
        "PYTHONPATH": os.pathsep.join(map(str, [folder, ROOT])),
        "SUITE_NAME": name,
        "SUITE_SETTINGS": suite.settings,
        "SUITE_MODE": mode if mode in MODES[:2] else "oracle",
        "SUITE_ISOLATED": "1" if mode in ISOLATED else "0",
        "SUITE_DEPENDS": "0" if mode == "control" else "1",
        "SUITE_OUT": str(out),
        "DATABASE_ENGINE": "django.db.backends.sqlite3",
        "DATABASE_NAME": ":memory:",
    }
    plugin = "benchmarks.suites.recording"
    if suite.is_pytest:
        ours = ["--cachedeco=isolated"] if mode in ISOLATED else ["-p", "no:cachedeco"] if mode == "plain" else []
        command = ["-m", "pytest", "-q", "--tb=no", "--sqlite", "--deprecation=none", "-p", plugin, *ours, *suite.tests]
    else:
        # The migrations take longer than the tests: each run has a copy of the same database.
        database = BUILD / f"{name}.sqlite3"
        environment["DATABASE_NAME"] = str(database)
        if not database.exists():
            plain = environment | {"SUITE_MODE": "plain"}
            subprocess.run([PYTHON, "-m", "django", "migrate", "-v0"], cwd=folder, env=plain, check=True)
        copy = shutil.copy(database, BUILD / f"{name}-run.sqlite3")
        environment["DATABASE_NAME"] = str(copy)
        runner = f"{plugin}.{'IsolatedRunner' if mode in ISOLATED else 'Runner'}"
        command = ["-m", "django", "test", "--keepdb", "--testrunner", runner, *suite.tests]
    with (BUILD / f"{name}-{mode}.log").open("w") as log:
        subprocess.run([PYTHON, *command], cwd=folder, env=environment, stdout=log, stderr=log, check=False)
    if not out.exists():
        sys.exit(f"{name}, {mode}: the suite did not end; see {log.name}")
    figures: Figures = json.loads(out.read_text())
    return figures


def failed(figures: Figures) -> set[str]:
    """Return the tests that failed."""
    return {test for test, outcome in figures["outcomes"].items() if outcome == "failed"}


def print_run(mode: str, figures: Figures) -> None:
    """Print how a run has ended."""
    outcomes = Counter(figures["outcomes"].values())
    tests = len(figures["outcomes"])
    print(f"  {mode:8}{tests} tests, {outcomes['failed']} failed; {figures['cpu']:.1f} s of CPU", end="")
    if mode == "plain":
        print()
        return
    tokens = figures["events"].get("invalidated", 0)
    print(f"; {tokens / tests:.0f} tokens in {figures['commands'] / tests:.1f} commands a test")
    for told, count in figures["told"].items():
        print(f"      {count} x {told}")


def print_oracle(mode: str, figures: Figures) -> None:
    """Print what the oracle has found, by helper."""
    heads = ("calls", "calls served", "again", "again served", "unstored", "refused", "other rows", "STALE")
    print(f"      {'':32}" + "".join(f"{head:>14}" for head in heads))
    total: Counter[str] = Counter()
    for helper, counts in figures["helpers"].items():
        total.update(counts)
        print(f"      {helper:32}" + "".join(f"{counts.get(head, 0):>14,}" for head in heads))
    print(f"      {'all':32}" + "".join(f"{total[head]:>14,}" for head in heads))
    reasons: Counter[str] = Counter()
    for text, count in figures["unstored"].items():
        reasons[text.split(": ", 1)[1]] += count
    for reason, count in reasons.most_common():
        print(f"      {count} unstored: {reason}")
    for example in figures["examples"] if mode != "control" else ():
        print(f"      {example}")


def faults_of(name: str, figures: dict[str, Figures]) -> list[str]:
    """Return what is wrong, in words."""
    faults = []
    if figures["plain"]["outcomes"] != figures["app"]["outcomes"]:
        changed = failed(figures["plain"]) ^ failed(figures["app"])
        faults.append(f"{name}: these end otherwise with the app installed: {', '.join(sorted(changed))}")
    for mode in ("oracle", "bare"):
        if stale := stale_in(figures[mode]):
            faults.append(f"{name}, {mode}: {stale} values were stale")
        if any(told.startswith(("error", "unwatched")) for told in figures[mode]["told"]):
            faults.append(f"{name}, {mode}: an error, or a connection that was not watched")
    if not stale_in(figures["control"]):
        faults.append(f"{name}: the control was never stale, so the oracle proves nothing")
    return faults


def stale_in(figures: Figures) -> int:
    """Return how often the cache would have given another value."""
    return sum(counts.get("STALE", 0) for counts in figures["helpers"].values())


def main() -> None:
    """Run the suites, and print what they have shown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suites", nargs="*", help=f"of {', '.join(SUITES)}; both by default")
    parser.add_argument("--rounds", type=int, default=1, help="of plain and app, for their CPU time; 1")
    parser.add_argument("--oscar", type=Path, default=BUILD / "oscar", help=f"a checkout of django-oscar {OSCAR_TAG}")
    chosen = parser.parse_args()
    names = chosen.suites or list(SUITES)
    if unknown := set(names) - SUITES.keys():
        parser.error(f"no such suite: {', '.join(sorted(unknown))}; there are {', '.join(SUITES)}")
    BUILD.mkdir(parents=True, exist_ok=True)
    oscar = chosen.oscar.resolve()
    install(names, oscar)
    faults = []
    for name in names:
        print(name, flush=True)
        rounds = [{mode: run(name, mode, oscar) for mode in MODES[:2]} for _ in range(chosen.rounds)]
        figures = rounds[-1] | {mode: run(name, mode, oscar) for mode in MODES[2:]}
        for mode in MODES:
            print_run(mode, figures[mode])
            if mode in MODES[2:]:
                print_oracle(mode, figures[mode])
            for test in sorted(failed(figures[mode]) - failed(figures["plain"])):
                print(f"      fails here only: {test}: {figures[mode]['failures'].get(test, '')[:100]}")
        ratios = [each["app"]["cpu"] / each["plain"]["cpu"] for each in rounds]
        rounded = ", ".join(f"{each:.2f}" for each in ratios)
        print(f"  CPU with the app, of that without: {rounded}; median {median(ratios):.2f}", flush=True)
        faults += faults_of(name, figures)
    print(*faults or ["Nothing was stale, and each test ends as before."], sep="\n")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
