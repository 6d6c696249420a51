"""Invented words: pronounceable, never repeated, as many as are asked for.

A word is a stem (onset, vowel, consonant cluster) and an ending that suits what it names:
"Skarlingham" is a town, "Drelmonia" a country. Every onset is a consonant, so "a" may stand before
any word. Clusters are chosen so that stems rarely meet words of a living language.
"""

from enum import Enum, auto

from data_prep.generated.draws import Draws

YEARS = range(1600, 1900)

_ONSETS = "b br d dr f fl g gl gr j k kl kr l m n pl r s sk t tr v vr w z".split()
_VOWELS = "a e i o u".split()
_CLUSTERS = "lk lm lr mbr ml mr nd ndr nv rb rg rl rm rn rv sk sp str vr zd".split()


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
    WordKind.FIRST_NAME: ("an", "el", "eth", "ina", "or", "yn"),
    WordKind.SURNAME: ("ack", "aby", "eld", "ott", "ow", "une"),
    WordKind.MASTER: ("ador", "emar", "ius", "olf"),
    WordKind.DOG: ("ee", "ino", "ox", "uff"),
    WordKind.SHIP: ("ara", "iola", "ora"),
    WordKind.REGION: ("edale", "eland", "emark", "eshire"),
    WordKind.COUNTRY: ("ania", "aria", "onia", "ovia"),
    WordKind.CITY: ("avik", "essa", "opolis"),
    WordKind.TOWN: ("aven", "ester", "ingham", "oft", "olm"),
    WordKind.GUILD: ("ene", "ian", "ite"),
    WordKind.BOOK: ("anthia", "iad", "odion", "umen"),
    WordKind.DISH: ("etta", "ine", "oli", "unka"),
    WordKind.GAME: ("ado", "inka", "ix", "ots"),
    WordKind.TOOL: ("el", "ib", "ock"),
}
_COMMON_NOUNS = frozenset({WordKind.DISH, WordKind.GAME, WordKind.TOOL})


class Inventor:
    """Invents words, remembering them so that no two things share a name."""

    def __init__(self, draws: Draws) -> None:
        self._draws = draws
        self._taken: set[str] = set()

    def invent(self, kind: WordKind, count: int) -> tuple[str, ...]:
        """Return `count` new words of a kind, names capitalised; years are at most `len(YEARS)`."""
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
