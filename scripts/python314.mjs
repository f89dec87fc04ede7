// Run pytest in Pyodide, which is CPython in WebAssembly: the version of Python that no machine here has yet.
// usage: node scripts/python314.mjs PYODIDE-DIRECTORY PACKAGES-DIRECTORY [arguments of pytest]
// It has no threads, no processes and no servers, so that only tests without these can run.
import { argv, cwd, exit } from "node:process";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [pyodide, packages, ...args] = argv.slice(2);
const { loadPyodide } = await import(pathToFileURL(resolve(pyodide, "pyodide.mjs")));
const python = await loadPyodide({ env: { HOME: "/tmp" } });
python.mountNodeFS("/project", cwd());
python.mountNodeFS("/packages", resolve(packages));
python.globals.set("arguments", python.toPy(args));
exit(
  python.runPython(`
import asyncio, os, sys, types

sys.dont_write_bytecode = True
sys.path[:0] = ["/project", "/packages"]
os.chdir("/project")
sys.modules["pwd"] = types.ModuleType("pwd")  # which servers of the tests import
os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = "/tmp/hypothesis"

asyncio._set_running_loop(None)  # Pyodide's own: Django refuses queries where one runs

import pytest

print(f"== pytest: Python {sys.version.split()[0]}", flush=True)
int(pytest.main(["-p", "no:cacheprovider", *arguments]))
`),
);
