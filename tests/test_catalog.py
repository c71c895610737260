"""The data file of models and prices: what it says, what it costs, what an operator may change."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from flowengine.assurance.cost import call_cost, dollars
from flowengine.catalog import Catalog, CostLine, cost_of, load_catalog, shipped
from flowengine.errors import ConfigError
from flowengine.events import Usage, UsageCounted

pytestmark = pytest.mark.unit

DAY = date(2026, 11, 26)


def test_every_entry_says_where_it_comes_from_and_stands_once() -> None:
    catalog = shipped()
    keys = [(item.provider, item.kind, item.name) for item in catalog.models]
    assert len(keys) == len(set(keys))
    assert all(item.source for item in catalog.models)
    ordinary = [(item.provider, item.kind) for item in catalog.models if item.default]
    assert len(ordinary) == len(set(ordinary)), "one ordinary model of a vendor and kind"


def test_voices_have_one_name_each_and_the_ordinary_ones_are_there() -> None:
    catalog = shipped()
    names = [(item.provider, item.name) for item in catalog.voices]
    assert len(names) == len(set(names))
    for voice in catalog.voices:
        if voice.provider == "deepgram":
            assert voice.id == f"aura-2-{voice.name}-{voice.language}"
            assert catalog.model("deepgram", "tts", voice.id) is not None
    speaking = {item.provider for item in catalog.models if item.kind == "tts"}
    assert all(catalog.default_voice(provider) for provider in speaking)


def test_no_ordinary_model_was_gone_on_the_day_of_the_file() -> None:
    catalog = shipped()
    for model in catalog.models:
        if model.default:
            assert model.sunset is None or model.sunset > catalog.checked, model.name


@pytest.mark.parametrize(
    ("usage", "at", "micro_usd"),
    [
        # 1500 × 0.10 + 60 × 0.50
        (Usage("openai", "gpt-6-luna", "tokens", 1500, 60), DAY, 180),
        # 500 × 0.10 + 1000 × 0.01 + 60 × 0.50
        (Usage("openai", "gpt-6-luna", "tokens", 1500, 60, cached_in=1000), DAY, 90),
        # above 272,000 all of it is dearer: 300,000 × 0.20 + 100 × 0.75
        (Usage("openai", "gpt-6-luna", "tokens", 300_000, 100), DAY, 60_075),
        # 100 × 1 + 4000 × 0.10 + 300 × 1.25 + 200 × 2 + 50 × 5
        (
            Usage(
                "anthropic",
                "claude-haiku-4-5",
                "tokens",
                4600,
                50,
                cached_in=4000,
                cache_write_in=300,
                cache_write_1h_in=200,
            ),
            DAY,
            1525,
        ),
        # the price of gemini-3.8-flash doubles with the year
        (Usage("google", "gemini-3.8-flash", "tokens", 1000, 100), date(2026, 12, 31), 1125),
        (Usage("google", "gemini-3.8-flash", "tokens", 1000, 100), date(2027, 1, 1), 2250),
        # 90 s at 0.0048 a minute
        (Usage("deepgram", "nova-3", "audio_ms", 90_000), DAY, 7200),
        # 400 characters at 40 a million
        (Usage("elevenlabs", "eleven_flash_v2_5", "characters", 400), DAY, 16_000),
        (Usage("deepgram", "aura-2-thalia-en", "characters", 100), DAY, 3000),
        # 90 s at 0.0048 + 0.0013 + 0.0020 a minute
        (
            Usage("deepgram", "nova-3", "audio_ms", 90_000, add_ons=("diarize", "keyterm")),
            DAY,
            12_150,
        ),
        # up to 272,000 it is the plain price, for all of it
        (Usage("openai", "gpt-6-luna", "tokens", 272_000, 100), DAY, 27_250),
        # above 100,000: 1000 × 0.50 + 99,001 × 0.05 + 10 × 2.50 = 5475.05
        (
            Usage("anthropic", "claude-haiku-5-5", "tokens", 100_001, 10, cached_in=99_001),
            DAY,
            5475,
        ),
        # a snapshot is the model that it is of
        (Usage("openai", "gpt-6-luna-2026-08-07", "tokens", 1500, 60), DAY, 180),
        # 40 × 4 + 10 × 0.40 + 500 × 32 + 100 × 0.40 + 20 × 24 + 300 × 64
        (
            Usage(
                "openai",
                "gpt-realtime-2.1",
                "tokens",
                650,
                320,
                cached_in=10,
                audio_in=600,
                cached_audio_in=100,
                audio_out=300,
            ),
            DAY,
            35_884,
        ),
        # 20 × 0.60 + 500 × 12
        (Usage("openai", "gpt-4o-mini-tts", "tokens", 20, 500, audio_out=500), DAY, 6012),
        # the price of a minute says nothing of tokens, nor the price of text of audio
        (Usage("openai", "gpt-transcribe", "tokens", 100, 20, audio_in=90), DAY, None),
        (Usage("openai", "gpt-6-luna", "tokens", 100, 20, audio_in=90), DAY, None),
        (Usage("deepgram", "nova-3", "audio_ms", 1000, add_ons=("entities",)), DAY, None),
        (Usage("local", "moonshine", "audio_ms", 5000), DAY, 0),
        (Usage("openai", "gpt-7", "tokens", 10, 10), DAY, None),
        (Usage("deepgram", "flux-alexis-en", "characters", 100), DAY, None),
    ],
)
def test_a_usage_costs_what_was_calculated_by_hand(
    usage: Usage, at: date, micro_usd: int | None
) -> None:
    assert cost_of(usage, shipped(), at).micro_usd == micro_usd


def test_a_call_s_cost_tells_waste_and_what_has_no_price() -> None:
    facts = [
        (0, UsageCounted(Usage("openai", "gpt-6-luna", "tokens", 1500, 60))),
        (1, UsageCounted(Usage("openai", "gpt-6-luna", "tokens", 500, 0))),
        (
            2,
            UsageCounted(
                Usage("openai", "gpt-6-luna", "tokens", 1000, 0, estimated=True, wasted=True)
            ),
        ),
        (3, UsageCounted(Usage("nobody", "x", "tokens", 1, 1))),
    ]
    found = call_cost(facts, shipped(), DAY)
    assert (found.micro_usd, found.wasted_micro_usd, found.is_whole) == (330, 100, False)
    assert [line.micro_usd for line in found.lines] == [None, 230, 100]
    text = found.to_text()
    assert "0.000330 USD in all and what has no price, of it 0.000100 in vain" in text
    assert "estimated wasted" in text and "unknown_model" in text
    assert found.to_json()["lines"][0]["reason"] == "unknown_model"


def test_micro_dollars_are_written_to_the_last() -> None:
    assert [dollars(amount) for amount in (0, 7, 1_000_000, 12_345_678)] == [
        "0.000000",
        "0.000007",
        "1.000000",
        "12.345678",
    ]


def test_an_operator_s_entries_stand_in_for_ours(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(
        '[[models]]\nprovider = "openai"\nkind = "llm"\nname = "house"\ndefault = true\n'
        'prices = [{ in = "1", out = "2" }]\n'
        '[[models]]\nprovider = "deepgram"\nkind = "stt"\nname = "nova-3"\n'
        'prices = [{ minute = "0.0042" }]\n'
        '[[voices]]\nprovider = "elevenlabs"\nid = "our-own-clone-0001"\nname = "ada"\n'
        'gender = "female"\ndefault = true\n'
    )
    catalog = load_catalog(own)
    assert catalog.default_model("openai", "llm") == "house"
    assert catalog.default_voice("elevenlabs") == "our-own-clone-0001"
    cost: CostLine = cost_of(Usage("deepgram", "nova-3", "audio_ms", 60_000), catalog, DAY)
    assert cost.micro_usd == 4200
    assert catalog.model("openai", "llm", "gpt-6-luna") is not None, "the rest is still there"
    assert catalog.default_model("deepgram", "stt") == "nova-3", "it said nothing of that"
    assert catalog.voice("elevenlabs", "Ada") is not None


def test_the_page_s_example_is_a_catalog(tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "catalog.md").read_text(encoding="utf-8")
    own = tmp_path / "own.toml"
    own.write_text(page.partition("```toml\n")[2].partition("```")[0], encoding="utf-8")
    catalog = load_catalog(own)
    assert catalog.default_model("llama", "llm") == "llama3.3"
    assert catalog.default_model("deepgram", "stt") == "nova-3"
    assert catalog.voice("elevenlabs", "ada") is not None
    assert catalog.checked == date(2026, 11, 26)
    free = cost_of(Usage("llama", "llama3.3", "tokens", 10, 10), catalog, DAY)
    assert (free.micro_usd, free.reason) == (0, "")


def test_a_price_may_be_written_as_a_number(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(
        '[[models]]\nprovider = "openai"\nkind = "llm"\nname = "house"\n'
        "prices = [{ in = 0.1, out = 0.2 }]\n"
    )
    usage = Usage("openai", "house", "tokens", 3, 1)
    model = load_catalog(own).model("openai", "llm", "house")
    assert model is not None and model.prices[0].in_ == Decimal("0.1")
    assert cost_of(usage, load_catalog(own), DAY).micro_usd == 1, "0.5 is rounded up"


@pytest.mark.parametrize(
    ("text", "code", "names"),
    [
        ("models = [", "bad_catalog", "TOML"),
        ('[[models]]\nprovider = "x"\nkind = "llm"\n', "bad_catalog", "models.0.name"),
        (
            '[[models]]\nprovider = "x"\nkind = "llm"\nname = "y"\nprices = [{ inn = "1" }]\n',
            "bad_catalog",
            "models.0.prices.0.inn",
        ),
        (
            '[[models]]\nprovider = "x"\nkind = "llm"\nname = "y"\nprices = [{ in = "-1" }]\n',
            "bad_catalog",
            "models.0.prices.0.in (y)",
        ),
        (
            '[[models]]\nprovider = "x"\nkind = "llm"\nname = "y"\n' * 2,
            "bad_catalog",
            "x llm y stands twice",
        ),
        (
            "".join(
                f'[[models]]\nprovider = "x"\nkind = "llm"\nname = "{name}"\ndefault = true\n'
                for name in "yz"
            ),
            "bad_catalog",
            "x llm has two default models",
        ),
        ('[[models]]\nprovider = "x"\nkind = "ear"\nname = "y"\n', "bad_catalog", "models.0.kind"),
    ],
)
def test_a_broken_file_is_told_with_its_place(
    tmp_path: Path, text: str, code: str, names: str
) -> None:
    own = tmp_path / "own.toml"
    own.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_catalog(own)
    assert caught.value.code == code
    assert names in caught.value.what
    with pytest.raises(ConfigError) as caught:
        load_catalog(tmp_path / "none.toml")
    assert caught.value.code == "no_catalog"


def test_a_voice_is_matched_by_sound_and_language() -> None:
    catalog = shipped()
    rachel, george = catalog.voice("elevenlabs", "Rachel"), catalog.voice("elevenlabs", "george")
    assert rachel is not None and catalog.voice("elevenlabs", rachel.id) == rachel
    assert catalog.nearest_voice("deepgram", rachel, "en-US") == "aura-2-thalia-en"
    assert catalog.nearest_voice("deepgram", george, "en-US") == "aura-2-apollo-en"
    assert catalog.nearest_voice("deepgram", george, "nl-NL") == "aura-2-sander-nl"
    assert catalog.nearest_voice("openai", None, "nl-NL") == "alloy"
    assert catalog.nearest_voice("nobody", rachel, "en-US") == ""


def test_a_model_goes_soon_within_ninety_days() -> None:
    model = shipped().model("openai", "llm", "gpt-4o-mini")
    assert model is not None and model.sunset is not None
    assert model.goes_soon(model.sunset - timedelta(days=90))
    assert not model.goes_soon(model.sunset - timedelta(days=91))
    assert model.goes_soon(model.sunset + timedelta(days=1))


def test_a_family_s_longest_name_counts() -> None:
    catalog = Catalog.model_validate(
        {
            "checked": DAY,
            "models": [
                {"provider": "d", "kind": "tts", "name": "a-", "prefix": True},
                {"provider": "d", "kind": "tts", "name": "a-2-", "prefix": True},
            ],
        }
    )
    found = catalog.model("d", "tts", "a-2-x")
    assert found is not None and found.name == "a-2-"
    assert catalog.model("d", "tts", "b") is None
