"""Making calls."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Response
from pydantic import Field

from flowengine.api.access import CallMaker
from flowengine.api.problems import Refused, Wrong, of_error, refusals
from flowengine.api.routes import Body, group
from flowengine.api.service import Service, TheService
from flowengine.api.texts import JsonObject, PlainText
from flowengine.errors import CallError, CarrierError
from flowengine.flow.scope import CallFacts
from flowengine.ports import CallRow
from flowengine.runtime.caller import country
from flowengine.runtime.inputs import sealed_inputs, wrong_inputs
from flowengine.runtime.placing import Order
from flowengine.runtime.supervisor import Begin
from flowengine.store.audit import note
from flowengine.store.keys import Holder
from flowengine.store.tables import Number

router = group("calls")

E164 = Annotated[str, Field(pattern=r"^\+[1-9][0-9]{5,14}$")]
RETRY_S = 2


class NewCall(Body):
    """A call to be made."""

    flow: Annotated[PlainText, Field(min_length=1, max_length=100)] = Field(examples=["reminder"])
    version: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = Field(
        default=None, description="A published version; null: the tag's, or the newest."
    )
    tag: Annotated[PlainText, Field(max_length=100)] = Field(default="", examples=["production"])
    to: E164 = Field(examples=["+33612345678"])
    from_: E164 = Field(alias="from", examples=["+33123456789"])
    variables: JsonObject = Field(
        default_factory=dict,
        description="The flow's declared inputs; each is held against its declaration.",
        examples=[{"name": "Ada"}],
    )
    metadata: JsonObject = Field(
        default_factory=dict, description="Kept with the call, and not looked at."
    )
    ring_s: int = Field(default=30, ge=5, le=600, description="How long it may ring.")


class CallMade(Body):
    """A call that is being made."""

    id: str
    status: str = Field(description="What comes of it: GET /v1/calls/{id}, or its live events.")
    direction: Literal["outbound"] = "outbound"
    carrier: str
    flow: str
    flow_version: int | None
    version: str = Field(description="The hash of the flow that the call is pinned to.")
    to: str
    from_: str = Field(serialization_alias="from")


@router.post(
    "/calls",
    status_code=201,
    response_model=CallMade,
    responses=refusals(404, 409, 502),
)
async def place(
    service: TheService, by: CallMaker, body: NewCall, response: Response
) -> CallMade | Response:
    """Make a call that runs a flow.

    It is stored before the carrier is asked. An answer 502 says that the carrier did not make it:
    the call is then `failed`. With `placing_unknown` nobody knows whether it rings; who answers is
    hung up, and the same idempotency key gets the same answer.
    """
    if body.version is not None and body.tag:
        raise Refused(
            422,
            "version_or_tag",
            "A call runs a version or what a tag names, not both.",
            where="/tag",
            fix="Leave one of them out.",
        )
    await _refuse_others_number(service, by, body.from_)
    begin = await _begin(service, by, body)
    try:
        row = await service.engine.placing.place(Order(begin, body.from_, body.to, body.ring_s))
    except CarrierError as error:
        return _not_made(error)
    except CallError as error:
        raise Refused(
            503,
            error.code,
            error.what,
            fix=error.fix,
            headers={"retry-after": str(RETRY_S)},
        ) from error
    async with service.database.writing(by.project_id) as session:
        told = {"flow": row.flow_id, "flow_version": row.flow_version}
        note(session, by, service.now(), "call.placed", f"call/{row.id}", told)
    response.headers["location"] = f"/v1/calls/{row.id}"
    return _shown(row)


async def _refuse_others_number(service: Service, by: Holder, number: str) -> None:
    """A number of this server is shown by its own project's calls only."""
    async with service.database.reading(None) as session:
        row = await session.get(Number, number)
    if row is not None and row.project_id != by.project_id:
        raise Refused(
            422,
            "not_your_number",
            "This number belongs to somebody else on this server.",
            where="/from",
            fix="Call from a number of this project.",
        )


async def _begin(service: Service, by: Holder, body: NewCall) -> Begin:
    """What the call runs, its inputs checked. Raises Refused, FlowError, StoreError."""
    engine = service.engine
    begin = await engine.begin(
        by.project_id, body.flow, number=body.version, tag=body.tag, metadata=body.metadata
    )
    facts = CallFacts("", "outbound", body.from_, body.to, country=country(body.to))
    wrong = wrong_inputs(begin.program, body.variables, facts, service.now())
    if wrong:
        raise Refused(
            422,
            "bad_variables",
            f"{len(wrong)} of the flow's inputs cannot be taken.",
            where="/variables",
            fix="See `errors`; the flow's document declares its inputs.",
            errors=[
                Wrong(path=f"/variables/{_escaped(one.name)}", message=one.message, code=one.code)
                for one in wrong
            ],
        )
    variables = sealed_inputs(begin.program, body.variables, service.cipher)
    return Begin(
        begin.program,
        begin.document,
        begin.project_id,
        begin.flow_version,
        variables,
        begin.metadata,
    )


def _not_made(error: CarrierError) -> Response:
    """The carrier did not make the call, or nobody knows."""
    if error.code == "cannot_place":
        raise Refused(409, error.code, error.what, fix=error.fix) from error
    refused = of_error(error)
    if error.code == "placing_unknown":
        # An answer, not a refusal: it is kept with the idempotency key, so that a request which
        # is repeated does not make a second call.
        return refused.response()
    raise refused from error


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _shown(row: CallRow) -> CallMade:
    return CallMade(
        id=row.id,
        status=row.status,
        carrier=row.carrier,
        flow=row.flow_id,
        flow_version=row.flow_version,
        version=row.version,
        to=row.to_number,
        from_=row.from_number,
    )
