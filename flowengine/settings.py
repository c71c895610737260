"""The engine's settings: environment variables in, one checked model out, all errors at once.

Our own are `FLOWENGINE_*`; vendors keep their own names, and every vendor has
`<VENDOR>_BASE_URL`, so that self-hosted, compatible and test servers are reached the same way.
"""

from __future__ import annotations

import difflib
import ipaddress
import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit, urlunsplit

import limits
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from flowengine.errors import ConfigError

PREFIX = "FLOWENGINE_"

_VENDOR_ENDINGS = ("_API_KEY", "_BASE_URL", "_ACCOUNT_SID", "_AUTH_TOKEN")
_LOCAL_FILES = ("FLOWENGINE_MOONSHINE_DIR",)
_NO_VERSION_IN_URL = ("ANTHROPIC_BASE_URL", "DEEPGRAM_BASE_URL", "ELEVENLABS_BASE_URL")
_FIXES = {
    "FLOWENGINE_PUBLIC_URL": "Set it to the https address under which the carrier reaches this"
    " server, for example https://phone.example.com.",
    "FLOWENGINE_DATABASE_URL": "Set it like sqlite:///flowengine-data/flowengine.db.",
    "FLOWENGINE_DATA": "Set it to a folder that this process may write.",
    "FLOWENGINE_RECORDINGS_URL": "Set it like s3://bucket/prefix.",
    "FLOWENGINE_RECORDINGS_ENDPOINT": "Set it like https://storage.example.com.",
    "FLOWENGINE_LOG_LEVEL": "Use debug, info, warning or error.",
    "FLOWENGINE_MAX_CALLS": "Use a whole number from 1 to 10000.",
    "FLOWENGINE_API_RATE": "Use a rate such as 600/minute or 20/second.",
    "FLOWENGINE_CORS_ORIGINS": "Use origins such as https://ops.example.com, without a path, and"
    " commas between them.",
    "FLOWENGINE_ALLOW_PRIVATE_TOOLS": "Use true or false.",
    "FLOWENGINE_MCP_SERVERS": 'Set it to JSON such as {"crm": {"url": "https://crm.example/mcp"}},'
    " or to the path of a .json or .toml file that holds the same.",
}


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine itself."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def socket_url(http_url: str) -> str:
    """The WebSocket address that belongs to an http(s) one: wss for https, ws for http."""
    scheme, rest = http_url.split("://", 1)
    return ("wss://" if scheme == "https" else "ws://") + rest


class McpServer(BaseModel):
    """One MCP server: a program that we run and speak to over its pipes, or an address."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    command: str = ""
    args: tuple[str, ...] = ()
    env: Mapping[str, SecretStr] = Field(default_factory=dict)
    """Added to PATH, HOME and the like; nothing else of our environment reaches the program."""
    url: str = ""
    """Streamable HTTP."""
    headers: Mapping[str, SecretStr] = Field(default_factory=dict)
    private: bool = False
    """Whether `url` may lead to this machine or its own network."""

    @model_validator(mode="after")
    def _is_one_kind(self) -> Self:
        if bool(self.command) == bool(self.url):
            raise ValueError("has either a command or a url")
        if self.url and (self.args or self.env):
            raise ValueError("has a url, with which args and env mean nothing")
        if self.command and (self.headers or self.private):
            raise ValueError("has a command, with which headers and private mean nothing")
        parts = urlsplit(self.url)
        if self.url and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise ValueError("has a url that is no http(s) address")
        return self


class Settings(BaseSettings):
    """Every setting that has a name of its own; vendors' variables are in `vendors`.

    `load_settings` is the one reader of the environment: settings that are made by hand hold
    what they were given and the defaults, nothing else.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
    )

    public_url: str = Field(default="", title="Public URL")
    """Where carriers reach us; empty: not reachable from outside."""
    database_url: str = Field(default="", title="Database URL")
    """Empty: a SQLite file in `data`."""
    data: Path = Field(default=Path("flowengine-data"), title="Data folder")
    recordings_url: str = Field(default="", title="Where recordings are kept")
    """`s3://bucket/prefix`, for the extra `s3`; empty: in `data`."""
    recordings_endpoint: str = Field(default="", title="Endpoint of that store")
    """The http(s) address of a server that speaks S3's protocol; empty: AWS's own."""
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info")
    secret_key: SecretStr = Field(default=SecretStr(""))
    """Any string; keys for tokens and values are derived from it. Empty: random per process."""
    max_calls: int = Field(default=50, ge=1, le=10_000, title="Calls at a time per process")
    api_rate: str = Field(default="600/minute", title="Requests that a key may make")
    """How often one key may ask the API, such as `600/minute` or `20/second`."""
    cors_origins: Annotated[list[str], NoDecode] = Field(
        default_factory=list, title="Origins whose pages may ask the API"
    )
    """Origins such as `https://ops.example.com`, with commas between them."""
    allow_private_tools: bool = Field(default=False, title="Tools may reach private addresses")
    """Whether requests of flows may go to this machine and its own network."""

    catalog: Path | None = Field(default=None, title="Models, prices and voices")
    """A TOML file whose entries stand in for those of flowengine's own catalog."""

    mcp_servers: Annotated[Mapping[str, McpServer], NoDecode] = Field(
        default_factory=dict, title="MCP servers"
    )
    """What a flow's `mcp` tools may name, as JSON or the path of a JSON or TOML file."""

    twilio_account_sid: str = Field(default="", validation_alias="TWILIO_ACCOUNT_SID")
    twilio_auth_token: SecretStr = Field(
        default=SecretStr(""), validation_alias="TWILIO_AUTH_TOKEN"
    )
    vendors: Mapping[str, str] = Field(default_factory=dict, repr=False)
    """Vendors' variables by name, as found in the environment."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)

    @field_validator("public_url")
    @classmethod
    def _reachable(cls, value: str) -> str:
        return _public_url(value) if value else value

    @field_validator("log_level", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @field_validator("database_url")
    @classmethod
    def _has_scheme(cls, value: str) -> str:
        if value and "://" not in value:
            raise ValueError("is no URL")
        return value

    @field_validator("recordings_url")
    @classmethod
    def _is_bucket(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (parts.scheme != "s3" or not parts.netloc):
            raise ValueError("is no address of a bucket")
        if parts.query or parts.fragment or "@" in parts.netloc:
            raise ValueError("holds more than a bucket and a prefix")
        return value

    @field_validator("recordings_endpoint")
    @classmethod
    def _is_endpoint(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise ValueError("is no http(s) address")
        return value

    @field_validator("api_rate")
    @classmethod
    def _is_rate(cls, value: str) -> str:
        try:
            limits.parse(value)
        except ValueError as error:
            raise ValueError("is no rate") from error
        return value

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _of_origins(cls, value: Any) -> Any:
        return [part.strip() for part in value.split(",")] if isinstance(value, str) else value

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: list[str]) -> list[str]:
        for origin in value:
            parts = urlsplit(origin)
            if parts.scheme not in ("http", "https") or not parts.netloc or parts.path:
                raise ValueError(f"{origin!r} is no origin")
        return value

    @field_validator("mcp_servers", mode="before")
    @classmethod
    def _of_servers(cls, value: Any) -> Any:
        return _mcp_servers(value) if isinstance(value, str) else value

    @field_validator("data")
    @classmethod
    def _is_folder(cls, value: Path) -> Path:
        if value.exists() and not value.is_dir():
            raise ValueError("is a file, not a folder")
        return value

    def provider_settings(self) -> Mapping[str, str]:
        """Vendors' variables by their own names: what providers are built from."""
        return self.vendors

    def database(self) -> str:
        """The database's URL, with its default."""
        return self.database_url or f"sqlite:///{self.data / 'flowengine.db'}"

    def notes(self) -> list[str]:
        """What somebody who starts the engine should know: what is off, and why."""
        notes = []
        if not self.secret_key.get_secret_value():
            notes.append(
                "FLOWENGINE_SECRET_KEY is not set: this process uses a random one, so calls and"
                " encrypted values do not survive a restart, and there can be one worker only."
            )
        if not self.twilio_auth_token.get_secret_value():
            notes.append("TWILIO_AUTH_TOKEN is not set: the Twilio routes are off.")
        elif not self.public_url:
            notes.append("FLOWENGINE_PUBLIC_URL is not set: the Twilio routes are off.")
        return notes


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read and check all settings; one ConfigError names everything that is wrong."""
    variables = dict(os.environ if environ is None else environ)
    vendors = {
        name: value
        for name, value in variables.items()
        if value and (name in _LOCAL_FILES or _is_vendors(name))
    }
    wrong = _wrong_vendor_urls(vendors)
    source = EnvSettingsSource(Settings)
    source.env_vars = {name.lower(): value for name, value in variables.items() if value}
    settings: Settings | None = None
    try:
        settings = Settings.model_validate({**source(), "vendors": vendors})
    except ValidationError as error:
        wrong = [_explain(str(e["loc"][0]), str(e["msg"])) for e in error.errors()] + wrong
    wrong += _misspelt(variables)
    if wrong or settings is None:
        raise ConfigError(
            "bad_settings",
            f"{len(wrong)} setting{'s are' if len(wrong) != 1 else ' is'} wrong:\n  "
            + "\n  ".join(wrong),
            where="environment",
            fix="Correct the variables named above and start again.",
        )
    return settings


def _mcp_servers(value: str) -> dict[str, McpServer]:
    """Servers from the variable itself, or from the file that it names."""
    text, is_toml = value, False
    if not value.lstrip().startswith("{"):
        try:
            text = Path(value).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"the file cannot be read ({type(error).__name__})") from error
        is_toml = value.endswith(".toml")
    try:
        document = tomllib.loads(text) if is_toml else json.loads(text)
    except ValueError as error:
        raise ValueError(f"is no {'TOML' if is_toml else 'JSON'}") from error
    if not isinstance(document, dict):
        raise ValueError("is no object of servers by name")  # noqa: TRY004 - pydantic tells it
    servers = {}
    for name, server in document.items():
        try:
            servers[name] = McpServer.model_validate(server)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in (name, *first["loc"]))
            reason = str(first["msg"]).removeprefix("Value error, ")
            raise ValueError(f"{place}: {reason[:1].lower() + reason[1:]}") from error
    return servers


def _known_names() -> frozenset[str]:
    names = set()
    for name, field in Settings.model_fields.items():
        if name != "vendors":
            alias = field.validation_alias
            names.add(alias if isinstance(alias, str) else PREFIX + name.upper())
    return frozenset(names)


def _is_vendors(name: str) -> bool:
    return not name.startswith(PREFIX) and name.endswith(_VENDOR_ENDINGS)


def _public_url(value: str) -> str:
    parts = urlsplit(value)
    host = parts.hostname
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError("is no http(s) address")
    if parts.query or parts.fragment or parts.username is not None:
        raise ValueError("holds more than scheme, host, port and path")
    if parts.scheme == "http" and not is_loopback(host):
        raise ValueError("is plain http: carriers open media streams over TLS only")
    if parts.port == 0:
        raise ValueError("has port 0")
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))


def _explain(place: str, message: str) -> str:
    name = place if place.isupper() else PREFIX + place.upper()
    reason = message.removeprefix("Value error, ")
    return f"{name}: {reason[:1].lower() + reason[1:]}. {_FIXES.get(name, '')}".rstrip()


def _wrong_vendor_urls(vendors: Mapping[str, str]) -> list[str]:
    wrong = []
    for name, value in sorted(vendors.items()):
        if not name.endswith("_BASE_URL"):
            continue
        try:
            parts = urlsplit(value)
            good = parts.scheme in ("http", "https", "ws", "wss") and bool(parts.hostname)
            good = good and parts.port != 0
        except ValueError:
            good = False
        if not good:
            wrong.append(f"{name}: is no http(s) or ws(s) address. Set it like https://host/.")
        elif name in _NO_VERSION_IN_URL and parts.path.rstrip("/").endswith("/v1"):
            wrong.append(f"{name}: ends in /v1, which is added to it. Leave /v1 out.")
    return wrong


def _misspelt(variables: Mapping[str, str]) -> list[str]:
    """Variables of ours that we do not know and that look like one that we do."""
    known = sorted(_known_names())
    wrong = []
    for name in sorted(variables):
        if name.startswith(PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.88)
            if near:
                wrong.append(f"{name}: is no setting. Did you mean {near[0]}?")
    return wrong
