"""Cuts the words of a reply, as they come from the LLM, into parts for the voice.

The first part is cut early so that the caller hears something soon; later ones are whole
sentences, which sound better. A part ends after its punctuation and the space behind it; all parts
joined are the reply, character by character. No cut lies inside a number, an amount, an e-mail
address, a URL or behind a known abbreviation.

Time is handed in: `deadline_ms` says when to `tick`.
"""

from __future__ import annotations

import re

FIRST_COMMA_CHARS = 12
FIRST_SPACE_CHARS = 60
LONGEST_CHARS = 120
IDLE_MS = 120
"""No token for so long: what is there is cut where it can be."""

LONGEST_WORD_CHARS = 1000
"""Text with no place to cut in so many characters is cut all the same."""

_NEVER_LAST = re.compile(
    r"dr|mr|mrs|ms|prof|st|mt|rev|hon|gen|col|lt|sgt|capt|gov|rep|vs|e\.g|i\.e|approx|dept"  # en
    r"|hr|fr|z\.b|d\.h|bzw|ca|tel|u\.a|inkl|zzgl|evtl|ggf"  # de
    r"|mme|mlle|p\.ex"  # fr
    r"|sra?|srta|dra|uds?|avda|p\.ej"  # es
    r"|dhr|mevr|mw|bijv|d\.w\.z|o\.a|drs"  # nl
)
"""Abbreviations that stand before something, so their full stop ends no sentence."""

_BEFORE_NUMBERS = re.compile(
    r"nos?|nr|núm|pág|p|pp|ext|fig|apt|av|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec"
)
"""Words that are abbreviations if a number follows."""

_PERHAPS_LAST = re.compile(r"a\.m|p\.m|u\.s|u\.k|etc|inc|ltd|co|corp|jr|usw|u\.s\.w|enz")
"""Abbreviations that end a sentence if a capital follows."""

_CURRENCY = "$€£¥"
_UNITS = re.compile(
    r"(?:dollars?|cents?|euros?|pounds?|pence|bucks|percent|a\.?m\b|p\.?m\b|o'clock|uhr|heures?)",
    re.IGNORECASE,
)
_ASCII_ENDS, _WIDE_ENDS = ".!?;…", "。！？；"
_ASCII_COMMAS, _WIDE_COMMAS = ",:–—", "，、："
_CLOSERS = "\"'”’)]}»」』）"
_TERMINATOR = re.compile(
    rf"(?P<mark>[{_ASCII_ENDS}{_WIDE_ENDS}]+)[{re.escape(_CLOSERS)}]*|(?P<line>\n)"
)
_COMMA = re.compile(rf"[{_ASCII_COMMAS}{_WIDE_COMMAS}][{re.escape(_CLOSERS)}]*")
_LAST_WORD = re.compile(r"[^\s(\[\"'“‘«]+$")
_ORDINAL_LANGUAGES = ("de", "da", "nb", "no", "fi", "cs", "pl", "hu")


class ClauseCutter:
    """The parts of one reply, in order. Make a new one for each reply."""

    def __init__(self, language: str = "en-US") -> None:
        self._ordinals = language.partition("-")[0].lower() in _ORDINAL_LANGUAGES
        self._text = ""
        self._is_first = True
        self._pushed_ms: int | None = None

    @property
    def deadline_ms(self) -> int | None:
        """When to call `tick` if no text comes before; None: nothing waits for time."""
        if self._pushed_ms is None or not self._idle_cut():
            return None
        return self._pushed_ms + IDLE_MS

    def push(self, text: str, now_ms: int) -> list[str]:
        """Take more of the reply; the parts that are ready."""
        if text:
            self._text += text
            self._pushed_ms = now_ms
        return self._take_ready()

    def tick(self, now_ms: int) -> list[str]:
        """The part that waited for more text for too long, if one did."""
        due = self.deadline_ms
        if due is None or now_ms < due:
            return []
        return [self._take(self._idle_cut()), *self._take_ready()]

    def finish(self) -> list[str]:
        """The reply is complete: all that is left."""
        self._pushed_ms = None
        parts = self._take_ready()
        if self._text:
            parts.append(self._take(len(self._text)))
        return parts

    def _take(self, end: int) -> str:
        part, self._text = self._text[:end], self._text[end:]
        self._is_first = self._is_first and not part.strip()
        return part

    def _take_ready(self) -> list[str]:
        parts = []
        while end := self._ready_cut():
            parts.append(self._take(end))
        return parts

    def _ready_cut(self) -> int:
        """Where the next part ends, 0 if it is not known yet."""
        cuts = [self._sentence_end(self._text)]
        if self._is_first:
            cuts.append(self._comma(FIRST_COMMA_CHARS))
            cuts.append(self._space(FIRST_SPACE_CHARS))
        early = min((cut for cut in cuts if cut), default=0)
        if (not early or early > LONGEST_CHARS) and len(self._text) > LONGEST_CHARS:
            return self._long_cut() or early
        return early

    def _long_cut(self) -> int:
        """The best place to cut a sentence that is too long."""
        commas = [end for end in self._commas() if LONGEST_CHARS // 2 <= end <= LONGEST_CHARS]
        if commas:
            return commas[-1]
        spaces = self._spaces()
        within = [end for end in spaces if end <= LONGEST_CHARS]
        if within:
            return within[-1]
        if spaces:
            return spaces[0]
        return LONGEST_WORD_CHARS if len(self._text) >= LONGEST_WORD_CHARS else 0

    def _idle_cut(self) -> int:
        """Where to cut when no more text comes for now: behind a finished sentence, or a word."""
        text = self._text
        if self._sentence_end(text + " A") == len(text) + 1:
            return len(text)
        if not self._is_first:
            return 0
        spaces = self._spaces()
        return spaces[-1] if spaces else 0

    def _sentence_end(self, text: str) -> int:
        """The end of the first sentence, with one space behind it; 0 if none is sure to end."""
        for found in _TERMINATOR.finditer(text):
            end = found.end()
            if not text[:end].strip():
                continue
            if found["line"]:
                return end
            if end == len(text):
                return 0
            if found["mark"][-1] in _WIDE_ENDS:
                return end + 1 if text[end].isspace() else end
            if text[end].isspace() and self._ends_sentence(text, found.start(), end, found["mark"]):
                return end + 1
        return 0

    def _ends_sentence(self, text: str, start: int, end: int, mark: str) -> bool:
        if mark != ".":
            return True
        word_found = _LAST_WORD.search(text[:start])
        word = word_found[0].lower() if word_found else ""
        following = text[end:].lstrip()
        if _PERHAPS_LAST.fullmatch(word):
            return following[:1].isupper()
        if _NEVER_LAST.fullmatch(word) or (len(word) == 1 and word.isalpha() and word != "i"):
            return False
        if _BEFORE_NUMBERS.fullmatch(word) and (not following or following[0].isdigit()):
            return False
        if word.isdigit() and len(word) <= 2:
            opens = not text[: start - len(word)].strip()
            return not opens and not self._ordinals and not following[:1].isdigit()
        return True

    def _comma(self, least: int) -> int:
        return next((end for end in self._commas() if end >= least), 0)

    def _commas(self) -> list[int]:
        """Where a comma, colon or dash allows a cut."""
        text, ends = self._text, []
        for found in _COMMA.finditer(text):
            end = found.end()
            if found[0][0] in _WIDE_COMMAS:
                ends.append(end)
            elif end < len(text) and text[end].isspace() and self._is_open(end):
                ends.append(end + 1)
        return ends

    def _space(self, least: int) -> int:
        return next((end for end in self._spaces() if end >= least), 0)

    def _spaces(self) -> list[int]:
        """Behind which spaces a cut is allowed."""
        text = self._text
        return [
            at + 1
            for at, char in enumerate(text)
            if char.isspace() and text[:at].strip() and self._is_open(at)
        ]

    def _is_open(self, at: int) -> bool:
        """True if the space at `at` lies neither in a number or amount nor behind a title."""
        text = self._text
        before, after = text[:at].rstrip(), text[at:].lstrip()
        if not before:
            return False
        last = before.rstrip(_ASCII_COMMAS + _CLOSERS)[-1:]
        if before[-1] in _CURRENCY or before[-1] == "+":
            return False
        if last.isdigit():
            # What follows a number must be known: it may be the rest of it, or its unit.
            if len(after) < 2 or after[0].isdigit() or after[0] in _CURRENCY + "%(+":
                return False
            return not self._is_unit(after)
        return before[-1] != "." or self._ends_sentence(text + " A", len(before) - 1, at, ".")

    def _is_unit(self, after: str) -> bool:
        """True while the word after a number is, or may still become, its unit."""
        if _UNITS.match(after):
            return True
        return not any(char.isspace() for char in after) and len(after) < len("dollars")
