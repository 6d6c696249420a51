"""Invented words: pronounceable, never repeated, as many as are asked for.

A word is a stem (onset, vowel, consonant cluster) and an ending that suits what it names:
"Vandringham" is a town, "Dulmonia" a country. Every onset is a consonant, so that "a" may stand
before any word; stems and endings are chosen so that hardly any word is one of English.
"""

from enum import Enum, auto

from data_prep.generated.draws import Draws

YEARS = range(1600, 1900)

_ONSETS: tuple[str, ...] = (*"bdfghjklmnprstvw", "br", "dr", "gr", "tr", "st", "sk", "th")
_VOWELS = "aeiou"
_CLUSTERS = ("ll", "lm", "lv", "mbr", "ndr", "nn", "rl", "rm", "rn", "rr", "rv", "ss", "str")


class WordKind(Enum):
    """What a word names."""

    FIRST_NAME = auto()
    SURNAME = auto()
    MASTER = auto()
    DOG = auto()
    SHIP = auto()
    REGION = auto()
    COUNTRY = auto()
    CITY = auto()
    TOWN = auto()
    GUILD = auto()
    BOOK = auto()
    DISH = auto()
    GAME = auto()
    TOOL = auto()
    YEAR = auto()


_ENDINGS = {
    WordKind.FIRST_NAME: ("awyn", "eth", "imor", "ise", "oran"),
    WordKind.SURNAME: ("abeck", "eld", "ott", "une", "uvy"),
    WordKind.MASTER: ("ador", "emar", "ius", "olf"),
    WordKind.DOG: ("ek", "ino", "ipo", "uffy"),
    WordKind.SHIP: ("amara", "iola", "ora"),
    WordKind.REGION: ("edale", "eland", "emark", "eshire"),
    WordKind.COUNTRY: ("ania", "aria", "onia", "ovia"),
    WordKind.CITY: ("avik", "essa", "opolis"),
    WordKind.TOWN: ("aven", "ester", "ingham", "oft", "olm"),
    WordKind.GUILD: ("arian", "esian", "oric"),
    WordKind.BOOK: ("anthia", "iad", "odion", "umen"),
    WordKind.DISH: ("atta", "imel", "oli", "unka"),
    WordKind.GAME: ("inka", "obri", "uzzo"),
    WordKind.TOOL: ("ib", "osk", "und"),
}
_COMMON_NOUNS = frozenset({WordKind.DISH, WordKind.GAME, WordKind.TOOL})


class Inventor:
    """Invents words, remembering them so that no two things share a name."""

    def __init__(self, draws: Draws) -> None:
        self._draws = draws
        self._taken: set[str] = set()

    def invent(self, kind: WordKind, count: int) -> tuple[str, ...]:
        """Return `count` new words of a kind, names capitalised; of years at most `YEARS`."""
        if kind is WordKind.YEAR:
            return tuple(str(year) for year in self._draws.sample(YEARS, count))
        return tuple(self._word(kind) for _ in range(count))

    def _word(self, kind: WordKind) -> str:
        ending = self._draws.choice(_ENDINGS[kind])
        stem = self._syllable()
        # Stems grow where short ones run out, so names never do.
        while stem + ending in self._taken:
            stem += self._draws.choice(_VOWELS) + self._draws.choice(_CLUSTERS)
        word = stem + ending
        self._taken.add(word)
        return word if kind in _COMMON_NOUNS else word.capitalize()

    def _syllable(self) -> str:
        choice = self._draws.choice
        return choice(_ONSETS) + choice(_VOWELS) + choice(_CLUSTERS)
