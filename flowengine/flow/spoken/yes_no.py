"""Yes and no, in English and the basic words of German, French, Spanish and Dutch.

The whole answer must consist of phrases that agree: "yes, that's right" is a yes, "yes and no" is
nothing, and neither is "yes, but on Monday".
"""

from __future__ import annotations

import re

from flowengine.flow.spoken.words import plain

_YES = (
    "yes|yeah|yep|yup|ya|yea|aye|sure|sure thing|sure is|ok|okay|of course|certainly|absolutely"
    "|definitely|indeed|correct|right|exactly|true|affirmative|please do|go ahead|sounds good"
    "|that's right|that is right|that's correct|that is correct|that's it|that's fine|that is fine"
    "|that's good|that works|works for me|it is|it's right|it's correct|it is correct|i do|i am"
    "|i would|i'd like that|i would like that|i'd love to|i'd like to|i would like to|i have|i did"
    "|i can|i will|you can|we do|we are|very much|perfect|great|fine|good|all right|alright|uh huh"
    "|uh-huh|mm hmm|mhm|mm-hmm|you bet|you got it|no problem|not a problem|i think so|i believe so"
    "|i guess so|i agree|agreed|confirmed|confirm|by all means|why not|yes indeed"
)
_NO = (
    "no|nope|nah|nay|no way|not really|not at all|not now|not today|not yet|not right now|never"
    "|negative|incorrect|wrong|false|that's wrong|that is wrong|that's not right|that isn't right"
    "|that is not right|that's not correct|that isn't correct|that is not correct|that's incorrect"
    "|it is not|it's not|it isn't|it's wrong|not correct|not right|not true|i don't|i do not"
    "|i'm not|i am not|i wouldn't|i would not|i'd rather not|i would rather not|i haven't|i can't"
    "|i cannot|i won't|i didn't|we don't|we're not|i don't think so|i do not think so"
    "|i don't want to|i don't want that|don't|do not|please don't|absolutely not|certainly not"
    "|definitely not|of course not|no thanks|no thank you|uh uh|uh-uh|nuh uh|not exactly"
    "|i disagree|nothing|none"
)
_FILLERS = (
    "uh|um|er|erm|hmm|well|oh|so|ah|thanks|thank you|sir|ma'am|madam|and|actually|just|that|it"
    "|please|i said|i think|for sure|bitte|danke|merci|gracias|por favor"
    "|s'il vous plaît|dank je|dank u"
    "|alstublieft|alsjeblieft"
)
_YES_ELSEWHERE = {
    "de": "ja|jawohl|jo|genau|richtig|stimmt|das stimmt|gerne|gern|sicher|natürlich|klar|korrekt"
    "|na klar|auf jeden fall|das ist richtig|ja genau|in ordnung|passt",
    "fr": "oui|ouais|si|bien sûr|d'accord|exact|exactement|c'est ça|c'est exact|c'est bon|tout à"
    " fait|absolument|voilà|volontiers|correct|c'est correct",
    "es": "sí|si|claro|claro que sí|por supuesto|correcto|exacto|así es|vale|de acuerdo|eso es"
    "|está bien|es correcto|perfecto",
    "nl": "ja|jawel|jazeker|zeker|klopt|dat klopt|juist|dat is juist|natuurlijk|graag|goed"
    "|prima|inderdaad|correct|precies",
}
_NO_ELSEWHERE = {
    "de": "nein|ne|nee|nö|nicht|falsch|das ist falsch|stimmt nicht|das stimmt nicht|auf keinen"
    " fall|keinesfalls|lieber nicht|natürlich nicht|nicht richtig",
    "fr": "non|pas du tout|pas vraiment|c'est faux|faux|ce n'est pas ça|ce n'est pas exact"
    "|bien sûr que non|surtout pas|jamais|non merci",
    "es": "no|para nada|incorrecto|no es correcto|no es así|claro que no|de ninguna manera"
    "|en absoluto|nunca|tampoco",
    "nl": "nee|neen|niet|klopt niet|dat klopt niet|onjuist|dat is niet juist|zeker niet"
    "|helemaal niet|liever niet|absoluut niet|natuurlijk niet",
}
_WORDS = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*")

_Phrases = tuple[tuple[tuple[str, ...], bool | None], ...]


def _table(language: str) -> _Phrases:
    """Phrases as words with their meaning, the longest first; a language's own words win."""
    meaning: dict[tuple[str, ...], bool | None] = {}
    for phrases, value in (
        (_FILLERS, None),
        (_YES, True),
        (_NO, False),
        (_YES_ELSEWHERE.get(language, ""), True),
        (_NO_ELSEWHERE.get(language, ""), False),
    ):
        for phrase in filter(None, phrases.split("|")):
            meaning[tuple(_WORDS.findall(phrase))] = value
    return tuple(sorted(meaning.items(), key=lambda item: len(item[0]), reverse=True))


_TABLES = {language: _table(language) for language in ("en", *_YES_ELSEWHERE)}


def parse(text: str, language: str = "en-US") -> bool | None:
    """True for a yes, False for a no, None for anything else or for both."""
    table = _TABLES.get(language.partition("-")[0].lower(), _TABLES["en"])
    words = _WORDS.findall(plain(text))
    said: set[bool] = set()
    at = 0
    while at < len(words):
        for phrase, value in table:
            if tuple(words[at : at + len(phrase)]) == phrase:
                at += len(phrase)
                if value is not None:
                    said.add(value)
                break
        else:
            return None
    return said.pop() if len(said) == 1 else None
