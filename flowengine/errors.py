"""The tree of errors that flowengine raises; every one says what, where and what to do.

FlowengineError
├── FlowError        a flow document is wrong            (where = JSON path)
├── RouteError       a routing table is wrong            (where = JSON path)
├── ConfigError      a setting is missing or wrong       (where = name of the setting)
├── CallError        a call cannot go on as asked        (where = call id)
├── ProviderError    a speech or LLM vendor failed       (where = provider; `retryable`)
├── CarrierError     a carrier failed or refused         (where = carrier; `retryable`)
└── StoreError       the call store failed               (where = what was read or written)

`code` is stable: tests, API clients and flows may rely on it. No message holds what a caller
said, keyed or is called by.
"""

from __future__ import annotations


class FlowengineError(Exception):
    """Base of all errors of flowengine.

    `code` is a stable snake_case word, `what` a sentence, `where` the place (JSON path, call id,
    provider, setting), `fix` what to do about it, `retryable` whether the same act may succeed
    when it is tried again.
    """

    def __init__(
        self,
        code: str,
        what: str,
        *,
        where: str = "",
        fix: str = "",
        retryable: bool = False,
    ) -> None:
        self.code = code
        self.what = what
        self.where = where
        self.fix = fix
        self.retryable = retryable
        super().__init__(code, what)

    def __str__(self) -> str:
        place = f" (at {self.where})" if self.where else ""
        advice = f" {self.fix}" if self.fix else ""
        return f"[{self.code}] {self.what}{place}{advice}"


class FlowError(FlowengineError):
    """A flow document does not hold what the flow language asks for."""


class RouteError(FlowengineError):
    """A routing table, or what it is asked with, does not hold what routing needs."""


class ConfigError(FlowengineError):
    """The engine's settings do not allow what was asked."""


class CallError(FlowengineError):
    """A call cannot go on as asked."""


class ProviderError(FlowengineError):
    """A provider failed; `code` is one of the kinds below.

    `auth` `quota` `rate_limit` `overloaded` `bad_request` `connect` `deadline` `stalled`
    `dropped` `protocol` `unavailable`.
    """

    retry_after_ms: int | None = None
    """For so long it asked not to be asked again."""
    is_model_unknown: bool = False
    """It does not know the model or voice: nothing is said of the others that it has."""


class CarrierError(FlowengineError):
    """A carrier failed or refused."""


class StoreError(FlowengineError):
    """The call store could not read or write."""
