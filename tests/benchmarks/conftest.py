import pytest


def pytest_collection_modifyitems(config, items):
    """Leave benchmarks out unless they are asked for: `-m benchmark`."""
    if "benchmark" in (config.getoption("-m") or ""):
        return
    skip = pytest.mark.skip(reason="measured by hand: pytest -m benchmark -s tests/benchmarks")
    for item in items:
        if item.get_closest_marker("benchmark"):
            item.add_marker(skip)
