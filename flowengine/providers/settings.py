"""Keys and base URLs of the vendors, read from a plain mapping by their usual names.

Every vendor keeps its own names: `<VENDOR>_API_KEY` and `<VENDOR>_BASE_URL`. The mapping is
handed in (the process's environment in production, a dictionary in tests).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flowengine.errors import ConfigError

_OTHER_NAMES = {"google": "gemini"}
"""Providers whose variables bear another name."""
_SCHEMES = {"http": "ws", "https": "wss", "ws": "http", "wss": "https"}


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """What providers are made from. Keys are in `values` only and in no message or repr."""

    values: Mapping[str, str] = field(repr=False)

    def key(self, vendor: str) -> str:
        """The vendor's API key; raises ConfigError(`missing_key`) when there is none."""
        name = f"{vendor.upper()}_API_KEY"
        value = self.values.get(name, "").strip()
        if not value:
            raise ConfigError(
                "missing_key",
                f"{vendor} needs an API key and none is set",
                where=name,
                fix=f"Set {name}, or choose another provider.",
            )
        return value

    def has_key(self, provider: str) -> bool:
        """Whether a provider's key is set; nothing is said of whether it is good."""
        vendor = _OTHER_NAMES.get(provider, provider)
        return bool(self.values.get(f"{vendor.upper()}_API_KEY", "").strip())

    def is_set_up(self, provider: str) -> bool:
        """Whether a provider's key or base URL is set: servers of one's own need no key."""
        vendor = _OTHER_NAMES.get(provider, provider)
        return self.has_key(provider) or bool(self.values.get(f"{vendor.upper()}_BASE_URL"))

    def base_url(self, vendor: str, default: str) -> str:
        """The vendor's base URL without a slash at its end.

        Raises ConfigError(`bad_url`) when what is set is no http(s) or ws(s) URL.
        """
        name = f"{vendor.upper()}_BASE_URL"
        value = (self.values.get(name, "").strip() or default).rstrip("/")
        scheme, found, rest = value.partition("://")
        if not found or not rest or scheme.lower() not in _SCHEMES:
            raise ConfigError(
                "bad_url",
                f"{name} is not an http, https, ws or wss URL",
                where=name,
                fix="Give a full URL, for example http://127.0.0.1:8080.",
            )
        return value


def socket_url(base_url: str) -> str:
    """The ws(s) form of a base URL."""
    return _with_scheme(base_url, ("ws", "wss"))


def web_url(base_url: str) -> str:
    """The http(s) form of a base URL."""
    return _with_scheme(base_url, ("http", "https"))


def _with_scheme(url: str, wanted: tuple[str, str]) -> str:
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    return f"{scheme if scheme in wanted else _SCHEMES[scheme]}://{rest}"
