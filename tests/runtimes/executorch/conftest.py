from collections.abc import Iterator

import pytest

from tprune.support.machine import version_of


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where executorch is not installed, what runs it is skipped."""
    if version_of("executorch") is None:
        for item in items:
            if item.get_closest_marker("runtimes") and "executorch" in item.path.parts:
                item.add_marker(pytest.mark.skip(reason="executorch is not installed; make test-runtimes installs it"))


@pytest.fixture(scope="session", autouse=True)
def lowered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Graphs that are lowered here are kept for the tests alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield
