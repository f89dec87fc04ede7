"""What is published, built and installed once for all processes of a run."""

import pytest

from tests.support.distributions import Built, Environment, build, built_in, environment_in, install, shared


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Give the sdist, and the wheel that was built from it."""
    return built_in(shared(tmp_path_factory, "built", build))


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory, built: Built) -> Environment:
    """Give an environment with Django and the wheel, and with nothing else."""
    return environment_in(shared(tmp_path_factory, "installed", lambda directory: install(directory, built.wheel)))
