"""For every test: quick ones first, uvloop as in the server, Hypothesis without a stopwatch.

That each module names its category is held by `test_house`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import hypothesis
import pytest
import structlog

ORDER = ("unit", "conversation", "api", "web", "local", "load", "live")

# A busy machine must fail no test, and on the build machine the same inputs come every time.
hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.register_profile("build", deadline=None, derandomize=True)
# Many runs of the same tests, each looking for one fault: few examples, always the same.
hypothesis.settings.register_profile(
    "mutants", deadline=None, derandomize=True, database=None, max_examples=25
)
hypothesis.settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE", "build" if os.environ.get("CI") else "here")
)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Async tests run on uvloop, as the server does."""
    return "asyncio", {"use_uvloop": True}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what is quick first, so that a fault shows early."""
    items.sort(key=_place)


def _place(item: pytest.Item) -> tuple[bool, int]:
    category = next((name for name in ORDER if item.get_closest_marker(name)), ORDER[-1])
    return item.get_closest_marker("slow") is not None, ORDER.index(category)


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """A command that sets logging up writes to a stream that ends with its own test."""
    yield
    structlog.reset_defaults()
