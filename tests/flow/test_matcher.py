"""The local matcher: choice words, typos, negation, and a measured floor on unseen paraphrases."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowengine.flow.matcher import Match, Matcher

pytestmark = pytest.mark.unit

ROUTES = {
    "person": [
        "The caller asks for a person",
        "I want to speak to a human",
        "can I talk to an agent",
        "put me through to the receptionist",
        "real person please",
    ],
    "billing": [
        "billing",
        "I have a question about my bill",
        "there is a wrong charge on my invoice",
        "I was overcharged",
        "I want to pay my bill",
    ],
    "book": [
        "I want to book an appointment",
        "can I schedule a visit",
        "make a booking",
        "I'd like to come in and see the doctor",
        "do you have any free slots",
    ],
    "cancel": [
        "cancel my appointment",
        "I need to cancel",
        "I can't make it, please cancel my booking",
        "call off my reservation",
    ],
    "reschedule": [
        "reschedule my appointment",
        "move my appointment to another day",
        "can I change the time of my booking",
        "I need a different date",
    ],
    "hours": [
        "what are your opening hours",
        "when do you open",
        "how late are you open",
        "are you open on sunday",
    ],
    "order": [
        "where is my order",
        "track my package",
        "my delivery has not arrived",
        "order status",
    ],
    "technical": [
        "technical support",
        "my internet is not working",
        "the app keeps crashing",
        "I can't log in to my account",
        "I get an error message",
    ],
}

PARAPHRASES = [
    ("could I please get a real human being on the line", "person"),
    ("let me talk to somebody", "person"),
    ("I'd rather speak with a representative", "person"),
    ("is there an operator I could talk to", "person"),
    ("just connect me with a live agent", "person"),
    ("get me your manager", "person"),
    ("why is my invoice so high this month", "billing"),
    ("there's a charge I don't recognise", "billing"),
    ("you billed me twice", "billing"),
    ("I'd like to settle my outstanding balance", "billing"),
    ("a question on my last statement", "billing"),
    ("I would like to arrange an appointment", "book"),
    ("I need to see a doctor next week", "book"),
    ("can you fit me in for a visit on friday", "book"),
    ("are there any slots free tomorrow", "book"),
    ("I want to reserve a consultation", "book"),
    ("I have to cancel tomorrow's visit", "cancel"),
    ("please scrap my reservation", "cancel"),
    ("I won't be able to come so cancel it", "cancel"),
    ("cancellation of my booking", "cancel"),
    ("can we move it to a different day", "reschedule"),
    ("I need to reschedule my booking", "reschedule"),
    ("could I shift my appointment to thursday", "reschedule"),
    ("postpone my visit please", "reschedule"),
    ("another time would be better for my appointment", "reschedule"),
    ("what time do you close today", "hours"),
    ("are you guys open this saturday", "hours"),
    ("until when are you open", "hours"),
    ("tell me your business hours", "hours"),
    ("my parcel still hasn't come", "order"),
    ("what's the status of my purchase", "order"),
    ("when will my delivery arrive", "order"),
    ("I want to track a shipment", "order"),
    ("has my package been sent", "order"),
    ("my wifi is down", "technical"),
    ("the website shows an error", "technical"),
    ("I forgot my password and cannot sign in", "technical"),
    ("the application crashes all the time", "technical"),
    ("my router stopped working", "technical"),
    ("I have a technical problem", "technical"),
]

OUT_OF_SCOPE = [
    "what is the weather like in paris",
    "tell me a joke",
    "do you like football",
    "my grandmother baked a lovely cake",
    "how tall is mount everest",
    "I think it might rain later",
    "sing me a song",
    "who won the election",
    "the cat is sleeping on the sofa",
    "do you sell pizza",
    "hold on a second the dog is barking",
    "seventy five blue elephants",
]


def _routed() -> tuple[int, int, int]:
    """How many paraphrases are right and wrong at the threshold, and how many top-1 are right."""
    matcher = Matcher(ROUTES)
    right = wrong = top = 0
    for text, route in PARAPHRASES:
        top += matcher.rank(text)[0].name == route
        best = matcher.best(text)
        right += best is not None and best.name == route
        wrong += best is not None and best.name != route
    return right, wrong, top


BANK = {
    "balance": ["how much money is in my account", "what is my balance", "check my balance"],
    "transfer": ["I want to send money to somebody", "make a transfer", "wire some money abroad"],
    "card": ["I lost my card", "my card was stolen", "block my credit card"],
    "loan": [
        "I'd like to apply for a loan",
        "borrow money for a car",
        "interest on a personal loan",
    ],
    "mortgage": ["a question about my mortgage", "I want to buy a house", "home financing"],
    "details": ["change my address", "I have moved", "update my phone number"],
    "fraud": ["I see a payment I did not make", "report fraud", "suspicious transaction"],
    "branch": [
        "where is your nearest branch",
        "find a cash machine",
        "opening times of the branch",
    ],
}

BANK_PARAPHRASES = [
    ("can you tell me my current balance", "balance"),
    ("how much do I have left in the account", "balance"),
    ("I'd like to know what's on my account", "balance"),
    ("I need to transfer five hundred to my brother", "transfer"),
    ("send some money overseas", "transfer"),
    ("set up a payment to my landlord", "transfer"),
    ("somebody took my wallet with the card in it", "card"),
    ("please freeze my debit card", "card"),
    ("I can't find my card anywhere", "card"),
    ("what would a loan over ten thousand cost me", "loan"),
    ("can I borrow some cash", "loan"),
    ("I need credit for a new car", "loan"),
    ("we are looking to finance a home", "mortgage"),
    ("what are the mortgage rates", "mortgage"),
    ("we found a house we would like to purchase", "mortgage"),
    ("I live somewhere else now", "details"),
    ("my address is different", "details"),
    ("you still have my old number", "details"),
    ("there is a transaction that looks strange", "fraud"),
    ("I think I was scammed", "fraud"),
    ("a payment on my statement isn't mine", "fraud"),
    ("is there a branch close to me", "branch"),
    ("where can I find an atm", "branch"),
    ("when does the branch on main street open", "branch"),
]


def test_unseen_paraphrases_of_eight_routes() -> None:
    """Reached: 39 of 40 right, 1 wrong (the table of like words was written for this domain)."""
    right, wrong, top = _routed()
    assert right >= 37
    assert wrong <= 2
    assert top >= 38


def test_out_of_scope_is_refused() -> None:
    matcher = Matcher(ROUTES)
    assert [text for text in OUT_OF_SCOPE if matcher.best(text) is not None] == []


def test_a_domain_that_nothing_was_tuned_for() -> None:
    """Reached: 18 of 24 right, 3 wrong, 3 asked again. This is the figure to expect."""
    matcher = Matcher(BANK)
    best = [(matcher.best(text), route) for text, route in BANK_PARAPHRASES]
    right = sum(match is not None and match.name == route for match, route in best)
    wrong = sum(match is not None and match.name != route for match, route in best)
    assert right >= 18
    assert wrong <= 3


MENU = {"order": ["order"], "order_status": ["order status"], "billing": ["billing", "my bill"]}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("billing", "billing"),
        ("Billing, please.", "billing"),
        ("order please", "order"),
        ("I would like to place an order", "order"),
        ("what about my order status", "order_status"),
        ("not billing", None),
        ("I don't want billing", None),
        ("not billing, order", "order"),
        ("no, billing", "billing"),
        ("billing or order", None),
        ("biling", "billing"),
        ("", None),
        ("umbrella", None),
    ],
)
def test_choice_words(text: str, name: str | None) -> None:
    best = Matcher(MENU).best(text)
    assert (best.name if best else None) == name


def test_a_contained_choice_word_is_a_full_match() -> None:
    assert Matcher(MENU).best("well, billing I suppose") == Match("billing", 1.0)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("the second one", "pizza"),
        ("the first one please", "pasta"),
        ("number three", "salad"),
        ("option 2", "pizza"),
        ("the last one", "salad"),
        ("pizza", "pizza"),
        ("the fourth one", None),
    ],
)
def test_positions_in_a_list_that_was_read_out(text: str, name: str | None) -> None:
    matcher = Matcher({"pasta": ["pasta"], "pizza": ["pizza"], "salad": ["salad"]}, positions=True)
    best = matcher.best(text)
    assert (best.name if best else None) == name


def test_a_choice_phrase_of_small_words() -> None:
    matcher = Matcher({"a": ["the first one"], "b": ["the second one"]})
    best = matcher.best("um the second one please")
    assert best is not None
    assert best.name == "b"


@pytest.mark.parametrize(
    ("text", "name"),
    [("yes please", "yes"), ("no thanks", "no"), ("yes", "yes"), ("what did you say", "again")],
)
def test_choices_of_small_words(text: str, name: str) -> None:
    matcher = Matcher({"yes": ["yes"], "no": ["no"], "again": ["repeat", "what did you say"]})
    best = matcher.best(text)
    assert best is not None
    assert best.name == name


def test_negative_examples_keep_a_candidate_out() -> None:
    candidates = {"person": ["I want to speak to a person"], "hours": ["when are you open"]}
    text = "is this person a robot or a person"
    plain = Matcher(candidates)
    guarded = Matcher(candidates, negatives={"person": ["are you a robot or a person"]})
    best = plain.best(text)
    assert best is not None
    assert best.name == "person"
    assert guarded.best(text) is None
    kept = guarded.best("I want to speak to a person")
    assert kept == Match("person", 1.0)


def test_typos_of_a_recogniser_are_survived() -> None:
    best = Matcher(ROUTES).best("I need to reshedule my apointment")
    assert best is not None
    assert best.name == "reschedule"


@given(st.text(max_size=80))
def test_any_text_gives_an_ordered_ranking(text: str) -> None:
    ranked = Matcher(MENU).rank(text)
    assert {match.name for match in ranked} == set(MENU)
    scores = [match.score for match in ranked]
    assert scores == sorted(scores, reverse=True)
    assert all(0.0 <= score <= 1.0 for score in scores)


@given(st.sampled_from([(name, phrase) for name, list_ in ROUTES.items() for phrase in list_]))
def test_each_phrase_finds_its_own_candidate(pair: tuple[str, str]) -> None:
    name, phrase = pair
    assert Matcher(ROUTES).rank(phrase)[0] == Match(name, 1.0)


def test_no_candidates_match_nothing() -> None:
    assert Matcher({}).best("hello") is None
