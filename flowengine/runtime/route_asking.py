"""Asks the webhook that is to decide where a call goes, within its time limit.

It is asked once, over the guarded HTTP of tools, without redirects to other hosts. Whatever goes
wrong (late, refused, not JSON, no target) is the default's case, and the decision says which.
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson
import structlog

from flowengine.events import Json
from flowengine.flow.findings import Finding
from flowengine.flow.types import duration_ms
from flowengine.ports import ToolJob, ToolResult
from flowengine.runtime.route_facts import Asked, RouteFacts
from flowengine.runtime.route_reading import read_reply
from flowengine.runtime.routes import AskTarget
from flowengine.runtime.routing import Decision, Destination, NoAnswer, Router, answered
from flowengine.runtime.tools import HttpToolSpec, ToolRunner
from flowengine.runtime.webhook_signing import signed

log = structlog.get_logger(__name__)


async def route(router: Router, facts: RouteFacts, runner: ToolRunner) -> Decision:
    """Where a call goes; a webhook is asked when the table says so. Never raises."""
    decision = router.decide(facts)
    if not isinstance(decision.target, AskTarget):
        return decision
    answer = await _ask(decision.target, question(facts, decision.rule), facts, runner)
    if isinstance(answer, NoAnswer):
        log.warning("route_not_answered", rule=decision.rule, reason=answer.code)
    return answered(decision, answer)


def question(facts: RouteFacts, rule: str) -> dict[str, Json]:
    """What a webhook is told of the call."""
    call = Asked(facts)
    load = facts.load
    return {
        "call": {
            "id": facts.call_id,
            "from": call.number,
            "to": facts.called,
            "country": call.country,
        },
        "at": facts.now.isoformat(),
        "headers": dict(facts.headers),
        "metadata": dict(facts.metadata),
        "load": {"all": load.all, "number": load.number, "flows": dict(load.flows)},
        "rule": rule,
    }


async def _ask(
    target: AskTarget, asked: Mapping[str, Json], facts: RouteFacts, runner: ToolRunner
) -> Destination | NoAnswer:
    def request(secrets: Mapping[str, str]) -> HttpToolSpec:
        headers = {}
        if target.secret is not None:
            body = orjson.dumps(asked)
            headers = signed(secrets[target.secret], facts.call_id, facts.now, body)
        return HttpToolSpec(
            method="POST",
            url=target.ask,
            headers=headers,
            body=asked,
            timeout_ms=duration_ms(target.timeout),
            retry=False,
        )

    return _read(await runner.run(ToolJob(facts.call_id, "route", {}), request), target)


def _read(result: ToolResult, target: AskTarget) -> Destination | NoAnswer:
    if result.outcome == "timeout":
        return NoAnswer(result.error, f"the webhook did not answer within {target.timeout}")
    if result.error == "http_status":
        return NoAnswer(result.error, f"the webhook answered with status {result.status}")
    if result.error:
        could = "could not be asked" if result.status is None else "gave no answer that can be used"
        return NoAnswer(result.error, f"the webhook {could}")
    reply = read_reply(result.body)
    if isinstance(reply, Finding):
        return NoAnswer(reply.code, f"the webhook's answer is no target (at {reply.path})")
    return reply
