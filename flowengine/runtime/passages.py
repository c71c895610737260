"""Cuts documents into passages: what can be found, and read to the LLM, as one.

Pure. A passage is a stretch of one section of 120 to 200 words where there are so many; it ends at
a heading, and at the end of a paragraph where that leaves it neither too short nor too long. Read
are plain text, Markdown and HTML.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser

FEWEST_WORDS = 120
MOST_WORDS = 200
KINDS = (".txt", ".md", ".html", ".htm")
"""Endings of the files that are read. PDF is not among them: its text has no order to rely on."""

_HEADING = re.compile(r" {0,3}(#{1,6})\s+(.*?)\s*#*\s*")
_UNDERLINE = re.compile(r" {0,3}(=+|-{3,})\s*")
_FENCE = re.compile(r"\s*(```|~~~)")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_MARKS = re.compile(r"(\*\*|__|`)")
_SENTENCE = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage with where it stands; `heading` is the way of headings to it, or ""."""

    file: str
    heading: str
    text: str


@dataclass(frozen=True, slots=True)
class _Block:
    """A heading (of `level` 1 to 6) or a paragraph (0)."""

    text: str
    level: int = 0


def passages(file: str, text: str) -> Iterator[Passage]:
    """The passages of a document, in order; `file` is its name, whose ending says what it is."""
    if file.endswith(".md"):
        blocks = _of_markdown(text)
    elif file.endswith((".html", ".htm")):
        blocks = _of_html(text)
    else:
        blocks = (_Block(part) for part in re.split(r"\n\s*\n", text))
    way: list[tuple[int, str]] = []
    gathered: list[str] = []
    for block in blocks:
        words = " ".join(block.text.split())
        if not words:
            continue
        if block.level:
            yield from _cut(file, way, gathered)
            way = [item for item in way if item[0] < block.level]
            way.append((block.level, words))
            gathered = []
        else:
            gathered.append(words)
    yield from _cut(file, way, gathered)


def _cut(file: str, way: list[tuple[int, str]], paragraphs: list[str]) -> Iterator[Passage]:
    """The passages of one section."""
    heading = " > ".join(name for _, name in way)
    held: list[str] = []
    count = 0
    for piece in _pieces(paragraphs):
        size = len(piece.split())
        if held and (count >= FEWEST_WORDS or count + size > MOST_WORDS):
            yield Passage(file, heading, "\n".join(held))
            held, count = [], 0
        held.append(piece)
        count += size
    if held:
        yield Passage(file, heading, "\n".join(held))


def _pieces(paragraphs: list[str]) -> Iterator[str]:
    """Paragraphs; those that are too long by sentences, and sentences that are by words."""
    for paragraph in paragraphs:
        if len(paragraph.split()) <= MOST_WORDS:
            yield paragraph
            continue
        for sentence in _SENTENCE.split(paragraph):
            words = sentence.split()
            for start in range(0, len(words), MOST_WORDS):
                yield " ".join(words[start : start + MOST_WORDS])


def _of_markdown(text: str) -> Iterator[_Block]:
    lines: list[str] = []
    is_code = False
    for line in (*_COMMENT.sub("", text).splitlines(), ""):
        if _FENCE.match(line):
            is_code = not is_code
            continue
        heading = None if is_code else _HEADING.fullmatch(line)
        underline = None if is_code or len(lines) != 1 else _UNDERLINE.fullmatch(line)
        if underline is not None:
            yield _Block(_plain(lines.pop()), 1 if underline[1][0] == "=" else 2)
        elif heading is not None or not line.strip():
            yield _Block(_plain("\n".join(lines)))
            lines = []
            if heading is not None:
                yield _Block(_plain(heading[2]), len(heading[1]))
        else:
            lines.append(line)
    yield _Block(_plain("\n".join(lines)))


def _plain(text: str) -> str:
    """Words without the marks that nobody says."""
    return _MARKS.sub("", _LINK.sub(r"\1", text))


def _of_html(text: str) -> Iterator[_Block]:
    reader = _HtmlReader()
    reader.feed(text)
    reader.close()
    reader.end_block()
    yield from reader.blocks


class _HtmlReader(HTMLParser):
    _SILENT = frozenset({"script", "style", "nav", "template", "title", "noscript", "svg"})
    _INLINE = frozenset(
        {"a", "abbr", "b", "code", "em", "i", "mark", "s", "small", "span", "strong"}
    )

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: list[_Block] = []
        self._words: list[str] = []
        self._silent = 0
        self._level = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in self._SILENT:
            self._silent += 1
        elif tag not in self._INLINE:
            self.end_block()
            self._level = int(tag[1]) if re.fullmatch("h[1-6]", tag) else 0

    def handle_endtag(self, tag: str) -> None:
        if tag in self._SILENT:
            self._silent = max(0, self._silent - 1)
        elif tag not in self._INLINE:
            self.end_block()

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self._words.append(data)

    def end_block(self) -> None:
        """What was gathered is a heading or a paragraph."""
        text = "".join(self._words).strip()
        if text:
            self.blocks.append(_Block(text, self._level))
        self._words, self._level = [], 0
