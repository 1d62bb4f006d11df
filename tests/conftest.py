"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Test machines are shared: how long an example takes says nothing about the code.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

# Tiny models lose more by handing work to a second thread than they gain; two tests run side by side instead.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Whatever the CPU can do, `--dtype auto` is float32 in tests, or bfloat16 where this is set to 1 (make test-bfloat16).
os.environ.setdefault("AFFECTLLM_NATIVE_BFLOAT16", "0")

# Tests never reach for a hub, and never report home.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real rows and media beside the clone; not part of the repository."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder.parent.name}/{folder.name} beside the clone")
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take minutes come first: two processes share the files, and none should wait for the last one."""
    limits = {item: marker.args[0] for item in items if (marker := item.get_closest_marker("timeout"))}
    items.sort(key=lambda item: -limits.get(item, 0))
