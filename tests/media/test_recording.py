"""Recordings: both sides at their places, cuts, silence, crashes, and a bound on memory."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowengine.errors import CallError
from flowengine.media.recording import AHEAD_MS, HEADER_BYTES, LATE_MS, Recorder, read_wav

pytestmark = pytest.mark.unit

QUIET = b"\xff"


def _sides(file: io.BytesIO) -> tuple[bytes, bytes]:
    data = file.getvalue()[HEADER_BYTES:]
    return data[0::2], data[1::2]


def _ms(byte: bytes, duration_ms: int) -> bytes:
    return byte * (8 * duration_ms)


def test_both_sides_lie_on_one_timeline() -> None:
    file = io.BytesIO()
    recorder = Recorder(file)
    recorder.caller(0, _ms(b"a", 20))
    recorder.caller(40, _ms(b"b", 20))
    recorder.bot(20, _ms(b"x", 20))
    recorder.advance(100)
    recorder.close()
    caller, bot = _sides(file)
    assert caller == _ms(b"a", 20) + _ms(QUIET, 20) + _ms(b"b", 20) + _ms(QUIET, 40)
    assert bot == _ms(QUIET, 20) + _ms(b"x", 20) + _ms(QUIET, 60)


def test_the_header_of_a_closed_file_is_true() -> None:
    file = io.BytesIO()
    recorder = Recorder(file)
    recorder.caller(0, _ms(b"a", 50))
    recorder.close()
    data = file.getvalue()
    assert data[:4] == b"RIFF"
    assert struct.unpack("<I", data[4:8])[0] == len(data) - 8
    assert data[8:16] == b"WAVEfmt "
    assert struct.unpack("<IHHIIHHH", data[16:38]) == (18, 7, 2, 8000, 16000, 2, 8, 0)
    assert data[38:42] == b"fact"
    assert struct.unpack("<II", data[42:50]) == (4, 400)
    assert data[50:54] == b"data"
    assert struct.unpack("<I", data[54:58])[0] == 800
    assert len(data) == 58 + 800


def test_a_barge_in_takes_back_what_was_not_heard() -> None:
    file = io.BytesIO()
    recorder = Recorder(file)
    recorder.bot(0, _ms(b"x", 5000))
    recorder.advance(1000)
    recorder.bot_cut(1000)
    recorder.advance(3000)
    recorder.close()
    _, bot = _sides(file)
    assert bot == _ms(b"x", 1000) + _ms(QUIET, 2000)


def test_a_cut_never_reaches_back_into_the_written_part() -> None:
    file = io.BytesIO()
    recorder = Recorder(file)
    recorder.bot(0, _ms(b"x", 5000))
    recorder.advance(2000)
    recorder.bot_cut(0)
    recorder.advance(4000)
    recorder.close()
    _, bot = _sides(file)
    assert bot == _ms(b"x", 2000 - LATE_MS) + _ms(QUIET, 2000 + LATE_MS)


def test_the_bot_speaks_again_after_a_cut() -> None:
    file = io.BytesIO()
    recorder = Recorder(file)
    recorder.bot(0, _ms(b"x", 1000))
    recorder.bot_cut(200)
    recorder.bot(500, _ms(b"y", 100))
    recorder.advance(600)
    recorder.close()
    _, bot = _sides(file)
    assert bot == _ms(b"x", 200) + _ms(QUIET, 300) + _ms(b"y", 100)


def test_what_the_bot_had_ahead_at_the_end_was_not_heard() -> None:
    file = io.BytesIO()
    recorder = Recorder(file)
    recorder.bot(0, _ms(b"x", 9000))
    recorder.advance(500)
    recorder.close()
    assert _sides(file)[1] == _ms(b"x", 500)


def test_sensitive_input_is_silence_on_both_sides() -> None:
    file = io.BytesIO()
    recorder = Recorder(file)
    recorder.advance(1000)
    recorder.caller(1000, _ms(b"a", 300))
    recorder.bot(1000, _ms(b"x", 300))
    recorder.silence(True, at_ms=1100)
    recorder.advance(1500)
    recorder.silence(False, at_ms=1200)
    recorder.advance(1600)
    recorder.close()
    caller, bot = _sides(file)
    expected = _ms(b"a", 100) + _ms(QUIET, 100) + _ms(b"a", 100)
    assert caller[8000 : 8000 + 2400][:800] == expected[:800]
    assert b"a" not in caller[8800:10400]
    assert b"x" not in bot[8800:10400]


def test_silence_begins_at_the_present_by_default() -> None:
    file = io.BytesIO()
    recorder = Recorder(file)
    recorder.caller(0, _ms(b"a", 2000))
    recorder.advance(1000)
    recorder.silence(True)
    recorder.advance(1500)
    recorder.silence(False)
    recorder.advance(2000)
    recorder.close()
    assert _sides(file)[0] == _ms(b"a", 1000) + _ms(QUIET, 500) + _ms(b"a", 500)


def test_late_audio_is_counted_not_written() -> None:
    file = io.BytesIO()
    recorder = Recorder(file)
    recorder.advance(1000 + LATE_MS)
    recorder.caller(990, _ms(b"a", 20))
    recorder.close()
    assert recorder.lost_bytes == 80
    assert _sides(file)[0][8000:8080] == b"a" * 80


def test_memory_is_bounded() -> None:
    file = io.BytesIO()
    recorder = Recorder(file)
    recorder.bot(AHEAD_MS + 1000, _ms(b"x", 20))
    assert recorder.lost_bytes == 160
    for second in range(120):
        recorder.caller(second * 1000, _ms(b"a", 1000))
        recorder.advance((second + 1) * 1000)
        assert recorder.written_ms == (second + 1) * 1000 - LATE_MS
    recorder.close()
    assert _sides(file)[0] == _ms(b"a", 120_000)


def test_closing_twice_is_harmless() -> None:
    file = io.BytesIO()
    recorder = Recorder(file)
    recorder.caller(0, _ms(b"a", 20))
    recorder.close()
    once = file.getvalue()
    recorder.close()
    assert file.getvalue() == once


def test_a_file_cut_by_a_crash_is_read_to_its_last_sample(tmp_path: Path) -> None:
    path = tmp_path / "recording.wav"
    with path.open("wb") as file:
        recorder = Recorder(file)
        recorder.caller(0, _ms(b"a", 1000))
        recorder.bot(0, _ms(b"x", 1000))
        recorder.advance(1000)
    assert read_wav(path) == (_ms(b"a", 1000 - LATE_MS), _ms(b"x", 1000 - LATE_MS))
    path.write_bytes(path.read_bytes()[:-7])
    caller, bot = read_wav(path)
    assert len(caller) == len(bot) == (1000 - LATE_MS) * 8 - 4


def test_a_closed_file_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "recording.wav"
    with path.open("wb") as file:
        recorder = Recorder(file)
        recorder.caller(0, _ms(b"a", 30))
        recorder.bot(10, _ms(b"x", 10))
        recorder.close()
    caller, bot = read_wav(path)
    assert caller == _ms(b"a", 30)
    assert bot == _ms(QUIET, 10) + _ms(b"x", 10) + _ms(QUIET, 10)


@pytest.mark.parametrize("content", [b"", b"RIFF", b"\x00" * 200])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.wav"
    path.write_bytes(content)
    with pytest.raises(CallError) as caught:
        read_wav(path)
    assert caught.value.code == "recording_unreadable"


@given(
    st.lists(st.tuples(st.sampled_from("cbkn"), st.integers(0, 3000), st.integers(0, 400))),
)
def test_any_order_gives_two_sides_of_equal_length(acts: list[tuple[str, int, int]]) -> None:
    file = io.BytesIO()
    recorder = Recorder(file)
    for act, at_ms, length_ms in acts:
        if act == "c":
            recorder.caller(at_ms, _ms(b"a", length_ms))
        elif act == "b":
            recorder.bot(at_ms, _ms(b"x", length_ms))
        elif act == "k":
            recorder.bot_cut(at_ms)
        else:
            recorder.advance(at_ms)
    recorder.close()
    caller, bot = _sides(file)
    assert len(caller) == len(bot) == recorder.written_ms * 8
    assert set(caller) <= {0xFF, ord("a")}
    assert set(bot) <= {0xFF, ord("x")}
