"""Where the sound of calls is kept: the folder that calls write to, or a store like S3's.

A place is what a `recording` row holds: the name of a file in the folder, or a URL such as
`s3://bucket/prefix/clinic/call_0199….wav`. So recordings that were made before a setting was
changed are found where they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

from flowengine.errors import StoreError

CHUNK_BYTES = 64 * 1024


class RecordingStore(Protocol):
    """Keeps files under places of its own. Every method may raise StoreError."""

    async def keep(self, path: Path, key: str) -> str:
        """Keep a copy of a file; its place, once it is confirmed that all of it is there."""
        ...

    async def size(self, place: str) -> int:
        """Bytes of a file. Raises StoreError(`no_such_recording`)."""
        ...

    def read(self, place: str, start: int, stop: int) -> AsyncIterator[bytes]:
        """The bytes of a file from `start` to before `stop`."""
        ...

    async def remove(self, place: str) -> None:
        """Delete a file; one that is gone is deleted."""
        ...


class LocalRecordings:
    """The folder that calls write to: what is there is kept already."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def keep(self, path: Path, key: str) -> str:
        return path.name

    async def size(self, place: str) -> int:
        try:
            return (await asyncio.to_thread((self.folder / place).stat)).st_size
        except OSError as error:
            raise no_such_recording(place) from error

    async def read(self, place: str, start: int, stop: int) -> AsyncIterator[bytes]:
        try:
            file = await asyncio.to_thread((self.folder / place).open, "rb")
        except OSError as error:
            raise no_such_recording(place) from error
        with file:
            await asyncio.to_thread(file.seek, start)
            while start < stop:
                chunk = await asyncio.to_thread(_part, file, min(CHUNK_BYTES, stop - start))
                if not chunk:
                    return
                start += len(chunk)
                yield chunk

    async def remove(self, place: str) -> None:
        try:
            await asyncio.to_thread((self.folder / place).unlink, missing_ok=True)
        except OSError as error:
            raise StoreError(
                "recording_not_deleted",
                f"A recording cannot be deleted ({error.strerror}).",
                where=place,
                fix="Let this process write to the folder of recordings.",
                retryable=True,
            ) from error

    def of_call(self, call_id: str) -> list[Path]:
        """A call's files, one for each of its streams, in order."""
        first = self.folder / f"{call_id}.wav"
        more = sorted(self.folder.glob(f"{call_id}.*.wav"), key=_stream)
        return [path for path in (first, *more) if path.is_file()]


class Recordings:
    """Each recording where its place says; new ones go to `remote`, if there is one."""

    def __init__(self, folder: Path, remote: RecordingStore | None = None) -> None:
        self.local = LocalRecordings(folder)
        self.remote = remote

    async def size(self, place: str) -> int:
        """Bytes of a recording. Raises StoreError."""
        return await self._of(place).size(place)

    def read(self, place: str, start: int, stop: int) -> AsyncIterator[bytes]:
        """Some of a recording's bytes. Raises StoreError."""
        return self._of(place).read(place, start, stop)

    async def remove(self, place: str) -> None:
        """Delete a recording, and what may be left of it in the folder. Raises StoreError."""
        await self._of(place).remove(place)
        if is_remote(place):
            await self.local.remove(file_name(place))

    async def remove_files(self, call_id: str) -> None:
        """Delete what the folder has of a call, also what no row tells of. Raises StoreError."""
        for path in await asyncio.to_thread(self.local.of_call, call_id):
            await self.local.remove(path.name)

    def _of(self, place: str) -> RecordingStore:
        if not is_remote(place):
            return self.local
        if self.remote is None:
            raise StoreError(
                "recordings_elsewhere",
                "The recording is in a store that this engine was not told of.",
                where="FLOWENGINE_RECORDINGS_URL",
                fix="Set it as it was when the call was recorded.",
                retryable=True,
            )
        return self.remote


def is_remote(place: str) -> bool:
    """Whether a place is outside of the folder."""
    return "://" in place


def file_name(place: str) -> str:
    """The name of a recording's file, wherever it is."""
    return PurePosixPath(place).name


def no_such_recording(place: str) -> StoreError:
    """Refuse a recording whose file is not there."""
    return StoreError("no_such_recording", "The recording's file is gone.", where=place)


def _part(file: BinaryIO, size: int) -> bytes:
    return file.read(size)


def _stream(path: Path) -> tuple[int, str]:
    """`call_1.12.wav` is the call's 12th stream."""
    number = path.name.split(".")[-2]
    return (int(number) if number.isascii() and number.isdigit() else 0, path.name)
