"""
Do the tests find as many small defects after a rewrite of the code as they did before it?

    python scripts/mutants.py draw --seed 11 --count 200 --out mutants.json       # before it
    python scripts/mutants.py run mutants.json --out before.json
    python scripts/mutants.py run mutants.json --out after.json --map map.json    # after it
    python scripts/mutants.py compare before.json after.json

Run it by the Python that has the development tools, `.venv/bin/python`. A mutant is one change of an operator, a
condition, a constant, a result, a call or the end of a loop in the packages of keys, invalidations and misses. It is
known by its function and by its number among that function's sites of the same kind, so that it is found again where
modules, functions and variables have other names. `map.json` says which:

    {"modules": {"keys": ["keys.plan", "keys.source"]}, "names": {"KeyPlan": "Plan", "_made": "made"},
     "mutants": {"17": "keys.plan:Plan.explain:0"}}

A whole qualified name may stand in "names" too; "mutants" says where single ones are, by number: module, function,
ordinal. What is not found is "gone"; what is found but does not look the same is "doubtful", and run nevertheless.

Killed is a mutant with which a test fails, or the tests do not end. First the suite is run once, under coverage, to
learn which tests reach which line: without what takes long, and what happens in other processes. A few of the tests
that reach a mutant are run on it, the quickest of each file; if they pass then some hundred more, and then the rest.
"""

import argparse
import ast
import copy
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from hashlib import sha256
from itertools import zip_longest
from pathlib import Path
from queue import SimpleQueue
from random import Random
from threading import Lock
from time import monotonic
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "cachedeco"
DRAWN = ["keys", "invalidation", "tracking", "loading"]  # packages
# What takes long: simulated schedules and histories, storms, suites that run suites, servers that hang and die.
SKIPPED = "schedules|storm|clubsite|histories|samples|fault_matrix|many_callers|processes"
NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv*", "__pycache__", ".*_cache", ".hypothesis", ".coverage*", "*.reach.json"
)
PYTEST = ["-m", "pytest", "-p", "no:randomly", "-p", "no:cacheprovider", "--hypothesis-seed=0", "--no-header"]
WORKERS = 2
SLOWEST = 4.0  # seconds that a test may take to be run on mutants
STAGES = [(0, 40, 150.0), (40, 440, 150.0), (440, None, 900.0)]  # from which test to which; seconds
SWAPS = [
    (ast.Eq, ast.NotEq), (ast.Is, ast.IsNot), (ast.In, ast.NotIn), (ast.Lt, ast.LtE), (ast.Gt, ast.GtE),
    (ast.And, ast.Or), (ast.Add, ast.Sub), (ast.Mult, ast.Div),
]  # fmt: skip
SWAPPED: dict[type[ast.AST], type[Any]] = {a: b for pair in SWAPS for a, b in (pair, pair[::-1])}
NEGATED = (ast.Eq, ast.NotEq, ast.Is, ast.IsNot, ast.In, ast.NotIn)  # whose swap is the condition's negation

Function = ast.FunctionDef | ast.AsyncFunctionDef
Results = dict[str, dict[str, Any]]


class Site(NamedTuple):
    """A place to mutate."""

    scope: str  #: the function's qualified name, or that of what is assigned outside of functions
    operator: str
    node: ast.expr | ast.stmt
    statement: ast.stmt
    part: int = 0  #: which operator of a chain

    @property
    def shape(self) -> str:
        """What is left of the code without names and strings."""
        bare = re.sub(r"'[^']*'|\"[^\"]*\"", "_", ast.dump(self.node))
        return sha256(f"{bare}{self.part}".encode()).hexdigest()[:12]


# --- where mutants can be ---


def sites_in(node: ast.AST, scope: str, statement: ast.stmt | None = None, *, inside: bool = False) -> Iterator[Site]:
    """Give the sites under a node, in an order that does not depend on names; *inside* of a function, that is."""
    if isinstance(node, ast.stmt):
        statement = node
    if isinstance(node, Function | ast.ClassDef):
        scope = f"{scope}.{node.name}".lstrip(".")
    elif isinstance(node, ast.Assign | ast.AnnAssign) and not inside:
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        scope = f"{scope}.{ast.unparse(target)}".lstrip(".")
    if statement and isinstance(node, ast.stmt | ast.expr):
        yield from (Site(scope, kind, node, statement, part) for kind, part in _kinds(node))
    for child in _children(node):
        yield from sites_in(child, scope, statement, inside=inside or isinstance(node, Function))


def _children(node: ast.AST) -> Iterable[ast.AST]:
    """Return what is looked at under a node: no annotations, decorators, texts and errors."""
    match node:
        case (
            ast.Raise()
            | ast.JoinedStr()
            | ast.keyword(arg="reason")
            | ast.If(test=ast.Name(id="TYPE_CHECKING"))
            | ast.Assign(targets=[ast.Name(id="msg" | "__all__" | "__slots__")])
        ):
            return ()
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return [*node.args.defaults, *filter(None, node.args.kw_defaults), *node.body]
        case ast.Lambda():
            return [*node.args.defaults, *filter(None, node.args.kw_defaults), node.body]
        case ast.ClassDef():
            return node.body
        case ast.AnnAssign():
            return [node.value] if node.value else ()
    return ast.iter_child_nodes(node)


def _kinds(node: ast.AST) -> Iterator[tuple[str, int]]:  # noqa: C901 -- a table
    """Give the operators that mutate a node itself."""
    match node:
        case ast.Compare():
            yield from (("comparison", n) for n, _ in enumerate(node.ops))
        case ast.BoolOp():
            yield "and-or", 0
        case ast.UnaryOp(op=ast.Not()):
            yield "not", 0
        case ast.BinOp() | ast.AugAssign() if type(node.op) in SWAPPED:
            yield "arithmetic", 0
        case ast.Constant(value=bool()):
            yield "boolean", 0
        case ast.Constant(value=int() | float()):
            yield "number", 0
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            yield "return", 0
        case ast.Expr(value=ast.Call() | ast.Await(value=ast.Call())):
            yield "call", 0
        case ast.Break() | ast.Continue():
            yield "loop", 0
        case ast.If() | ast.While() | ast.IfExp() if not _has_other_negation(node.test):
            yield "condition", 0


def _has_other_negation(test: ast.expr) -> bool:
    """Tell whether another operator negates the condition already."""
    is_one = isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], NEGATED)
    is_not = isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)
    return is_one or is_not or isinstance(test, ast.Constant) or ast.unparse(test) == "TYPE_CHECKING"


def mutated(source: str, site: Site) -> str:
    """Return the source with one mutation, the lines around it as they were."""
    node: Any = copy.deepcopy(site.node)
    target: Any = site.node
    match site.operator:
        case "comparison":
            node.ops[site.part] = SWAPPED[type(node.ops[site.part])]()
        case "and-or" | "arithmetic":
            node.op = SWAPPED[type(node.op)]()
        case "number":
            node.value += 1
        case "boolean":
            node.value = not node.value
        case "condition":
            target, node = target.test, ast.UnaryOp(ast.Not(), node.test)
        case "not":
            node = node.operand
    text = {"call": "pass", "return": "return None"}.get(site.operator) or ast.unparse(node)
    if site.operator == "loop":
        text = "continue" if isinstance(node, ast.Break) else "break"
    text = f"({text})" if isinstance(target, ast.expr) else text
    lines = source.encode().splitlines(keepends=True)
    start = sum(map(len, lines[: target.lineno - 1])) + target.col_offset
    end = sum(map(len, lines[: target.end_lineno - 1])) + target.end_col_offset
    whole = b"".join(lines)
    return (whole[:start] + text.encode() + whole[end:]).decode()


@cache
def source_of(path: Path) -> str:
    """Return what is in a file."""
    return path.read_text()


@cache
def sites_of(path: Path) -> dict[tuple[str, str], list[Site]]:
    """Return a module's sites by scope and operator."""
    found: dict[tuple[str, str], list[Site]] = defaultdict(list)
    for site in sites_in(ast.parse(source_of(path)), ""):
        found[site.scope, site.operator].append(site)
    return found


def path_of(module: str) -> Path:
    """Return the file of a module, named without the package."""
    path = ROOT / PACKAGE / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_name(path.name + ".py")


def head_of(path: Path, statement: ast.stmt | ast.expr) -> str:
    """Return a statement on one line, without its block."""
    text = ast.get_source_segment(source_of(path), statement) or ""
    body = getattr(statement, "body", None)
    kept = text.splitlines()[: body[0].lineno - statement.lineno or 1] if isinstance(body, list) else [text]
    return " ".join(" ".join(kept).split())


# --- to draw ---


def draw(seed: int, count: int) -> Results:
    """Draw mutants, from each module in proportion to its sites."""
    random = Random(seed)
    pools: dict[str, list[tuple[int, Site]]] = {}
    for path in sorted(path for package in DRAWN for path in (ROOT / PACKAGE / package).glob("[!_]*.py")):
        module = f"{path.parent.name}.{path.stem}"
        every = [pair for sites in sites_of(path_of(module)).values() for pair in enumerate(sites)]
        pools[module] = [pair for pair in every if _compiles(module, pair[1])]
    total = sum(map(len, pools.values()))
    exact = {module: count * len(pool) / total for module, pool in pools.items()}
    by_rest = sorted(exact, key=lambda module: exact[module] % 1, reverse=True)
    more = set(by_rest[: count - sum(map(int, exact.values()))])
    drawn = [
        (module, *pair)
        for module, pool in pools.items()
        for pair in sorted(random.sample(pool, int(exact[module]) + (module in more)), key=lambda each: _place(each[1]))
    ]
    return {str(n): _recorded(*each) for n, each in enumerate(drawn, 1)}


def _place(site: Site) -> tuple[int, int]:
    return site.node.lineno, site.node.col_offset


def _compiles(module: str, site: Site) -> bool:
    try:
        compile(mutated(source_of(path_of(module)), site), module, "exec")
    except (SyntaxError, ValueError):  # what 3.11 can't write inside an f-string
        return False
    return True


def _recorded(module: str, ordinal: int, site: Site) -> dict[str, Any]:
    return {
        "group": module.partition(".")[0],
        "module": module,
        "qualname": site.scope,
        "operator": site.operator,
        "ordinal": ordinal,
        "statement": head_of(path_of(module), site.statement),
        "site": head_of(path_of(module), site.node),
        "shape": site.shape,
    }


# --- to find again ---


def located(number: str, mutant: Mapping[str, Any], names: Mapping[str, Any]) -> tuple[Path, Site, bool] | None:
    """Return the file and the site of a mutant in this tree, and whether it looks as it did; None if it is gone."""
    modules = names.get("modules", {}).get(mutant["module"], mutant["module"])
    renamed, old = names.get("names", {}), mutant["qualname"]
    qualname = renamed.get(old) or ".".join(renamed.get(part, part) for part in old.split("."))
    ordinal = mutant["ordinal"]
    if number in names.get("mutants", {}):
        modules, qualname, ordinal = names["mutants"][number].split(":")
    paths = [path_of(module) for module in ([modules] if isinstance(modules, str) else modules)]
    key = qualname, mutant["operator"]
    having = [path for path in paths if path.exists() and key in sites_of(path)]
    # Moved elsewhere, where the map does not say.
    having = having or [path for path in (ROOT / PACKAGE).rglob("*.py") if key in sites_of(path)]
    sites = [(path, site) for path in having for site in sites_of(path)[key]]
    alike = [pair for pair in sites if pair[1].shape == mutant["shape"]]
    if len(alike) == 1 and number not in names.get("mutants", {}):
        return *alike[0], True
    if len(having) != 1 or int(ordinal) >= len(sites):
        return None
    path, site = sites[int(ordinal)]
    return path, site, site.shape == mutant["shape"]


# --- which tests reach a line: the hooks are pytest's, which loads this file as a plugin for the one run under coverage


def pytest_runtest_logstart(nodeid: str) -> None:
    """Have coverage note the lines to come for the test."""
    import coverage

    current = coverage.Coverage.current()
    assert current  # noqa: S101 -- run by `coverage run`
    current.switch_context(nodeid)


def pytest_runtest_logreport(report: Any) -> None:
    """Write down how long each part of a test took, and how it ended."""
    with Path(os.environ["MUTANTS_TIMES"]).open("a") as file:
        file.write(json.dumps([report.nodeid, report.duration, report.outcome]) + "\n")


class Reach(NamedTuple):
    """Which tests reach what."""

    seconds: dict[str, float]  #: of each test that can be run on mutants
    tests: dict[str, dict[int, list[str]]]  #: by file and line; "" stands for what is imported before any test


def measured(trees: list[Path], skipped: str) -> Reach:
    """Run the suite, a part of it in each copy of the tree."""
    paths = [path.relative_to(ROOT) for path in sorted((ROOT / "tests").rglob("test_*.py"))]
    files = [str(path) for path in paths if not re.search(skipped, str(path))]
    shards = [set(files[n :: len(trees)]) for n in range(len(trees))]
    # Not by naming what is to be run: a conftest.py may leave out what can't be imported here.
    ignored = [[f"--ignore={path}" for path in map(str, paths) if path not in shard] for shard in shards]
    with ThreadPoolExecutor(len(trees)) as pool:
        parts = list(pool.map(_measured_part, trees, ignored))
    reach = Reach({}, defaultdict(lambda: defaultdict(list)))
    for seconds, lines in parts:
        reach.seconds.update(seconds)
        for file, line, tests in lines:
            reach.tests[file][line] += [test for test in tests if test in seconds or not test]
    return reach


def _measured_part(tree: Path, ignored: list[str]) -> tuple[dict[str, float], list[tuple[str, int, list[str]]]]:
    import coverage

    settings, data, times = tree / ".coveragerc", tree / ".coverage-lines", tree / ".times"
    settings.write_text(f"[run]\nsource = {PACKAGE}\nrelative_files = true\nconcurrency = thread\ndata_file = {data}\n")
    command = ["-m", "coverage", "run", f"--rcfile={settings}", *PYTEST, "-q", "-p", "mutants", *ignored, "tests"]
    path = f"{tree}{os.pathsep}{tree / 'scripts'}"
    ran = run_python(tree, command, None, MUTANTS_TIMES=str(times), PYTHONPATH=path)
    if ran.code not in {0, 1}:  # 1: tests have failed
        raise RuntimeError(ran.output[-5000:])
    seconds: dict[str, float] = defaultdict(float)
    failed: set[str] = set()
    for test, duration, outcome in map(json.loads, times.read_text().splitlines()):
        seconds[test] += duration
        failed |= set() if outcome == "passed" else {test}
    tell(f"{len(seconds)} tests measured; not passed: {sorted(failed)}")
    read = coverage.CoverageData(str(data))
    read.read()
    lines = [(file, line, tests) for file in read.measured_files() for line, tests in _lines_of(read, file)]
    return {test: each for test, each in seconds.items() if test not in failed and each <= SLOWEST}, lines


def _lines_of(data: Any, file: str) -> Iterable[tuple[int, list[str]]]:
    by_line: dict[int, list[str]] = data.contexts_by_lineno(file)
    return by_line.items()


def reaching(reach: Reach, path: Path, site: Site) -> list[str]:
    """
    Return the tests to run on a mutant.

    Those that reach its line; where that has no code of its own, or is run at import only, then what is around it. What
    a line does at import may show in any test of the module, or of those that import it: these come behind.
    """
    file = str(path.relative_to(ROOT))
    by_line = reach.tests.get(file, {})
    of_function = [each.node for sites in sites_of(path).values() for each in sites if each.scope == site.scope]
    found: set[str] = set()
    for nodes in ([site.node], [site.statement], of_function):
        ranges = [range(node.lineno, (node.end_lineno or node.lineno) + 1) for node in nodes]
        found |= set() if found - {""} else {test for lines in ranges for n in lines for test in by_line.get(n, ())}
    behind: set[str] = set()
    if "" in found or not found:
        behind = {test for tests in by_line.values() for test in tests}
        uses = _uses(site.scope) if site.scope else []
        behind |= {test for user, n in uses for test in reach.tests.get(user, {}).get(n, ())}
    above = {test for user in _importers(path) for tests in reach.tests.get(user, {}).values() for test in tests}
    above = above if "" in found else set()
    parts = (found, behind - found, above - behind - found)
    return [test for tests in parts for test in _in_turns(tests - {""}, reach.seconds)]


def _in_turns(tests: Iterable[str], seconds: Mapping[str, float]) -> Iterator[str]:
    """Give the quickest of each file, then the next of each file, and so on."""
    files: dict[str, list[str]] = defaultdict(list)
    for test in sorted(tests, key=lambda each: (seconds[each], each)):
        files[test.partition("::")[0]].append(test)
    rounds = zip_longest(*sorted(files.values(), key=len, reverse=True))
    return (test for each in rounds for test in each if test)


@cache
def _importers(path: Path) -> list[str]:
    """Return the modules that import one."""
    line = re.compile(
        rf"^\s*(from|import)\b.*\b{path.parent.name if path.stem == '__init__' else path.stem}\b", re.MULTILINE
    )
    paths = (ROOT / PACKAGE).rglob("*.py")
    return [str(each.relative_to(ROOT)) for each in paths if line.search(source_of(each))]


@cache
def _uses(scope: str) -> list[tuple[str, int]]:
    """Return where the name of what is assigned outside of functions stands."""
    word = re.compile(rf"\b{re.escape(scope.rpartition('.')[2])}\b")
    paths = (ROOT / PACKAGE).rglob("*.py")
    return [
        (str(path.relative_to(ROOT)), n)
        for path in paths
        for n, line in enumerate(source_of(path).splitlines(), 1)
        if word.search(line)
    ]


# --- to run ---


class Ran(NamedTuple):
    """How a process ended."""

    code: int | None  #: None: it had to be ended
    output: str


def run_python(tree: Path, arguments: Collection[str], deadline: float | None, **more: str) -> Ran:
    """Run Python in a copy of the tree, and end it and all that it has started at the deadline."""
    environment = {**os.environ, "PYTHONPATH": str(tree), **more}
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=tree, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
        try:
            code: int | None = process.wait(deadline)
        except subprocess.TimeoutExpired:
            code = None
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output.seek(0)
        return Ran(code, output.read())


def tried(tree: Path, path: Path, source: str, tests: list[str]) -> dict[str, Any]:
    """Put a mutant into a copy of the tree, run the tests on it, and take it out again."""
    file = tree / path.relative_to(ROOT)
    whole, times = file.read_bytes(), file.stat()
    started, ran = monotonic(), Ran(0, "")
    try:
        file.write_text(source)
        # Another time than that of the compiled file, which so is good again afterwards.
        os.utime(file, (times.st_mtime + 10_000, times.st_mtime + 10_000))
        for chosen, deadline in [(tests[begin:end], deadline) for begin, end, deadline in STAGES if tests[begin:end]]:
            shutil.rmtree(tree / ".hypothesis", ignore_errors=True)
            ran = run_python(tree, [*PYTEST, "-x", "-v", *chosen], deadline, PYTHONDONTWRITEBYTECODE="1")
            if ran.code != 0:
                break
    finally:
        file.write_bytes(whole)
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    told = {"tests": len(tests), "seconds": round(monotonic() - started, 1)}
    if ran.code == 0:
        return {"status": "survived", **told}
    lines = [line for line in ran.output.splitlines() if line.strip()]
    if ran.code is None:  # it hangs in the last that is named
        return {"status": "timeout", "by": " ".join([line for line in lines if line.startswith("tests/")][-1:]), **told}
    failed = [line for line in lines if line.startswith(("FAILED tests/", "ERROR tests/"))]
    return {"status": "killed", "by": (failed[:1] or lines[-1:])[0][:300], **told}


def run(mutants: Results, names: Mapping[str, Any], out: Path, only: Collection[str], skipped: str) -> Results:
    """Run the tests on all mutants, and write down after each how it went."""
    results: Results = json.loads(out.read_text()) if only and out.exists() else {}
    with tempfile.TemporaryDirectory() as directory:
        trees = [shutil.copytree(ROOT, Path(directory) / f"{n}", ignore=NOT_COPIED) for n in range(WORKERS)]
        reach = remembered(out.with_suffix(".reach.json"), trees, skipped)
        lock, free = Lock(), SimpleQueue[Path]()
        for tree in trees:
            free.put(tree)

        def one(number: str) -> None:
            mutant = mutants[number]
            told = {key: mutant[key] for key in ("group", "module", "qualname", "operator", "statement", "site")}
            result: dict[str, Any] = {**told, "status": "gone"}
            if found := located(number, mutant, names):
                path, site, is_alike = found
                result |= {"status": "unreached", "line": f"{path.relative_to(ROOT)}:{site.node.lineno}"}
                result |= {} if is_alike else {"doubtful": head_of(path, site.statement)}
                if tests := reaching(reach, path, site):
                    tree = free.get()
                    result |= tried(tree, path, mutated(source_of(path), site), tests)
                    free.put(tree)
            with lock:
                tell(number, *(result.get(key, "") for key in ("status", "line", "site", "by")))
                results[number] = result
                out.write_text(json.dumps({each: results[each] for each in mutants if each in results}, indent=1))

        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(one, [number for number in mutants if not only or number in only]))
    return {number: results[number] for number in mutants if number in results}


def remembered(path: Path, trees: list[Path], skipped: str) -> Reach:
    """Return what a run under coverage has told, an earlier one if the code is the same."""
    code = b"".join(each.read_bytes() for name in (PACKAGE, "tests") for each in sorted((ROOT / name).rglob("*.py")))
    digest = sha256(code + skipped.encode()).hexdigest()
    known = json.loads(path.read_text()) if path.exists() else {}
    if known.get("code") != digest:
        reach = measured(trees, skipped)
        names = ["", *reach.seconds]  # each once in the file: a test reaches thousands of lines
        numbers = {name: n for n, name in enumerate(names)}
        lines = {
            file: {line: [numbers[test] for test in tests] for line, tests in by_line.items()}
            for file, by_line in reach.tests.items()
        }
        known = {"code": digest, "names": names, "seconds": reach.seconds, "lines": lines}
        path.write_text(json.dumps(known))
    names = known["names"]
    tests = {
        file: {int(line): [names[n] for n in numbers] for line, numbers in by_line.items()}
        for file, by_line in known["lines"].items()
    }
    return Reach(known["seconds"], tests)


# --- to tell ---


def tell(*words: object) -> None:
    """Print a line, at once."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def report(results: Results) -> None:
    """Print the figures, and what was not killed."""
    for group in [*DRAWN, ""]:
        counts = Counter(each["status"] for each in results.values() if group in {"", each["group"]})
        tell(f"{group or 'all':14}", *(f"{status} {number}" for status, number in sorted(counts.items())))
    for number, each in results.items():
        if each["status"] != "killed" or "doubtful" in each:
            what = f"{each['module']}:{each['qualname']} {each['operator']}: {each['site']}  # {each['statement']}"
            tell(
                f"{number:>4} {each['status']:9} {what}",
                *([f"-- now: {each['doubtful']}"] if "doubtful" in each else []),
            )


def compare(before: Results, after: Results) -> None:
    """Print the mutants whose status differs, of those in both files, and how many are missing in one."""
    report(before)
    report(after)
    for name, one, other in (("before", before, after), ("after", after, before)):
        if missing := other.keys() - one.keys():
            tell(f"{len(missing)} of {len(other)} mutants are missing {name}: {', '.join(sorted(missing, key=int))}")
    for number, each in before.items():
        if number in after and each["status"] != after[number]["status"]:
            tell(f"{number:>4} {each['status']} -> {after[number]['status']} {each['module']}:{each['qualname']}")


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    drawing, running, comparing = (commands.add_parser(name) for name in ("draw", "run", "compare"))
    drawing.add_argument("--seed", type=int, default=11)
    drawing.add_argument("--count", type=int, default=200)
    drawing.add_argument("--out", type=Path, required=True)
    running.add_argument("mutants", type=Path)
    running.add_argument("--out", type=Path, required=True)
    running.add_argument("--map", type=Path, help="which modules, functions and classes have other names now")
    running.add_argument("--only", default="", help="numbers: run these again, and keep the other results")
    running.add_argument("--skip", default=SKIPPED, help="a regular expression: test files that are not run at all")
    comparing.add_argument("results", type=Path, nargs=2)
    chosen = parser.parse_args()
    if chosen.command == "draw":
        chosen.out.write_text(json.dumps(draw(chosen.seed, chosen.count), indent=1))
    elif chosen.command == "run":
        names = json.loads(chosen.map.read_text()) if chosen.map else {}
        mutants = json.loads(chosen.mutants.read_text())
        report(run(mutants, names, chosen.out, set(filter(None, chosen.only.split(","))), chosen.skip))
    else:
        compare(*(json.loads(path.read_text()) for path in chosen.results))


if __name__ == "__main__":
    main()
