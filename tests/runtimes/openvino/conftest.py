import pytest

from tprune.support.machine import version_of


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where openvino is not installed, what runs it is skipped."""
    if version_of("openvino") is None:
        for item in items:
            if item.get_closest_marker("runtimes") and "openvino" in item.path.parts:
                item.add_marker(pytest.mark.skip(reason="openvino is not installed; make test-runtimes installs it"))
