"""Reads the events of an OpenAI live transcription: pure, and in the order of what was said.

The transcripts of two items may cross; `previous_item_id` tells their order, so words wait until
those before them are complete. Source: OpenAI's reference of the Realtime API's server events.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import orjson

from flowengine.errors import ProviderError
from flowengine.events import (
    EndpointReached,
    InterimHeard,
    Json,
    SegmentHeard,
    SpeechStarted,
    SpeechStopped,
    Usage,
)
from flowengine.ports import SttEvent
from flowengine.providers.faults import fault, of_word
from flowengine.providers.openai_transcripts import usage_of
from flowengine.providers.utterances import add_usage

_TRANSCRIPTION = "conversation.item.input_audio_transcription."


@dataclass(slots=True, eq=False)
class _Item:
    """One stretch of speech on its way to words."""

    id: str
    text: str = ""
    is_done: bool = False
    endpoint: bool = True
    end_ms: int = 0


@dataclass(frozen=True, slots=True)
class Commit:
    """What we asked for: `event_id` is in the error if the vendor had nothing to commit."""

    event_id: str
    endpoint: bool
    end_ms: int


class LiveEars:
    """One stream's events, and what is still owed."""

    def __init__(self, hear: Callable[[SttEvent], None], provider: str, model: str) -> None:
        self._hear = hear
        self._provider = provider
        self._model = model
        self._items: list[_Item] = []
        self._told: set[str] = set()
        self._commits: deque[Commit] = deque()
        self._stops: dict[str, int] = {}
        self._speaking = ""
        """The item of the speech that the vendor hears now."""
        self.probes = 0
        """Questions after a sign of life that are not answered."""
        self.signs = 0
        """How many messages came."""
        self.settled_ms = 0
        """How far into the stream the words are final."""
        self.used: Usage | None = None
        self.has_untold = False
        """Something was transcribed of which the usage is not known."""
        self.finalized = asyncio.Event()

    @property
    def is_hearing(self) -> bool:
        """Whether the vendor hears somebody speak."""
        return bool(self._speaking)

    @property
    def owes(self) -> bool:
        """Whether words, or a sign of life, are to come."""
        return bool(self._items or self._commits or self.probes)

    def committed(self, commit: Commit) -> None:
        """A commit goes out."""
        self._commits.append(commit)

    def read(self, message: str | bytes) -> ProviderError | None:
        """Take one message; returns the vendor's error if it is one."""
        self.signs += 1
        try:
            body = orjson.loads(message)
            return self._event(str(body["type"]), body)
        except (ValueError, KeyError, TypeError, AttributeError):
            return fault("protocol", "sent a message that cannot be read", self._provider)

    def end_turn(self) -> None:
        """The turn is over, whether or not its last words were made final."""
        text = " ".join(item.text.strip() for item in self._items if item.text.strip())
        self._told.update(item.id for item in self._items)
        self.has_untold = self.has_untold or bool(self._items or self._commits)
        self._items.clear()
        self._commits.clear()
        self._stopped()
        self._hear(SegmentHeard(text, endpoint=True) if text else EndpointReached())

    def _event(self, kind: str, body: dict[str, Json]) -> ProviderError | None:
        if kind == "session.updated":
            self.probes = max(0, self.probes - 1)
        elif kind == "input_audio_buffer.speech_started":
            self._started(body["item_id"])
        elif kind == "input_audio_buffer.speech_stopped":
            self._stops[body["item_id"]] = int(body["audio_end_ms"])
            self._stopped()
        elif kind == "input_audio_buffer.committed":
            self._place(body["item_id"], body.get("previous_item_id"))
        elif kind.startswith(_TRANSCRIPTION):
            return self._transcribed(kind.removeprefix(_TRANSCRIPTION), body)
        elif kind == "error":
            return self._error(body["error"])
        return None

    def _started(self, item_id: str) -> None:
        if not self._speaking:
            self._hear(SpeechStarted("stt"))
        self._speaking = item_id

    def _stopped(self) -> None:
        if self._speaking:
            self._speaking = ""
            self._hear(SpeechStopped("stt"))

    def _place(self, item_id: str, previous: str | None) -> None:
        """An item has its audio: put it behind the one before it."""
        if item_id == self._speaking:
            self._stopped()  # committed by us while the vendor still heard speech
        commit = self._commits.popleft() if self._commits and item_id not in self._stops else None
        if item_id in self._told:
            return
        item = self._item(item_id)
        self._items.remove(item)
        places = [nth for nth, other in enumerate(self._items) if other.id == previous]
        if places:
            self._items.insert(places[0] + 1, item)
        elif previous is None or previous in self._told:
            self._items.insert(0, item)
        else:
            self._items.append(item)
        item.end_ms = self._stops.pop(item_id, 0)
        if commit is not None:
            item.endpoint, item.end_ms = commit.endpoint, commit.end_ms

    def _item(self, item_id: str) -> _Item:
        for item in self._items:
            if item.id == item_id:
                return item
        self._items.append(_Item(item_id))
        return self._items[-1]

    def _transcribed(self, what: str, body: dict[str, Json]) -> ProviderError | None:
        if what == "failed":
            error = body["error"]
            return of_word(f"{error.get('code')} {error.get('type')}", self._provider)
        late = body["item_id"] in self._told
        if what == "completed":
            used = usage_of(body.get("usage"), self._provider, self._model)
            self.used = add_usage(self.used, used) if used is not None else self.used
            self.has_untold = self.has_untold or used is None
            if not late:
                item = self._item(body["item_id"])
                # An empty end after words would lose what was said.
                item.text, item.is_done = body["transcript"] or item.text, True
                self._flush()
        elif what == "delta" and not late and body.get("delta"):
            item = self._item(body["item_id"])
            item.text += body["delta"]
            if item is self._items[0]:
                self._tell_so_far(item)
        return None

    def _flush(self) -> None:
        """Tell what is complete, up to the first item that is not."""
        while self._items and self._items[0].is_done:
            item = self._items.pop(0)
            self._told.add(item.id)
            self.settled_ms = max(self.settled_ms, item.end_ms)
            text = item.text.strip()
            if text:
                self._hear(SegmentHeard(text, endpoint=item.endpoint))
            elif item.endpoint:
                self._hear(EndpointReached())
        if self._items:
            self._tell_so_far(self._items[0])
        else:
            self.finalized.set()

    def _tell_so_far(self, item: _Item) -> None:
        if item.text.strip():
            self._hear(InterimHeard(item.text.strip()))

    def _error(self, error: dict[str, Json]) -> ProviderError | None:
        for commit in self._commits:
            if commit.event_id == error.get("event_id"):
                # Nothing, or too little, was in the buffer: there are no words to come.
                self._commits.remove(commit)
                if not self._items:
                    self._stopped()
                    self._hear(EndpointReached())
                    self.finalized.set()
                return None
        return of_word(f"{error.get('code')} {error.get('type')}", self._provider)
