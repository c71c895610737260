"""Settings: read from the environment, all errors at once, vendors' names kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowengine.errors import ConfigError
from flowengine.settings import Settings, is_loopback, load_settings, socket_url

pytestmark = pytest.mark.unit


def test_nothing_is_needed_to_start() -> None:
    settings = load_settings({})
    assert settings.public_url == ""
    assert settings.database() == "sqlite:///flowengine-data/flowengine.db"
    assert settings.max_calls == 50
    assert dict(settings.provider_settings()) == {}


def test_own_settings_are_read_and_tidied() -> None:
    settings = load_settings(
        {
            "FLOWENGINE_PUBLIC_URL": "https://phone.example.com/prefix/",
            "FLOWENGINE_DATA": "/somewhere/else",
            "FLOWENGINE_LOG_LEVEL": "WARNING",
            "FLOWENGINE_MAX_CALLS": "7",
            "FLOWENGINE_SECRET_KEY": "x",
            "TWILIO_AUTH_TOKEN": "t",
            "TWILIO_ACCOUNT_SID": "AC1",
        }
    )
    assert settings.public_url == "https://phone.example.com/prefix"
    assert settings.data == Path("/somewhere/else")
    assert settings.log_level == "warning"
    assert settings.max_calls == 7
    assert settings.secret_key.get_secret_value() == "x"
    assert settings.twilio_auth_token.get_secret_value() == "t"
    assert settings.twilio_account_sid == "AC1"
    assert settings.notes() == []


def test_an_empty_variable_is_an_unset_one() -> None:
    assert load_settings({"FLOWENGINE_MAX_CALLS": "", "OPENAI_API_KEY": ""}) == load_settings({})


def test_secrets_are_not_shown() -> None:
    settings = load_settings(
        {"FLOWENGINE_SECRET_KEY": "hush-1", "TWILIO_AUTH_TOKEN": "hush-2", "X_API_KEY": "hush-3"}
    )
    assert "hush" not in repr(settings)


def test_vendors_keep_their_own_names() -> None:
    given = {
        "OPENAI_API_KEY": "k",
        "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
        "DEEPGRAM_BASE_URL": "ws://127.0.0.1:9",
        "ACME_SPEECH_API_KEY": "an outside provider's",
    }
    settings = load_settings({**given, "PATH": "/bin", "FLOWENGINE_LOG_LEVEL": "info"})
    assert dict(settings.provider_settings()) == given


def test_every_error_is_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(
            {
                "FLOWENGINE_PUBLIC_URL": "http://phone.example.com",
                "FLOWENGINE_MAX_CALLS": "many",
                "FLOWENGINE_LOG_LEVEL": "loud",
                "FLOWENGINE_DATABASE_URL": "a-file.db",
                "FLOWENGINE_DATABSE_URL": "sqlite:///x.db",
                "DEEPGRAM_BASE_URL": "http://127.0.0.1:9/v1",
                "ELEVENLABS_BASE_URL": "no url",
            }
        )
    assert caught.value.code == "bad_settings"
    assert caught.value.what.startswith("7 settings are wrong")
    lines = caught.value.what.splitlines()[1:]
    named = {line.strip().partition(":")[0]: line for line in lines}
    assert set(named) == {
        "FLOWENGINE_PUBLIC_URL",
        "FLOWENGINE_MAX_CALLS",
        "FLOWENGINE_LOG_LEVEL",
        "FLOWENGINE_DATABASE_URL",
        "FLOWENGINE_DATABSE_URL",
        "DEEPGRAM_BASE_URL",
        "ELEVENLABS_BASE_URL",
    }
    assert "Use a whole number" in named["FLOWENGINE_MAX_CALLS"]
    assert "Did you mean FLOWENGINE_DATABASE_URL?" in named["FLOWENGINE_DATABSE_URL"]
    assert "Leave /v1 out" in named["DEEPGRAM_BASE_URL"]


@pytest.mark.parametrize(
    "url",
    [
        "phone.example.com",
        "ftp://phone.example.com",
        "http://phone.example.com",
        "http://192.168.0.5:8080",
        "https://user@phone.example.com",
        "https://phone.example.com/?a=b",
        "https://phone.example.com/#top",
        "https://",
        "https://phone.example.com:0",
        "https://phone.example.com:banana",
    ],
)
def test_a_public_url_that_no_carrier_can_use_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="FLOWENGINE_PUBLIC_URL"):
        load_settings({"FLOWENGINE_PUBLIC_URL": url})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.8.8.8"])
def test_plain_http_is_for_this_machine(host: str) -> None:
    settings = load_settings({"FLOWENGINE_PUBLIC_URL": f"http://{host}:8080"})
    assert socket_url(settings.public_url) == f"ws://{host}:8080"


def test_a_socket_is_as_safe_as_its_page() -> None:
    assert socket_url("https://phone.example.com/x") == "wss://phone.example.com/x"


def test_loopback_is_told_from_the_rest() -> None:
    assert is_loopback("::1") and is_loopback("localhost")
    assert not is_loopback("10.0.0.1") and not is_loopback("localhost.example.com")


def test_a_file_is_no_data_folder(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ConfigError, match="FLOWENGINE_DATA: is a file"):
        load_settings({"FLOWENGINE_DATA": str(file)})


def test_start_says_what_is_off() -> None:
    assert [note.split()[0] for note in Settings().notes()] == [
        "FLOWENGINE_SECRET_KEY",
        "TWILIO_AUTH_TOKEN",
    ]
    assert [note.split()[0] for note in load_settings({"TWILIO_AUTH_TOKEN": "t"}).notes()] == [
        "FLOWENGINE_SECRET_KEY",
        "FLOWENGINE_PUBLIC_URL",
    ]


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWENGINE_MAX_CALLS", "9")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    settings = load_settings()
    assert settings.max_calls == 9
    assert settings.provider_settings()["ANTHROPIC_API_KEY"] == "k"


SERVERS = """{"crm": {"command": "crm-mcp", "args": ["-q"], "env": {"TOKEN": "hush"}},
"shop": {"url": "https://shop.example/mcp", "headers": {"Authorization": "hush"}}}"""
TOML = """
[crm]
command = "crm-mcp"
args = ["-q"]
env = { TOKEN = "hush" }
[shop]
url = "https://shop.example/mcp"
headers = { Authorization = "hush" }
"""


def test_mcp_servers_are_json_or_a_file(tmp_path: Path) -> None:
    json_file, toml_file = tmp_path / "servers.json", tmp_path / "servers.toml"
    json_file.write_text(SERVERS)
    toml_file.write_text(TOML)
    read = [
        load_settings({"FLOWENGINE_MCP_SERVERS": str(value)}).mcp_servers
        for value in (SERVERS, json_file, toml_file)
    ]
    assert read[0] == read[1] == read[2]
    assert list(read[0]) == ["crm", "shop"]
    assert read[0]["crm"].env["TOKEN"].get_secret_value() == "hush"
    assert "hush" not in repr(read[0])


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("no/such/file.json", "the file cannot be read (FileNotFoundError)"),
        ("{nonsense", "is no JSON"),
        ('{"crm": {"comand": "x"}}', "crm.comand: extra inputs are not permitted"),
        ('{"crm": {}}', "crm: has either a command or a url"),
        ('{"crm": {"url": "ftp://x"}}', "crm: has a url that is no http(s) address"),
        ('{"crm": {"url": "https://x", "args": ["hush"]}}', "crm: has a url, with which args"),
        ('{"crm": {"command": "x", "private": true}}', "crm: has a command, with which headers"),
        ('{"crm": 3}', "crm: input should be a valid dictionary"),
    ],
)
def test_mcp_servers_that_are_wrong_are_named(value: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings({"FLOWENGINE_MCP_SERVERS": value})
    assert f"FLOWENGINE_MCP_SERVERS: {reason}" in str(caught.value)
    assert "hush" not in str(caught.value)
