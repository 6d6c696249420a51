"""What the cleaner makes of markup, case by case."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.documents import Document, Quarantined
from data_prep.mediawiki import Dump
from data_prep.wikitext import (
    MAX_DEPTH,
    MAX_LEFT_OPEN,
    MAX_MARKUP_BYTES,
    HiddenPrefixes,
    NullsCleaner,
    clean_wikitext,
    find_excess,
)

CASES = {
    # Links
    "link": ("a [[b]] c", "a b c"),
    "label": ("[[Rome|the city]]", "the city"),
    "suffix": ("[[bus]]es", "buses"),
    "pipe trick": ("[[Rome (city)|]]", "Rome (city)"),
    "section link": ("[[Rome#History|its history]]", "its history"),
    "category": ("a\n[[Category:Cities|Rome]]", "a"),
    "category shown": ("[[:Category:Cities]]", "Category:Cities"),
    "category label": ("[[:Category:Cities|cities]]", "cities"),
    "language link": ("a\n[[de:Rom]]\n[[zh-min-nan:Roma]]\n[[simple:Rome]]", "a"),
    "link with a colon": ("[[2001: A Film]]", "2001: A Film"),
    "file": ("a [[File:A.jpg|thumb|left|A [[b|c]] and {{d}} caption]] d", "a d"),
    "file in another language": ("a [[Immagine:A.svg|thumb|x]] b", "a b"),
    "nested captions": ("[[File:A.jpg|[[File:B.png|x [[y]] ]] z]]after", "after"),
    "external": ("[http://x.org the site], [http://x.org]", "the site,"),
    "bare url": ("see http://x.org/y now", "see http://x.org/y now"),
    # Quotes
    "bold and italics": ("'''a''' ''b'' '''''c'''''", "a b c"),
    "apostrophe before italics": ("l'''Osservatore''", "l'Osservatore"),
    "apostrophe after bold": ("'''Rome''''s walls", "Rome's walls"),
    "possessive of a link": ("''[[Rome]]'''s walls", "Rome's walls"),
    "nowiki quotes": ("<nowiki>''a''</nowiki> ''b''", "''a'' b"),
    # Templates
    "unknown template": ("a {{navbox|x={{y}}}} b", "a b"),
    "convert": ("of {{convert|1300|mi|km}}.", "of 1,300 mi."),
    "convert area": ("{{Convert|52419|sqmi|km2|0|abbr=on}}", "52,419 sq mi"),
    "convert range": ("{{convert|10|to|20|C|F}}", "10 to 20 \u00b0C"),
    "convert two units": ("{{convert|5|ft|6|in|m}}", "5 ft 6 in"),
    "convert nothing": ("a {{convert}} b", "a b"),
    "lang": ("({{lang|la|res ''publica''}})", "(res publica)"),
    "lang-xx": ("({{lang-grc|\u1f08\u03c7}})", "(Ancient Greek: \u1f08\u03c7)"),
    "lang-xx unknown": ("{{lang-xyz|a}}", "a"),
    "langx": ("{{langx|fr|a}}", "French: a"),
    "nihongo": (
        "{{nihongo|Tokyo|\u6771\u4eac|T\u014dky\u014d}}",
        "Tokyo (\u6771\u4eac, T\u014dky\u014d)",
    ),
    "fractions": ("{{frac|1|2}} {{frac|3|1|2}} {{sfrac|4}}", "1/2 3 1/2 1/4"),
    "val": ("{{val|1.5|0.1|e=-6|u=km}}", "1.5\u00b10.1\u00d710\u207b\u2076 km"),
    "circa": ("{{circa|300|310}} {{c.|5}}", "c. 300 \u2013 c. 310 c. 5"),
    "as of": ("{{as of|2010|4}}, {{as of|2011|5|6|lc=y}}", "As of April 2010, as of 6 May 2011"),
    "chem": ("{{chem|H|2|O}} {{chem|SO|4|2-}}", "H\u2082O SO\u2084\u00b2\u207b"),
    "dates": ("{{birth date|1980|5|6}}", "6 May 1980"),
    "dashes": ("1990{{ndash}}95 a{{snd}}b a{{mdash}}b", "1990\u201395 a \u2013 b a\u2014b"),
    "possessive": ("''Titanic''{{'s}} crew", "Titanic's crew"),
    "nowrap": ("{{nowrap|5 km}} {{abbr|UN|United Nations}}", "5 km UN"),
    "ipa": ("({{IPAc-en|lang|\u00e6|l|\u0259}})", "(/\u00e6l\u0259/)"),
    "quote": ("a\n{{quote|text=So it is.|author=B}}\nc", "a\n\nSo it is.\n\u2014 B\n\nc"),
    "lists": ("{{hlist|a|b}}\n{{ordered list|x|y}}", "a, b\n\n- x\n- y"),
    "named first argument": ("{{nowrap|1=a=b}}", "a=b"),
    "template in template": ("{{small|{{convert|5|km|mi}}}}", "5 km"),
    "formatnum": ("{{formatnum:12345}} {{formatnum:{{x}}}}!", "12,345!"),
    "comment in a name": ("{{convert<!-- x -->|5|km}}", "5 km"),
    "parser function": ("a{{#if:x|y|z}}b", "ab"),
    "magic words": ("__NOTOC__a{{DEFAULTSORT:A}}{{PAGENAME}}", "a"),
    # What a left-out part leaves behind
    "empty parentheses": ("Rome ({{audio|x}}) is", "Rome is"),
    "leading punctuation": ("Rome ({{audio|x}}; {{y}}, ''Roma'') is", "Rome (Roma) is"),
    "trailing punctuation": ("Rome (''Roma''; {{y}}, {{x}}) is", "Rome (Roma) is"),
    "parentheses of code": ("call f() and (1,)", "call f() and (1,)"),
    "space before a comma": ("an area of {{x}}, is large <ref>y</ref>.", "an area of, is large."),
    # Tags
    "reference": ("a<ref>b</ref><ref name=c/> d", "a d"),
    "reference with a template": ("a<ref>{{cite|x=[[y]]}}</ref>.", "a."),
    "unclosed reference": ("a <ref>b\n\nc", "a b\n\nc"),
    "comment": ("a<!-- b\n c -->d", "ad"),
    "comment line": ("a\n<!-- b -->\nc", "a\nc"),
    "gallery": ("a\n<gallery>\nFile:A.jpg|b\n</gallery>\nc", "a\nc"),
    "math": ("so <math>x'^2 ''</math> is", "so $x'^2 ''$ is"),
    "superscript": ("10<sup>6</sup> km<sup>2</sup> 1<sup>st</sup>", "10\u2076 km\u00b2 1st"),
    "subscript": ("H<sub>2</sub>O C<sub>''n''</sub>", "H\u2082O C\u2099"),
    "code": ("<syntaxhighlight lang=py>\nif ''x'':\n    y\n</syntaxhighlight>", "if ''x'':\n    y"),
    "line break": ("a<br>b<br />c", "a\nb\nc"),
    "rule": ("a\n----\nb", "a\n\nb"),
    "poem": ("<poem>\na\nb\n</poem>", "a\nb"),
    "span": ('<span style="x">a</span><small>b</small>', "ab"),
    "includeonly": ("<includeonly>x</includeonly><noinclude>y</noinclude>", "y"),
    "stray tags": ("a</div> b<sup>15</sub> c", "a b15 c"),
    "html list": ("<ul><li>a</li><li>b</li></ul>", "- a\n- b"),
    "nowiki markup": ("<nowiki>[[a]] {{b}} <ref></nowiki>", "[[a]] {{b}} <ref>"),
    # Tables
    "table": ("a\n{| class=x\n|-\n| b || c\n|}\n\nd", "a\n\nd"),
    "table in a table": ("a\n{|\n|\n{|\n| b\n|}\n|}\nd", "a\nd"),
    "unclosed table": ("a\n{| class=x\n|-\n| b\n", "a"),
    "html table": ("a<table><tr><td>b</td></tr></table>", "a"),
    # Lists and paragraphs
    "list": ("* a\n** b\n# c\n: d\n; e", "- a\n- b\n- c\nd\ne"),
    "definition": ("; a : b", "a b"),
    "list of nothing": ("* {{x}}\n* a", "- a"),
    "paragraphs": ("a\n\n\n\nb\n \nc", "a\n\nb\n\nc"),
    # Headings
    "heading": ("a\n== B ==\nc", "a\n\nB\nc"),
    "heading without text": ("a\n== B ==\n== C ==\nd", "a\n\nC\nd"),
    "heading of subsections": ("== B ==\n=== C ===\nd", "B\n\nC\nd"),
    "end sections": ("a\n== References ==\nb\n=== x ===\nc", "a"),
    "section after an end section": ("a\n== See also ==\nb\n== C ==\nd", "a\n\nC\nd"),
    "end subsection": ("== A ==\nb\n=== Notes ===\nc\n=== D ===\ne", "A\nb\n\nD\ne"),
    # Characters
    "entities": ("a&nbsp;b &amp; &#233; &lt;b&gt; &eacute;", "a b & \u00e9 <b> \u00e9"),
    "forbidden entities": ("a&#xD800;b&#31;c&#x200D;d&#xA0;&#10;e&bogus;", "abc\u200dd e&bogus;"),
    "windows lines": ("a\r\nb\rc", "a\nb\nc"),
    "control characters": ("a\x00\x02b\x06", "ab"),
    "no-break space": ("a\u00a0 b", "a b"),
}


@pytest.mark.parametrize("case", CASES)
def test_markup_becomes_the_expected_text(case: str) -> None:
    markup, expected = CASES[case]
    assert clean_wikitext(markup) == expected


def test_local_namespaces_are_hidden_too() -> None:
    hidden = HiddenPrefixes.of_namespaces({6: "Immagine", 14: "Categoria", 1: "Discussione"})
    markup = "a [[Categoria:B]] [[immagine:C]] [[Category:D]] [[Discussione:E]]"
    assert clean_wikitext(markup, hidden) == "a Discussione:E"


def test_pages_over_a_limit_are_quarantined_with_a_reason() -> None:
    assert find_excess("{{" * MAX_DEPTH + "}}" * MAX_DEPTH) is None
    assert find_excess("{{a}}" * 10_000 + "[[b]]" * 10_000 + "{|\n|}" * 1000) is None
    assert "deeper than 40" in str(find_excess("[[" * (MAX_DEPTH + 1)))
    assert find_excess("\u00e9" * (MAX_MARKUP_BYTES // 2)) is None
    assert "bytes" in str(find_excess("\u00e9" * (MAX_MARKUP_BYTES // 2) + "a"))
    page = Document(source_key="1", doc_index=0, title="Deep", text="{{" * 99)
    left_out = NullsCleaner()(page)
    assert isinstance(left_out, Quarantined)
    assert (left_out.source_key, left_out.title) == ("1", "Deep")


@pytest.mark.parametrize("part", ["<b>", "<ref name=a", "<!-- x", "[http://a b "])
def test_markup_left_open_too_often_is_quarantined(part: str) -> None:
    assert find_excess(part * MAX_LEFT_OPEN) is None
    assert f"deeper than {MAX_LEFT_OPEN}" in str(find_excess(part * (MAX_LEFT_OPEN + 1)))
    assert find_excess("<b>x</b><ref y/><br><!-- z -->[1]" * 2 * MAX_LEFT_OPEN) is None


@pytest.mark.parametrize(
    "part",
    ["(", "( ;", "'", "''a", "<", "</div ", "- ", "* ", "\n", " ", "\n ", ";,", "&#", "__A", "[a:"],
)
def test_hostile_text_takes_linear_time(part: str) -> None:
    begin = time.process_time()
    clean_wikitext(part * 20_000)
    assert time.process_time() - begin < 5


@given(st.text(st.sampled_from(list("{}[]|=<>/'*#:; \nab-!&")), max_size=60))
def test_any_markup_is_cleaned_without_an_error(markup: str) -> None:
    text = clean_wikitext(markup)
    assert text == text.strip()
    assert "\n\n\n" not in text


def test_real_articles_keep_facts_and_leave_no_markup(test_data: Path) -> None:
    path = test_data / "dump" / "enwiki-excerpt-multistream.xml.bz2"
    wanted = {"Alabama", "Algeria", "Ampere", "Austin (disambiguation)"}
    texts: dict[str, str] = {}
    for item in Dump(path).items():
        if isinstance(item, Document) and item.title in wanted:
            cleaned = NullsCleaner()(item)
            assert isinstance(cleaned, Document)
            texts[item.title] = cleaned.text
    for title, text in texts.items():
        for residue in (
            "[[",
            "]]",
            "{{",
            "}}",
            "{|",
            "<ref",
            "''",
            "Category:",
            "style=",
            "|thumb",
        ):
            assert residue not in text, (title, residue)
    assert "At 1,300 mi, Alabama has one of the longest navigable" in texts["Alabama"]
    assert "With an area of 2,381,741 km\u00b2, Algeria is" in texts["Algeria"]
    assert "(roughly 6.241\u00d710\u00b9\u2078 times the elementary charge)" in texts["Ampere"]
    assert "- Austin, Manitoba\n" in texts["Austin (disambiguation)"]
