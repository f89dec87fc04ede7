"""
Do Django's own tests of its Redis cache pass on our Redis backend?

    python benchmarks/django_cache_tests.py            # a minute, and a network; also by: make public-suites

Fetches the source distribution of the installed Django, as packages have no tests, and unpacks its tests under build/.
Runs `RedisCacheTests`, which include all tests of `BaseCacheTests`, on a Redis of their own: with Django's backend, and
with ours in its place. Ends with 1 where ours does not pass what Django's passes.
"""

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Final

import django

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

BUILD: Final = ROOT / "build" / "django-cache-tests"
DJANGOS: Final = "django.core.cache.backends.redis.RedisCache"
OURS: Final = "cachedeco.backends.redis.RedisCache"
SETTINGS: Final = """
CACHES = {{"default": {{"BACKEND": "{backend}", "LOCATION": "{location}"}}}}
DATABASES = {{alias: {{"ENGINE": "django.db.backends.sqlite3"}} for alias in ("default", "other")}}
SECRET_KEY = "only for these tests"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = False
"""


def fetch() -> Path:
    """Return the directory with Django's tests, of the version that is installed."""
    name = f"django-{django.__version__}"
    tests = BUILD / name / "tests"
    if not tests.exists():
        fetching = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "-d", BUILD]
        subprocess.run([*fetching, f"Django=={django.__version__}"], check=True)  # noqa: S603 -- of fixed words
        with tarfile.open(BUILD / f"{name}.tar.gz") as archive:
            archive.extractall(BUILD, filter="data")
    return tests


def run(tests: Path, backend: str) -> tuple[int, str]:
    """Run the tests with a backend; return the exit code, and the line that says how many there were."""
    from tests.support.servers import Redis

    module = tests / "cache" / "tests.py"
    # It looks for its settings by the path of the backend.
    module.write_text(re.sub(r'get\("[\w.]+\.redis\.RedisCache"\)', f'get("{backend}")', module.read_text()))
    with Redis() as server:
        location = f"redis://127.0.0.1:{server.port}"
        (tests / "redis_settings.py").write_text(SETTINGS.format(backend=backend, location=location))
        done = subprocess.run(
            [sys.executable, "runtests.py", "--settings=redis_settings", "--parallel=1", "cache.tests.RedisCacheTests"],
            cwd=tests,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        print(done.stderr)
    return done.returncode, " ".join(re.findall(r"^Ran \d+ tests|^OK.*|^FAILED.*", done.stderr, re.MULTILINE))


def main() -> None:
    """Run both, and print what came of it."""
    tests = fetch()
    results = {backend: run(tests, backend) for backend in (DJANGOS, OURS)}
    for backend, (_, line) in results.items():
        print(f"Django {django.__version__}, {backend}: {line}")
    sys.exit(results[DJANGOS] != results[OURS])


if __name__ == "__main__":
    main()
