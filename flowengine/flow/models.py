"""The base of every model of the flow document: frozen, and an unknown key is an error."""

from __future__ import annotations

from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    PlainSerializer,
    SerializationInfo,
)
from pydantic_core import core_schema

_scalars = frozenset({"bool", "int", "float", "str"})


def _make_strict(schema: Any) -> None:
    if isinstance(schema, dict):
        kind = schema.get("type")
        if isinstance(kind, str) and kind in _scalars:
            schema["strict"] = True
        for key, part in schema.items():
            if key != "serialization":
                _make_strict(part)
    elif isinstance(schema, (list, tuple)):
        for part in schema:
            _make_strict(part)


class FlowModel(BaseModel):
    """A part of the document. Build one with `model_validate` (keys as written in JSON)."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Make scalars strict: in a flow `"5"` is no number and `"yes"` is no boolean."""
        schema = handler(source)
        _make_strict(schema)
        return schema

    def written(self) -> dict[str, Any]:
        """The part as JSON, with the keys that were written."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


def _dump_part(part: FlowModel, info: SerializationInfo) -> dict[str, Any]:
    return part.model_dump(
        mode=info.mode, by_alias=bool(info.by_alias), exclude_unset=info.exclude_unset
    )


as_part = PlainSerializer(_dump_part)
"""Writes a field that holds one of several models by the model that it really holds."""
