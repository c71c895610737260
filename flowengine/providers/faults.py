"""What went wrong at a vendor, in the engine's own words.

Adapters turn HTTP statuses, socket closes and vendors' error objects into `ProviderError` with
these; supervision decides on `code` and `retryable` alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from flowengine.errors import ProviderError

RETRYABLE = frozenset(
    {"overloaded", "connect", "deadline", "stalled", "dropped", "protocol", "unavailable"}
)
"""Codes after which the same provider may be asked again at once."""

_FIXES = {
    "auth": "Check the API key and that it may use this model or voice.",
    "quota": "The account's credit or quota is used up; raise it.",
    "rate_limit": "The account's limit is reached; raise it or name a fallback provider.",
    "bad_request": "Check model, voice and options of this provider in the flow.",
    "connect": "Check the base URL and the network to the provider.",
}

_BY_STATUS = {
    400: "bad_request",
    401: "auth",
    402: "quota",
    403: "auth",
    404: "bad_request",
    405: "bad_request",
    408: "unavailable",
    409: "unavailable",
    413: "bad_request",
    422: "bad_request",
    429: "rate_limit",
    503: "overloaded",
    529: "overloaded",
}

_UNKNOWN_MODEL = ("model_not_found", "voice_not_found", "not_found_error")
_BY_WORD = (
    ("insufficient_quota", "quota"),
    ("quota_exceeded", "quota"),
    ("billing", "quota"),
    ("rate_limit", "rate_limit"),
    ("too_many", "rate_limit"),
    ("max_active", "rate_limit"),
    ("overloaded", "overloaded"),
    ("system_busy", "overloaded"),
    ("invalid_api_key", "auth"),
    ("api_key_invalid", "auth"),
    ("authentication", "auth"),
    ("permission", "auth"),
    ("tool_use_failed", "protocol"),  # Groq: the model wrote a tool call that nobody can read
    ("invalid_request", "bad_request"),
    ("not_found_error", "bad_request"),
    ("voice_not_found", "bad_request"),
    ("model_not_found", "bad_request"),
)


def fault(code: str, what: str, provider: str) -> ProviderError:
    """Make a ProviderError; `what` never holds what a caller or the agent said."""
    return ProviderError(
        code, what, where=provider, fix=_FIXES.get(code, ""), retryable=code in RETRYABLE
    )


def of_status(
    status: int, provider: str, word: str = "", headers: Mapping[str, str] | None = None
) -> ProviderError:
    """The error of an HTTP status; `word` is the vendor's own error code or type."""
    code = _of_word(word) if status < 500 else ""
    if not code:
        code = _BY_STATUS.get(status, "unavailable" if status >= 500 else "bad_request")
    error = fault(code, f"answered HTTP {status}", provider)
    error.is_model_unknown = status == 404 or _is_unknown_model(word)
    error.retry_after_ms = retry_after_ms(headers or {})
    return error


def retry_after_ms(headers: Mapping[str, str]) -> int | None:
    """What `retry-after-ms` or `Retry-After` (seconds, or an HTTP date) asks for; None: nothing."""
    for name, unit_ms in (("retry-after-ms", 1.0), ("retry-after", 1000.0)):
        value = headers.get(name, "").strip()
        try:
            return max(0, round(float(value) * unit_ms))
        except (ValueError, OverflowError):
            continue
    try:
        until = parsedate_to_datetime(headers.get("retry-after", ""))
    except ValueError:
        return None
    return max(0, round((until - datetime.now(UTC)).total_seconds() * 1000))


def of_word(word: str, provider: str) -> ProviderError:
    """The error of a vendor's own error code or type, met inside a stream."""
    code = _of_word(word) or "unavailable"
    error = fault(code, "reported an error inside the stream", provider)
    error.is_model_unknown = _is_unknown_model(word)
    return error


def _is_unknown_model(word: str) -> bool:
    return any(part in word.lower() for part in _UNKNOWN_MODEL)


def _of_word(word: str) -> str:
    lowered = word.lower()
    return next((code for part, code in _BY_WORD if part in lowered), "")
