"""Brings a command to the call it is for: in this process at once, in another by the store.

A process looks for commands while it holds calls, and not otherwise. A command is acted on once:
whoever holds the call takes it first; whoever asked takes back what nobody took in time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import cast

import structlog

from flowengine.commands import Command
from flowengine.errors import CallError, StoreError
from flowengine.events import from_json, to_json
from flowengine.ids import CallId
from flowengine.ports import CommandPost, PostedCommand
from flowengine.runtime.call import Call

LOOK_S = 0.2
"""How often a process that holds calls looks for commands."""
ASK_S = 0.05
"""How often whoever asked looks for the answer."""
REACH_S = 3.0
"""For so long somebody may take a command."""
ANSWER_S = 2.0
"""A call that took a command answers within this time: its actor is never longer in one step."""

log = structlog.get_logger(__name__)


class Reach:
    """One process's way to the calls of all."""

    def __init__(self, calls: Mapping[CallId, Call], post: CommandPost | None) -> None:
        """`calls`: those that this process holds, now and later."""
        self._calls = calls
        self._post = post
        self._looking: asyncio.Task[None] | None = None
        self._acting: set[asyncio.Task[None]] = set()

    async def ask(self, project_id: str, call_id: CallId, command: Command) -> str:
        """Ask something of a call: "" when it does it, else why not.

        Raises CallError(`call_not_reached`) when no process took it, StoreError.
        """
        call = self._calls.get(call_id)
        if call is not None:
            return await _asked(call, command)
        if self._post is None:
            raise _not_reached(call_id)
        post, command_id = self._post, command.command
        await post.put(PostedCommand(command_id, project_id, call_id, to_json(command)))
        answer = await self._await_answer(command_id, REACH_S)
        if answer is None and not await post.withdraw(command_id):
            answer = await self._await_answer(command_id, ANSWER_S)
        if answer is None:
            raise _not_reached(call_id)
        return answer

    def begin(self) -> None:
        """A call is held from now on: look for commands as long as there is one."""
        if self._post is not None and (self._looking is None or self._looking.done()):
            self._looking = asyncio.create_task(self._look())

    async def close(self) -> None:
        """Look no more."""
        tasks = [*self._acting, *(() if self._looking is None else (self._looking,))]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _await_answer(self, command_id: str, limit_s: float) -> str | None:
        loop = asyncio.get_running_loop()
        until_s = loop.time() + limit_s
        while self._post is not None and loop.time() < until_s:
            await asyncio.sleep(ASK_S)
            answer = await self._post.answered(command_id)
            if answer is not None:
                return answer
        return None

    async def _look(self) -> None:
        while self._calls:
            try:
                await self._take()
            except StoreError as error:
                log.warning("commands_not_read", code=error.code)
            await asyncio.sleep(LOOK_S)

    async def _take(self) -> None:
        if self._post is None:
            return
        for posted in await self._post.waiting():
            call = self._calls.get(posted.call_id)
            if call is not None and await self._post.take(posted.id):
                task = asyncio.create_task(self._act(self._post, call, posted))
                self._acting.add(task)
                task.add_done_callback(self._acting.discard)

    async def _act(self, post: CommandPost, call: Call, posted: PostedCommand) -> None:
        try:
            command = cast("Command", from_json(posted.body))
            refused = await _asked(call, command)
        except (KeyError, ValueError):
            refused = "unknown_command"  # of a process of another version
        except CallError:
            return  # whoever asked hears that it was not reached
        try:
            await post.answer(posted.id, refused)
        except StoreError as error:
            log.warning("command_not_answered", call=posted.call_id, code=error.code)


async def _asked(call: Call, command: Command) -> str:
    try:
        async with asyncio.timeout(ANSWER_S):
            return await call.steer(command)
    except TimeoutError as error:
        raise _not_reached(call.id) from error


def _not_reached(call_id: CallId) -> CallError:
    return CallError(
        "call_not_reached",
        "No process that holds this call answered in time; nothing was done.",
        where=call_id,
        fix="Its process may have died: the call goes on elsewhere, or ends. Ask again.",
        retryable=True,
    )
