"""TwiML as the phone reads it: the verbs in order, each with what the phone acts on. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.etree import ElementTree

_VERBS = frozenset(("Connect", "Redirect", "Dial", "Hangup", "Reject", "Say", "Play", "Pause"))


class BadTwiml(ValueError):
    """The document is no TwiML; the text begins with Twilio's number for that."""


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb: its own attributes, its text, and its noun (`Stream`, `Number` …) if it has one."""

    name: str
    attributes: Mapping[str, str]
    text: str = ""
    noun: str = ""
    noun_attributes: Mapping[str, str] = field(default_factory=dict)
    noun_text: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)


def read_twiml(document: str) -> list[Verb]:
    """The verbs of a `<Response>`. Raises BadTwiml."""
    if "<!DOCTYPE" in document or "<!ENTITY" in document:
        raise BadTwiml("12100 document type declarations are not taken")
    try:
        root = ElementTree.fromstring(document)
    except ElementTree.ParseError as error:
        raise BadTwiml(f"12100 bad XML: {error}") from error
    if root.tag != "Response":
        raise BadTwiml(f"12102 the root is <{root.tag}>, not <Response>")
    return [_verb(element) for element in root]


def _verb(element: ElementTree.Element) -> Verb:
    if element.tag not in _VERBS:
        raise BadTwiml(f"12200 <{element.tag}> is no verb that this phone knows")
    nouns = list(element)
    noun = nouns[0] if nouns else None
    verb = Verb(
        name=element.tag,
        attributes=dict(element.attrib),
        text=(element.text or "").strip(),
        noun=noun.tag if noun is not None else "",
        noun_attributes=dict(noun.attrib) if noun is not None else {},
        noun_text=(noun.text or "").strip() if noun is not None else "",
        parameters=_parameters(noun) if noun is not None else {},
    )
    if verb.name == "Connect":
        _check_stream(verb)
    return verb


def _parameters(noun: ElementTree.Element) -> dict[str, str]:
    parameters = {}
    for child in noun.findall("Parameter"):
        name, value = child.get("name", ""), child.get("value", "")
        if not name or len(name) + len(value) >= 500:
            raise BadTwiml("12200 a <Parameter> has a name, and with its value < 500 characters")
        parameters[name] = value
    return parameters


def _check_stream(verb: Verb) -> None:
    url = verb.noun_attributes.get("url", "")
    if verb.noun != "Stream" or not url.startswith(("wss://", "ws://")):
        raise BadTwiml("31922 <Connect> holds a <Stream> with a WebSocket url")
    if "?" in url:
        raise BadTwiml("31920 a stream's url has no query")
