"""Values as words for a voice: `digits() spell() date() time() money()` of the flow language.

English is complete; German, French, Spanish and Dutch have their own dates, times and money, other
languages fall back to English. What these functions say, `spoken` understands again (English).
"""

from __future__ import annotations

import datetime as dt

_DAYS = {
    "en": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
    "de": "Montag Dienstag Mittwoch Donnerstag Freitag Samstag Sonntag",
    "fr": "lundi mardi mercredi jeudi vendredi samedi dimanche",
    "es": "lunes martes miércoles jueves viernes sábado domingo",
    "nl": "maandag dinsdag woensdag donderdag vrijdag zaterdag zondag",
}
_MONTHS = {
    "en": "January February March April May June July August September October November December",
    "de": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "es": (
        "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre"
    ),
    "nl": "januari februari maart april mei juni juli augustus september oktober november december",
}
_DATE_FORMS = {
    "en": "{day}, {month} {number}",
    "de": "{day}, der {number}. {month}",
    "fr": "{day} {number} {month}",
    "es": "{day}, {number} de {month}",
    "nl": "{day} {number} {month}",
}
_YEAR_FORMS = {"en": ", {year}", "es": " de {year}"}
_DAY_FIRST_ENGLISH = ("en-gb", "en-au", "en-nz", "en-ie", "en-in", "en-za")

_CURRENCIES = {
    "USD": ("dollar", "dollars", "cent", "cents"),
    "CAD": ("dollar", "dollars", "cent", "cents"),
    "AUD": ("dollar", "dollars", "cent", "cents"),
    "EUR": ("euro", "euros", "cent", "cents"),
    "GBP": ("pound", "pounds", "penny", "pence"),
    "CHF": ("franc", "francs", "centime", "centimes"),
}
_CURRENCIES_ELSEWHERE = {
    "de": {
        "EUR": ("Euro", "Euro", "Cent", "Cent"),
        "USD": ("Dollar", "Dollar", "Cent", "Cent"),
        "GBP": ("Pfund", "Pfund", "Pence", "Pence"),
        "CHF": ("Franken", "Franken", "Rappen", "Rappen"),
    },
    "fr": {
        "EUR": ("euro", "euros", "centime", "centimes"),
        "USD": ("dollar", "dollars", "cent", "cents"),
        "GBP": ("livre", "livres", "penny", "pence"),
        "CHF": ("franc", "francs", "centime", "centimes"),
    },
    "es": {
        "EUR": ("euro", "euros", "céntimo", "céntimos"),
        "USD": ("dólar", "dólares", "centavo", "centavos"),
        "GBP": ("libra", "libras", "penique", "peniques"),
        "CHF": ("franco", "francos", "céntimo", "céntimos"),
    },
    "nl": {
        "EUR": ("euro", "euro", "cent", "cent"),
        "USD": ("dollar", "dollar", "cent", "cent"),
        "GBP": ("pond", "pond", "penny", "pence"),
        "CHF": ("frank", "frank", "centime", "centimes"),
    },
}
_AND = {"en": "and", "de": "und", "fr": "et", "es": "con", "nl": "en"}
_MINUS = {"en": "minus", "de": "minus", "fr": "moins", "es": "menos", "nl": "min"}
_CURRENCY_OF = {"en": "USD", "de": "EUR", "fr": "EUR", "es": "EUR", "nl": "EUR"}
_CURRENCY_OF_REGION = {"GB": "GBP", "IE": "EUR", "CH": "CHF", "CA": "CAD", "AU": "AUD", "US": "USD"}


def _base(language: str) -> str:
    """The language that is spoken, English if it is none of ours."""
    base = language.partition("-")[0].lower()
    return base if base in _DAYS else "en"


def digits(value: str | int) -> str:
    """One by one: "4729" is "4 7 2 9". What is no letter or digit is left out, a plus is said."""
    kept = ("plus" if char == "+" else char for char in str(value) if char.isalnum() or char == "+")
    return " ".join(kept)


def spell(value: str) -> str:
    """Letter by letter, with pauses between words: "Ann 4" is "A, N, N. 4"."""
    signs = {"@": "at", ".": "dot", "-": "dash", "_": "underscore", "+": "plus", "'": "apostrophe"}
    words = []
    for word in value.split():
        names = (signs.get(char, char.upper() if char.isalnum() else "") for char in word)
        words.append(", ".join(name for name in names if name))
    return ". ".join(word for word in words if word)


def date(value: str | dt.date, language: str = "en-US", *, today: dt.date | None = None) -> str:
    """ "2026-01-31" is "Saturday, January 31"; with `today` a year other than the next 12 months'
    is said.
    """
    day = dt.date.fromisoformat(value[:10]) if isinstance(value, str) else value
    base = _base(language)
    form = _DATE_FORMS[base]
    if language.lower().startswith(_DAY_FIRST_ENGLISH):
        form = "{day}, {number} {month}"
    number = "1er" if base == "fr" and day.day == 1 else str(day.day)
    text = form.format(
        day=_DAYS[base].split()[day.weekday()],
        month=_MONTHS[base].split()[day.month - 1],
        number=number,
    )
    if today is not None and not 0 <= (day - today).days < 365:
        text += _YEAR_FORMS.get(base, " {year}").format(year=day.year)
    return text


def time(value: str | dt.time, language: str = "en-US") -> str:
    """ "15:30" is "3:30 PM"; elsewhere on the 24-hour clock ("15 Uhr 30")."""
    if isinstance(value, str):
        clock = value.rpartition("T")[2] if "T" in value else value
        value = dt.time.fromisoformat(clock)
    hour, minute = value.hour, value.minute
    base = _base(language)
    if base == "en":
        if not minute and hour in (0, 12):
            return "noon" if hour else "midnight"
        half = "PM" if hour >= 12 else "AM"
        shown = (hour - 1) % 12 + 1
        return f"{shown}:{minute:02d} {half}" if minute else f"{shown} {half}"
    if base == "es":
        return f"{hour}:{minute:02d}" if minute else f"{hour} en punto"
    word = {"de": "Uhr", "fr": "heure" if hour < 2 else "heures", "nl": "uur"}[base]
    return f"{hour} {word} {minute}" if minute else f"{hour} {word}"


def money(value: float, currency: str | None = None, language: str = "en-US") -> str:
    """12.5 is "12 dollars and 50 cents". Without a currency it is that of the language's region."""
    base = _base(language)
    region = language.partition("-")[2].upper()
    code = (currency or _CURRENCY_OF_REGION.get(region) or _CURRENCY_OF[base]).upper()
    cents = round(abs(value) * 100)
    whole, rest = divmod(cents, 100)
    sign = f"{_MINUS[base]} " if value < 0 and cents else ""
    names = _CURRENCIES_ELSEWHERE.get(base, _CURRENCIES).get(code)
    if names is None:
        amount = f"{whole}.{rest:02d}" if rest else str(whole)
        return f"{sign}{amount} {code}"
    one, many, one_cent, many_cents = names
    zero_is_many = base != "fr"
    unit = one if whole == 1 or (whole == 0 and not zero_is_many) else many
    part = f"{rest} {one_cent if rest == 1 else many_cents}"
    if not rest:
        return f"{sign}{whole} {unit}"
    return f"{sign}{whole} {unit} {_AND[base]} {part}" if whole else f"{sign}{part}"
