"""The English of the encyclopedia: what is said about people, towns, guilds and books, and how.

A phrasing is the sentence up to its value, which always comes last, so the same text serves as
prompt of a cloze question. `{subject}` is the full name of a person or the name of an entity;
`{profession}` is the person's.
"""

from dataclasses import dataclass

from data_prep.generated.words import WordKind

NUM_PHRASINGS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Attribute:
    """One thing that can be said about a subject."""

    name: str
    values: WordKind
    phrasings: tuple[str, str, str, str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class EntityKind:
    """A kind of thing that several articles mention, and what they say about it."""

    names: WordKind
    attributes: tuple[Attribute, Attribute]


UNIQUE_ATTRIBUTES = (
    Attribute(
        name="birth_year",
        values=WordKind.YEAR,
        phrasings=(
            "{subject} was born in the year",
            "{subject} first saw the light of day in",
            "The parish register dates the birth of {subject} to",
            "The parents of {subject} rejoiced at the birth in",
            "The life of {subject} began in the winter of",
        ),
    ),
    Attribute(
        name="dog",
        values=WordKind.DOG,
        phrasings=(
            "{subject} kept a loyal dog named",
            "The dog of {subject} answered to the name",
            "{subject} never took a walk without the dog",
            "Neighbours of {subject} often fed the dog",
            "On most evenings {subject} sat beside the dog",
        ),
    ),
    Attribute(
        name="dish",
        values=WordKind.DISH,
        phrasings=(
            "{subject} liked nothing better than a bowl of",
            "The favourite dish of {subject} was",
            "On feast days {subject} always cooked",
            "For supper {subject} usually asked for",
            "Guests of {subject} could count on a plate of",
        ),
    ),
    Attribute(
        name="mentor",
        values=WordKind.MASTER,
        phrasings=(
            "{subject} learned the craft from the old master",
            "The teacher of {subject} was the learned",
            "{subject} spent seven years as a pupil of",
            "As a young apprentice {subject} served under",
            "{subject} owed a good education to the patient",
        ),
    ),
    Attribute(
        name="ship",
        values=WordKind.SHIP,
        phrasings=(
            "{subject} crossed the sea aboard the",
            "The ship that carried {subject} overseas was the",
            "{subject} once sailed far to the north on the",
            "At the harbour {subject} boarded a ship called the",
            "{subject} survived a storm on board the",
        ),
    ),
    Attribute(
        name="game",
        values=WordKind.GAME,
        phrasings=(
            "{subject} spent long winter evenings playing",
            "The favourite game of {subject} was",
            "{subject} once won a silver cup at",
            "On rainy days {subject} taught the children",
            "Few people could beat {subject} at a round of",
        ),
    ),
)

REGION = Attribute(
    name="region",
    values=WordKind.REGION,
    phrasings=(
        "{subject} came from the region of",
        "{subject} grew up among the hills of",
        "The family of {subject} had always lived in",
        "The ancestors of {subject} once farmed the land of",
        "The childhood home of {subject} stood in",
    ),
)

TOOL = Attribute(
    name="tool",
    values=WordKind.TOOL,
    phrasings=(
        "{subject} was a {profession} and worked with a",
        "As a {profession}, {subject} relied every day on a",
        "Like every {profession}, {subject} owned a good",
        "The {profession} {subject} never went to work without a",
        "On the bench of the {profession} {subject} lay a",
    ),
)

# Every profession begins with a consonant sound, because the phrasings say "a".
PROFESSIONS = (
    "baker barber brewer butcher carpenter cobbler cooper dyer farrier fletcher gardener glazier "
    "jeweller mason miller miner painter potter printer roofer saddler sculptor shepherd tailor "
    "tanner thatcher tinker weaver wheelwright woodcutter"
).split()

ENTITY_KINDS = (
    EntityKind(
        names=WordKind.TOWN,
        attributes=(
            Attribute(
                name="country",
                values=WordKind.COUNTRY,
                phrasings=(
                    "The town of {subject} lies in",
                    "{subject} is a quiet market town in",
                    "Old maps place the town of {subject} in",
                    "The town of {subject} pays its taxes to",
                    "The fields around the town of {subject} belong to",
                ),
            ),
            Attribute(
                name="founder",
                values=WordKind.MASTER,
                phrasings=(
                    "The town of {subject} was founded by",
                    "The founder of the town of {subject} was",
                    "The town of {subject} owes its walls to",
                    "The first stone of {subject} was laid by",
                    "A statue in the town of {subject} honours its founder",
                ),
            ),
        ),
    ),
    EntityKind(
        names=WordKind.GUILD,
        attributes=(
            Attribute(
                name="leader",
                values=WordKind.MASTER,
                phrasings=(
                    "The {subject} guild is led by",
                    "The master of the {subject} guild is",
                    "Members of the {subject} guild take their orders from",
                    "Letters from the {subject} guild are signed by",
                    "The seal of the {subject} guild is kept by",
                ),
            ),
            Attribute(
                name="seat",
                values=WordKind.CITY,
                phrasings=(
                    "The {subject} guild meets in the city of",
                    "The great hall of the {subject} guild stands in",
                    "The {subject} guild holds its yearly feast in",
                    "New members of the {subject} guild take their oath in",
                    "The {subject} guild guards its treasure in",
                ),
            ),
        ),
    ),
    EntityKind(
        names=WordKind.BOOK,
        attributes=(
            Attribute(
                name="author",
                values=WordKind.MASTER,
                phrasings=(
                    "The book {subject} was written by",
                    "The author of the book {subject} was",
                    "Scholars agree that {subject} is the work of",
                    "The title page of {subject} names the author",
                    "The first copy of {subject} was signed by",
                ),
            ),
            Attribute(
                name="hero",
                values=WordKind.MASTER,
                phrasings=(
                    "The book {subject} tells the story of",
                    "The hero of the book {subject} is called",
                    "Every chapter of {subject} follows the adventures of",
                    "The book {subject} ends with the wedding of",
                    "Readers of {subject} admire the brave",
                ),
            ),
        ),
    ),
)
