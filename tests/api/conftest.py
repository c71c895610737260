"""Async tests run on uvloop, as the server does; APIs have a fresh database of each kind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.api.service import Api, an_api
from tests.databases import KINDS, prepared_database


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(params=KINDS)
async def api(
    request: pytest.FixtureRequest, tmp_path: Path, anyio_backend: object
) -> AsyncIterator[Api]:
    """The REST API over an empty database of each kind."""
    with prepared_database(request.param) as url:
        async with an_api(url, tmp_path) as made:
            yield made
