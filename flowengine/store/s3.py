"""Recordings in a bucket of S3, or of a server that speaks its protocol.

By obstore: one small package without others behind it, typed, asynchronous, and it signs, retries
and splits long uploads itself. Credentials and region are found as AWS's own tools find them:
`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, or the machine's role.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flowengine.errors import ConfigError, StoreError
from flowengine.store.recordings import CHUNK_BYTES, no_such_recording

if TYPE_CHECKING:
    from obstore.store import S3Config, S3Store

_RETRIES = 3
_RETRY_TIME = timedelta(seconds=30)
_REQUEST_TIME = timedelta(minutes=2)
_CONNECT_TIME = timedelta(seconds=5)


class S3Recordings:
    """`RecordingStore` in `s3://bucket/prefix`."""

    def __init__(self, url: str, endpoint: str = "") -> None:
        """Raises ConfigError when the package is not installed. Nothing is asked yet."""
        try:
            import obstore  # noqa: F401 - only whether it is there
        except ImportError as error:
            raise ConfigError(
                "not_installed",
                "Recordings in S3 need a package that is not installed.",
                where="FLOWENGINE_RECORDINGS_URL",
                fix="Install flowengine[s3].",
            ) from error
        parts = urlsplit(url)
        self._bucket = parts.netloc
        self._prefix = parts.path.strip("/")
        self._endpoint = endpoint
        self._stores: dict[str, S3Store] = {}

    async def keep(self, path: Path, key: str) -> str:
        import obstore

        key = f"{self._prefix}/{key}" if self._prefix else key
        place = f"s3://{self._bucket}/{key}"
        store = self._store(self._bucket)
        # What is not there then is the bucket, not the recording.
        with _asking(place, is_kept=False):
            size = (await asyncio.to_thread(path.stat)).st_size
            attributes = {"Content-Type": "audio/wav"}
            await obstore.put_async(store, key, path, attributes=attributes)
            found = await obstore.head_async(store, key)
        if found["size"] != size:
            raise _failed(place, f"{found['size']} of {size} bytes arrived")
        return place

    async def size(self, place: str) -> int:
        import obstore

        store, key = self._found(place)
        with _asking(place):
            return (await obstore.head_async(store, key))["size"]

    async def read(self, place: str, start: int, stop: int) -> AsyncIterator[bytes]:
        import obstore

        if start >= stop:
            return
        store, key = self._found(place)
        with _asking(place):
            result = await obstore.get_async(store, key, options={"range": (start, stop)})
            async for chunk in result.stream(CHUNK_BYTES):
                yield bytes(chunk)

    async def remove(self, place: str) -> None:
        import obstore

        store, key = self._found(place)
        try:
            with _asking(place):
                await obstore.delete_async(store, key)
        except StoreError as error:
            if error.code != "no_such_recording":
                raise

    def _found(self, place: str) -> tuple[S3Store, str]:
        parts = urlsplit(place)
        return self._store(parts.netloc), parts.path.lstrip("/")

    def _store(self, bucket: str) -> S3Store:
        from obstore.store import S3Store

        if bucket not in self._stores:
            config: S3Config = {"endpoint": self._endpoint} if self._endpoint else {}
            self._stores[bucket] = S3Store(
                bucket,
                config=config,
                client_options={
                    "allow_http": self._endpoint.startswith("http://"),
                    "timeout": _REQUEST_TIME,
                    "connect_timeout": _CONNECT_TIME,
                },
                retry_config={"max_retries": _RETRIES, "retry_timeout": _RETRY_TIME},
            )
        return self._stores[bucket]


@contextmanager
def _asking(place: str, *, is_kept: bool = True) -> Iterator[None]:
    """What the client raises as an error of ours; its messages hold addresses, so none is shown."""
    from obstore.exceptions import BaseError

    try:
        yield
    except FileNotFoundError as error:
        if not is_kept:
            raise _failed(place, "no such bucket") from error
        raise no_such_recording(place) from error
    except (BaseError, OSError, ValueError) as error:
        raise _failed(place, type(error).__name__) from error


def _failed(place: str, why: str) -> StoreError:
    return StoreError(
        "recordings_unreachable",
        f"The store of recordings did not do it ({why}).",
        where=place,
        fix="Check FLOWENGINE_RECORDINGS_URL, its endpoint, and the credentials.",
        retryable=True,
    )
