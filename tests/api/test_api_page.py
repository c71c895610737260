"""The commands on the API's page, run against a served API as they stand there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import httpx2
import pytest

from tests.api.test_document import served
from tests.databases import prepared_database

pytestmark = pytest.mark.api

PAGE = Path(__file__).parents[2] / "docs" / "api.md"


def commands() -> list[list[str]]:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return [
        shlex.split(line)
        for block in blocks
        for line in block.splitlines()
        if line.startswith("curl")
    ]


def test_the_commands_on_the_page_work_in_their_order(tmp_path: Path) -> None:
    found = commands()
    assert len(found) >= 6
    with prepared_database("sqlite") as url, served(url, tmp_path) as api, httpx2.Client() as http:
        answers = []
        for words in found:
            method, headers, body, address = "GET", {}, None, ""
            rest = iter(words[1:])
            for word in rest:
                match word:
                    case "-X":
                        method = next(rest)
                    case "-H":
                        name, _, value = next(rest).partition(": ")
                        headers[name] = value.replace("$KEY", api.key)
                    case "-d":
                        body, method = next(rest), "POST" if method == "GET" else method
                    case _:
                        address = word.replace("$API", f"{api.base_url}/v1")
            answer = http.request(method, address, content=body, headers=headers)
            assert answer.is_success, (words, answer.text)
            answers.append(answer.json())
    assert answers[1]["tags"] == ["production"]
    assert answers[3]["to"] == {"flow": "front-desk", "tag": "production"}
