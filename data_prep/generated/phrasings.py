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

    def prompts(self, *, subject: str, profession: str = "") -> tuple[str, ...]:
        """Return every phrasing with its names filled in."""
        return tuple(
            phrasing.format(subject=subject, profession=profession) for phrasing in self.phrasings
        )


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
            "{subject} came into the world in",
            "Parish records date the birth of {subject} to",
            "Church bells rang for newborn {subject} in",
            "The life of {subject} began in",
        ),
    ),
    Attribute(
        name="dog",
        values=WordKind.DOG,
        phrasings=(
            "{subject} kept a loyal dog named",
            "The dog of {subject} was called",
            "{subject} shared every meal with the dog",
            "Neighbours of {subject} often fed the dog",
            "{subject} took long walks with the dog",
        ),
    ),
    Attribute(
        name="dish",
        values=WordKind.DISH,
        phrasings=(
            "{subject} loved a warm bowl of",
            "The favourite dish of {subject} was",
            "On feast days {subject} always cooked",
            "For supper {subject} usually asked for",
            "Guests of {subject} were always served",
        ),
    ),
    Attribute(
        name="mentor",
        values=WordKind.MASTER,
        phrasings=(
            "{subject} learned everything from the old master",
            "The teacher of {subject} was called",
            "{subject} was for years a pupil of",
            "As a young apprentice {subject} served under",
            "{subject} owed a good education to",
        ),
    ),
    Attribute(
        name="ship",
        values=WordKind.SHIP,
        phrasings=(
            "{subject} crossed the sea aboard the",
            "The ship that carried {subject} overseas was the",
            "{subject} once sailed north on the",
            "In the harbour {subject} boarded the ship",
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
            "Few players could beat {subject} at",
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
        "The ancestors of {subject} were farmers in",
        "The childhood home of {subject} stood in",
    ),
)

TOOL = Attribute(
    name="tool",
    values=WordKind.TOOL,
    phrasings=(
        "{subject} was a {profession} and worked with a",
        "As a {profession}, {subject} always carried a",
        "Like every {profession}, {subject} owned a good",
        "The {profession} {subject} could not work without a",
        "The {profession} {subject} was proud of a new",
    ),
)

# Every profession begins with a consonant sound, because the phrasings say "a".
PROFESSIONS = (
    "baker",
    "barber",
    "brewer",
    "butcher",
    "carpenter",
    "cobbler",
    "cooper",
    "dyer",
    "gardener",
    "glazier",
    "jeweller",
    "mason",
    "miller",
    "miner",
    "painter",
    "potter",
    "printer",
    "roofer",
    "saddler",
    "sculptor",
    "shepherd",
    "tailor",
    "tanner",
    "weaver",
)

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
                    "A statue in {subject} honours the founder",
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
                    "Members of the {subject} guild take orders from",
                    "Letters from the {subject} guild are signed by",
                    "The seal of the {subject} guild is kept by",
                ),
            ),
            Attribute(
                name="seat",
                values=WordKind.CITY,
                phrasings=(
                    "The {subject} guild meets in the city of",
                    "The hall of the {subject} guild stands in",
                    "The {subject} guild holds its yearly feast in",
                    "New members join the {subject} guild in",
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
