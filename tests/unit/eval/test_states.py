"""Whose sinks serve a source: the nearest survivor or an unrelated one, never itself."""

from collections import Counter

import numpy as np
import pytest

from nulls_dist.data.corpus import Corpus
from nulls_dist.errors import InputError
from nulls_dist.eval import nearest
from nulls_dist.eval.nearest import nearest_sources
from nulls_dist.eval.states import State, donors
from nulls_dist.sources import NO_SOURCE
from tests.corpus_factory import Text, write_corpus

THE = 1  # in every source, hence without weight
TEXTS = [
    Text(key="red car", tokens=(THE, 10, 11, 12, 13)),
    Text(key="blue car", tokens=(THE, 10, 11, 12, 14)),
    Text(key="boat", tokens=(THE, 10, 20, 21, 22)),
    Text(key="ship", tokens=(THE, 20, 21)),
    Text(key="ship", doc_index=1, tokens=(THE, 22, 23)),
    Text(key="hermit", tokens=(THE, 30, 31, 32)),
]
ID = {text.key: text.source_id for text in TEXTS}
KEYS = {source_id: key for key, source_id in ID.items()}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("states") / "corpus"
    return Corpus(write_corpus(root, TEXTS, vocab_size=40))


def nearest_keys(corpus, asked, candidates):
    found = nearest_sources(corpus, [ID[key] for key in asked], [ID[key] for key in candidates])
    return {KEYS[source_id]: KEYS[other] for source_id, other in found.items()}


def test_the_nearest_source_shares_the_rarest_words(corpus):
    found = nearest_keys(corpus, ["red car", "blue car", "boat", "ship"], list(ID))
    assert found == {"red car": "blue car", "blue car": "red car", "boat": "ship", "ship": "boat"}


def test_a_source_that_is_no_candidate_has_a_neighbour_too(corpus):
    assert nearest_keys(corpus, ["red car"], ["boat", "hermit"]) == {"red car": "boat"}


def test_a_source_that_shares_nothing_still_gets_another_one(corpus):
    assert nearest_keys(corpus, ["hermit"], list(ID))["hermit"] != "hermit"
    assert nearest_keys(corpus, ["hermit"], ["hermit", "boat"]) == {"hermit": "boat"}


def test_one_rare_word_outweighs_two_common_ones(tmp_path):
    texts = [
        Text(key="asked", tokens=(1, 2, 9)),
        Text(key="rare", tokens=(9, 20, 21)),
        *(Text(key=f"common {n}", tokens=(1, 2, 22 + n)) for n in range(4)),
        *(Text(key=f"other {n}", tokens=(30 + n,)) for n in range(2)),
    ]
    corpus = Corpus(write_corpus(tmp_path / "corpus", texts, vocab_size=40))
    asked, rare = texts[0].source_id, texts[1].source_id
    found = nearest_sources(corpus, [asked], [text.source_id for text in texts])
    assert found == {asked: rare}


@pytest.mark.parametrize("block", [1, 2, 3])
def test_blocks_do_not_change_the_answer(corpus, monkeypatch, block):
    whole = nearest_keys(corpus, list(ID), list(ID))
    monkeypatch.setattr(nearest, "_BLOCK_SOURCES", block)
    assert nearest_keys(corpus, list(ID), list(ID)) == whole


def test_similarity_is_the_cosine_of_binary_tf_idf(corpus):
    counts = Counter(
        token for key in ID for token in {t for x in TEXTS if x.key == key for t in x.tokens}
    )
    weight = {token: np.log(len(ID) / count) for token, count in counts.items()}
    words = {key: {t for text in TEXTS if text.key == key for t in text.tokens} for key in ID}

    def norm(key):
        return sum(weight[token] ** 2 for token in words[key]) ** 0.5

    def cosine(first, second):
        shared = sum(weight[token] ** 2 for token in words[first] & words[second])
        return shared / (norm(first) * norm(second))

    expected = {
        key: max((other for other in ID if other != key), key=lambda other: cosine(key, other))
        for key in ID
        if key != "hermit"  # shares nothing: every other source is as near
    }
    assert nearest_keys(corpus, list(expected), list(ID)) == expected


def test_on_and_off_need_no_other_source(corpus):
    asked = [ID["boat"], ID["ship"]]
    everyone = list(ID.values())
    assert donors(State.ON, corpus, asked, deleted=everyone) == {one: one for one in asked}
    assert donors(State.OFF, corpus, asked, deleted=everyone) == dict.fromkeys(asked, NO_SOURCE)


@pytest.mark.parametrize("state", [State.NEAREST, State.PLACEBO])
@pytest.mark.parametrize("deleted", [(), ("boat",), ("boat", "red car"), ("blue car", "hermit")])
def test_a_donor_is_never_the_source_itself_and_never_deleted(corpus, state, deleted):
    gone = [ID[key] for key in deleted]
    found = donors(state, corpus, list(ID.values()), deleted=gone)
    assert set(found) == set(ID.values())
    assert all(donor != source_id for source_id, donor in found.items())
    assert not set(found.values()) & set(gone)
    assert set(found.values()) <= set(ID.values())


def test_the_nearest_donor_moves_on_when_the_nearest_is_deleted(corpus):
    asked = [ID["boat"]]
    assert donors(State.NEAREST, corpus, asked, deleted=())[asked[0]] == ID["ship"]
    donor = donors(State.NEAREST, corpus, asked, deleted=[ID["ship"]])[asked[0]]
    assert KEYS[donor] in {"red car", "blue car"}


def test_placebos_are_drawn_evenly_and_always_alike(tmp_path):
    texts = [Text(key=str(number), tokens=(1,)) for number in range(40)]
    corpus = Corpus(write_corpus(tmp_path / "corpus", texts, vocab_size=4))
    asked = [text.source_id for text in texts]
    found = donors(State.PLACEBO, corpus, asked, deleted=())
    assert donors(State.PLACEBO, corpus, asked[::-3], deleted=()) == {
        source_id: found[source_id] for source_id in asked[::-3]
    }
    # 40 balls in 40 urns: about 25 urns are hit, 6 hits of one are rare.
    assert len(set(found.values())) >= 18
    assert max(Counter(found.values()).values()) <= 6


@pytest.mark.parametrize("state", [State.NEAREST, State.PLACEBO])
def test_a_corpus_with_one_survivor_cannot_lend_sinks(corpus, state):
    gone = [source_id for key, source_id in ID.items() if key != "boat"]
    with pytest.raises(InputError, match=f"state {state}: 1 sources survive"):
        donors(state, corpus, [ID["boat"]], deleted=gone)
