"""A recording as an answer, whole or the part that `Range` names (RFC 9110, 14)."""

from __future__ import annotations

import re

from fastapi.responses import StreamingResponse

from flowengine.api.problems import Refused
from flowengine.store.recordings import Recordings, file_name

_ONE_RANGE = re.compile(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*", re.ASCII | re.IGNORECASE)


async def sound(recordings: Recordings, place: str, wanted: str | None) -> StreamingResponse:
    """The recording at a place. Raises StoreError, and Refused(416) for a part that it has not."""
    size = await recordings.size(place)
    part = part_of(wanted, size)
    start, stop = part or (0, size)
    headers = {
        "accept-ranges": "bytes",
        "content-disposition": f'attachment; filename="{file_name(place)}"',
        "content-length": str(stop - start),
    }
    if part is not None:
        headers["content-range"] = f"bytes {start}-{stop - 1}/{size}"
    return StreamingResponse(
        recordings.read(place, start, stop),
        200 if part is None else 206,
        headers=headers,
        media_type="audio/wav",
    )


def part_of(wanted: str | None, size: int) -> tuple[int, int] | None:
    """From and to before which byte; None for the whole, which answers what is not understood.

    Several ranges are answered with the whole, as RFC 9110 allows. Raises Refused(416).
    """
    shape = _ONE_RANGE.fullmatch(wanted or "")
    if shape is None or shape[1] == shape[2] == "":
        return None
    if shape[1] == "":
        start, stop = max(0, size - int(shape[2])), size
    else:
        start, stop = int(shape[1]), min(size, int(shape[2] or size) + 1)
        if shape[2] and int(shape[2]) < start:
            return None
    if start >= stop:
        raise Refused(
            416,
            "no_such_range",
            f"The recording has {size} bytes.",
            where="range",
            headers={"content-range": f"bytes */{size}"},
        )
    return start, stop
