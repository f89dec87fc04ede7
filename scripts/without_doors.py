"""
Does everything else still pass when a door is deleted?

    python scripts/without_doors.py [DOOR ...]

A door is a folder of `cachedeco/` that no other package imports. For each, this copies the project without the door and
without the tests that need it: those in its folder of `tests/`, and those that name it in an import. So a test that
needs a door without an import of it lies in the door's folder, or in tests/scenarios. It runs the quick suite of the
rest, prints a line for each door, and ends with 1 if one fails.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOORS = ("auditing", "backends", "checks", "contrib", "diagnosis", "management", "outbox", "testing")
PLUGINS = ("pytest_django.plugin", "xdist.plugin", "_hypothesis_pytestplugin")
# What else of cachedeco/ goes with a door.
ALONG = {"testing": ("pytest_plugin.py",)}


def needs(path: Path, door: str) -> bool:
    """Tell whether a test, or a helper of tests, imports a door."""
    imports = rf"^\s*(from|import) (cachedeco|tests)\.{door}\b|^\s*from cachedeco import [^\n]*\b{door}\b"
    named = re.compile(imports, re.MULTILINE)
    return path.suffix == ".py" and bool(named.search(path.read_text()))


def without(door: str, tree: Path) -> None:
    """Delete a door, and the tests that need it, from a copy of the project."""
    shutil.rmtree(tree / "cachedeco" / door)
    for name in ALONG.get(door, ()):
        (tree / "cachedeco" / name).unlink()
    shutil.rmtree(tree / "tests" / door, ignore_errors=True)
    settings = tree / "tests" / "settings.py"
    lines = settings.read_text().splitlines(keepends=True)
    settings.write_text("".join(line for line in lines if f"tests.{door}." not in line))
    gone = {path for path in (tree / "tests").rglob("*.py") if needs(path, door)}
    while gone:  # and what imports those
        for path in gone:
            path.unlink()
        stems = {".".join(path.relative_to(tree).with_suffix("").parts) for path in gone}
        gone = {
            path
            for path in (tree / "tests").rglob("*.py")
            if any(re.search(rf"\b{re.escape(stem)}\b", path.read_text()) for stem in stems)
        }


def passes(door: str) -> bool:
    """Run the quick suite without a door."""
    with tempfile.TemporaryDirectory() as directory:
        tree = Path(directory) / "project"
        files = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
        for name in files.split():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
        without(door, tree)
        command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--quick"]
        environment = {**os.environ, "PYTHONPATH": str(tree)}
        if door == "testing":  # pytest would look for the plugin of the kit, which is installed and gone
            command += [part for name in PLUGINS for part in ("-p", name)]
            environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        done = subprocess.run(command, cwd=tree, env=environment, check=False, capture_output=True, text=True)
    outcome = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr[-300:]
    print(f"without {door}: {outcome}", flush=True)  # minutes before the next one
    if done.returncode:
        print(
            "\n".join(line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR", "E  ")))[:3000]
        )
    return done.returncode == 0


if __name__ == "__main__":
    failed = [door for door in sys.argv[1:] or DOORS if not passes(door)]  # each door has its line
    sys.exit(1 if failed else 0)
