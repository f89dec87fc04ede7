"""For pytest: with pytest-django there is nothing to do; without it, what Django's runner does."""  # noqa: INP001 -- of a rootdir

from collections.abc import Iterator

import django
import pytest
from django.test.utils import setup_databases, setup_test_environment, teardown_databases, teardown_test_environment


def pytest_configure() -> None:
    """Load the models before the tests."""
    django.setup()


@pytest.fixture(scope="session", autouse=True)
def _environment(request: pytest.FixtureRequest) -> Iterator[None]:
    """Set up what plain unittest classes need."""
    if request.config.pluginmanager.hasplugin("django"):
        yield
        return
    setup_test_environment()
    databases = setup_databases(verbosity=0, interactive=False)
    yield
    teardown_databases(databases, verbosity=0)
    teardown_test_environment()
