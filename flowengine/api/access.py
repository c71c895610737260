"""Who asks and what they may: `Authorization: Bearer fe_…`, one scope for each route."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import HTTPConnection

from flowengine.api.problems import Refused
from flowengine.api.service import Service, TheService
from flowengine.store.keys import Holder, Scope, holder_of

_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="key",
    description="A key of the API: `Authorization: Bearer fe_…`.",
)


async def holder(connection: HTTPConnection, service: Service) -> Holder:
    """Whose key the request carries. Raises Refused(401)."""
    known: Holder | None = getattr(connection.state, "holder", None)
    if known is not None:
        return known
    scheme, _, text = connection.headers.get("authorization", "").partition(" ")
    found = None
    if scheme.lower() == "bearer":
        found = await holder_of(service.database, text.strip(), service.now())
    if found is None:
        raise Refused(
            401,
            "bad_key",
            "The request carries no key that is good here.",
            fix="Send `Authorization: Bearer fe_…` with a key that is neither revoked nor too old.",
            headers={"www-authenticate": "Bearer"},
        )
    connection.state.holder = found
    return found


class _Needs:
    """A dependency that lets in keys of one scope."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    async def __call__(
        self,
        connection: HTTPConnection,
        service: TheService,
        _shown: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
    ) -> Holder:
        found = await holder(connection, service)
        if not found.may(self._scope):
            raise missing_scope(self._scope)
        return found


def missing_scope(scope: str) -> Refused:
    """Refuse a key that may not do this."""
    return Refused(
        403,
        "missing_scope",
        f"This key does not have the scope {scope!r}.",
        fix="Use another key, or have an admin make one with that scope.",
    )


Reader = Annotated[Holder, Depends(_Needs("read"))]
CallMaker = Annotated[Holder, Depends(_Needs("call"))]
Editor = Annotated[Holder, Depends(_Needs("edit"))]
Admin = Annotated[Holder, Depends(_Needs("admin"))]


async def _operator(found: Admin) -> Holder:
    if not found.is_operator:
        raise Refused(
            403,
            "operator_only",
            "Only an admin key of the first project may do this.",
            fix="Ask who runs this server.",
        )
    return found


Operator = Annotated[Holder, Depends(_operator)]
