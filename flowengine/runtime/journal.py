"""One call's journal and checkpoints: numbered records, masked, handed to the store in batches.

Inputs, facts and effects, as the actor took and gave them, so that a replay can drive the same
machines again. What a caller says or keys while a sensitive value is collected is masked before it
is a record; sensitive values of a checkpoint are encrypted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import orjson
import structlog

from flowengine.errors import CallError
from flowengine.events import (
    DigitPressed,
    EndpointForeseen,
    Input,
    InterimHeard,
    Json,
    SegmentHeard,
)
from flowengine.events import to_json as event_to_json
from flowengine.ids import CallId
from flowengine.ports import CallStore, JournalRecord
from flowengine.runtime.effects import Effect, Report, RunTool, SaveCheckpoint
from flowengine.runtime.effects import to_json as effect_to_json
from flowengine.tokens import ValueCipher

BATCH_S = 0.1
MASK = "•"
_POSITION = "journal"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Kept:
    """A checkpoint as read back: the actor's picture, its sensitive values, where it was taken."""

    picture: Mapping[str, Json]
    sensitive: Mapping[str, Mapping[str, Json]]
    seq: int


class Journal:
    """The journal of one call under one epoch."""

    def __init__(
        self,
        store: CallStore,
        call_id: CallId,
        epoch: int,
        *,
        seq: int = 0,
        cipher: ValueCipher | None = None,
    ) -> None:
        self._store = store
        self._call_id = call_id
        self._epoch = epoch
        self._seq = seq
        self._cipher = cipher
        self._records: list[JournalRecord] = []
        self._timer: asyncio.TimerHandle | None = None

    def input(self, event: Input, at_ms: int, *, is_sensitive: bool) -> None:
        """Keep what the actor takes, masked while a sensitive value is collected."""
        self._keep("input", at_ms, event_to_json(masked(event) if is_sensitive else event))

    def effect(self, effect: Effect, at_ms: int) -> None:
        """Keep what the actor gave; a checkpoint is stored behind the records before it."""
        if isinstance(effect, SaveCheckpoint):
            self._keep("effect", at_ms, {"type": "SaveCheckpoint"})
            self._checkpoint(effect.checkpoint)
            return
        body = effect_to_json(effect)
        if isinstance(effect, RunTool):
            # The fact `ToolCalled` has them, without sensitive values.
            body.pop("arguments", None)
        self._keep("fact" if isinstance(effect, Report) else "effect", at_ms, body)

    def flush(self) -> None:
        """Hand what is gathered to the store, which writes it behind."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._records:
            records, self._records = self._records, []
            self._store.append(self._call_id, self._epoch, records)

    async def written(self) -> None:
        """Return once everything so far is on disk. Raises StoreError when it cannot be."""
        self.flush()
        await self._store.written(self._call_id)

    def _keep(self, family: str, at_ms: int, body: Mapping[str, Json]) -> None:
        self._seq += 1
        self._records.append(JournalRecord(self._seq, at_ms, family, body))  # type: ignore[arg-type]
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(BATCH_S, self._due)

    def _due(self) -> None:
        self._timer = None
        self.flush()

    def _checkpoint(self, picture: Mapping[str, Json]) -> None:
        self.flush()
        sensitive = picture.get("sensitive") or {}
        stored = {**picture, _POSITION: self._seq}
        stored["sensitive"] = ""
        if sensitive and self._cipher is not None:
            stored["sensitive"] = self._cipher.encrypt(orjson.dumps(sensitive).decode())
        self._store.save_checkpoint(self._call_id, self._epoch, stored)


async def last_checkpoint(
    store: CallStore, call_id: CallId, cipher: ValueCipher | None
) -> Kept | None:
    """The checkpoint that a call goes on from; None when none could be written.

    A sensitive value that cannot be read again (another key) is left out: its node asks anew.
    """
    stored = await store.checkpoint(call_id)
    if stored is None:
        return None
    records = await store.journal(call_id)
    seq = max([stored.get(_POSITION, 0), *(record.seq for record in records[-1:])])
    picture = {key: value for key, value in stored.items() if key != _POSITION}
    sensitive: Mapping[str, Mapping[str, Json]] = {}
    if picture.get("sensitive") and cipher is not None:
        try:
            sensitive = orjson.loads(cipher.decrypt(picture["sensitive"]))
        except CallError as error:
            log.warning("sensitive_values_lost", call=call_id, code=error.code)
    picture["sensitive"] = {}
    return Kept(picture, sensitive, seq)


def masked(event: Input) -> Input:
    """An input without what the caller said or keyed: `#` and `*` stay, words become dots."""
    match event:
        case DigitPressed(digit):
            return DigitPressed(digit if digit in "*#" else MASK)
        case InterimHeard(text, confidence):
            return InterimHeard(_dotted(text), confidence)
        case SegmentHeard(text, confidence, endpoint):
            return SegmentHeard(_dotted(text), confidence, endpoint)
        case EndpointForeseen(text, confidence):
            return EndpointForeseen(_dotted(text), confidence)
        case _:
            return event


def _dotted(text: str) -> str:
    return "".join(MASK if char.isalnum() else char for char in text)
