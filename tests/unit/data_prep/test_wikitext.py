"""What the cleaner makes of markup, case by case."""

import pytest
from mwparserfromhell.parser import CTokenizer
from mwparserfromhell.parser.tokenizer import Tokenizer

from data_prep.wikitext import LinkPrefixes, clean_wikitext

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
    "url with an entity": ("http://x.org/?a&amp;b", "http://x.org/?a&b"),
    "link of another wiki": ("[[wikt:foo|foo]] [[wikt:bar]]", "foo wikt:bar"),
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
    "convert decimals": ("{{convert|640081.87|km2}}", "640,081.87 km\u00b2"),
    "convert dash": ("{{cvt|3700|-|5500|m}}", "3,700\u20135,500 m"),
    "convert millions": (
        "{{convert|22|e6acre|km2}}, {{convert|3|e6carat}}",
        "22 million acre, 3 million carats",
    ),
    "convert barrels": (
        "{{convert|50|koilbbl/d|m3/d}} of {{convert|9|Goilbbl}}",
        "50 thousand bbl/d of 9 billion bbl",
    ),
    "convert difference": ("{{convert|2|C-change}}", "2 \u00b0C"),
    "lang": ("({{lang|la|res ''publica''}})", "(res publica)"),
    "lang-xx": ("({{lang-grc|\u1f08\u03c7}})", "(Ancient Greek: \u1f08\u03c7)"),
    "lang-xx unknown": ("{{lang-xyz|a}}", "a"),
    "lang-xx of a region": ("{{lang-th|a}} {{lang-nn-NO|b}}", "Thai: a Norwegian: b"),
    "langx": ("{{langx|fr|a}}", "French: a"),
    "language without text": ("a ({{lang-fr|}}, {{IPA-fr|}}) b", "a b"),
    "nihongo": (
        "{{nihongo|Tokyo|\u6771\u4eac|T\u014dky\u014d}}",
        "Tokyo (\u6771\u4eac, T\u014dky\u014d)",
    ),
    "fractions": ("{{frac|1|2}} {{frac|3|1|2}} {{sfrac|4}}", "1/2 3 1/2 1/4"),
    "fraction after a number": ("1{{frac|1|4}} days, x{{frac|3}}", "1 1/4 days, x1/3"),
    "val": ("{{val|1.5|0.1|e=-6|u=km}}", "1.5\u00b10.1\u00d710\u207b\u2076 km"),
    "circa": ("{{circa|300|310}} {{c.|5}}", "c. 300 \u2013 c. 310 c. 5"),
    "as of": ("{{as of|2010|4}}, {{as of|2011|5|6|lc=y}}", "As of April 2010, as of 6 May 2011"),
    "chem": ("{{chem|H|2|O}} {{chem|SO|4|2-}}", "H\u2082O SO\u2084\u00b2\u207b"),
    "chem with letters": ("{{chem|C|''n''|H|2''n''+2}}", "C\u2099H\u2082\u2099\u208a\u2082"),
    "elements": ("{{Carbon}}<sub>2</sub>{{Hydrogen}}<sub>6</sub>", "C\u2082H\u2086"),
    "equilibrium": ("A {{eqm}} B", "A \u21cc B"),
    "nuclides": ("{{nuclide2|calcium|48|link=y}}", "calcium-48"),
    "dates": ("{{birth date|1980|5|6}}", "6 May 1980"),
    "two dates": ("{{death date and age|1900|1|2|1850|3|4}}", "2 January 1900"),
    "old style date": (
        "{{OldStyleDate|2 February|1905|20 January}}",
        "2 February [O.S. 20 January] 1905",
    ),
    "clock": ("a ({{age|1969|07|20}}) {{CURRENTYEAR}} b", "a b"),
    "dashes": ("1990{{ndash}}95 a{{snd}}b a{{mdash}}b", "1990\u201395 a \u2013 b a\u2014b"),
    "dash with spaces": ("a{{snds}}b", "a \u2013 b"),
    "keys": ("{{keypress|[[Control key|Ctrl]]|C}}", "Ctrl+C"),
    "extinct": ("{{extinct}}Order A", "\u2020Order A"),
    "dental formula": ("{{DentalFormula|upper=0.0.2|lower=1.0.2}}", "0.0.2/1.0.2"),
    "countries": (
        "* ''{{GRL}}'' (DEN)\n* {{CIV}}\n* {{Per}} {{TOC}}",
        "- Greenland (DEN)\n- C\u00f4te d'Ivoire",
    ),
    "possessive": ("''Titanic''{{'s}} crew", "Titanic's crew"),
    "nowrap": ("{{nowrap|5 km}} {{abbr|UN|United Nations}}", "5 km UN"),
    "coordinates": (
        "at {{coord|13|19|N|169|9|W|display=inline}}.",
        "at 13\u00b019\u2032N 169\u00b09\u2032W.",
    ),
    "coordinates of the page": ("{{coord|28|N|2|E|display=title}}a", "a"),
    "coordinates without a side": ("a {{coord|32.7|-86.7}} b", "a b"),
    "gauge": ("{{RailGauge|1435mm}} {{track gauge|3ft6in}}", "1,435 mm 3ft6 in"),
    "density": ("{{Pop density|3645257|640081.87|km2|sqmi|prec=1}}", "5.7/km\u00b2"),
    "density of nothing": ("a {{Pop density|5|0|km2}} {{pop density|x}} b", "a b"),
    "ships": ("{{USS|Hornet|CV-12|6}}, {{ship|HMS|Victory||2}}", "USS Hornet (CV-12), HMS Victory"),
    "ship class": ("{{sclass-|Nimitz|aircraft carrier}}", "Nimitz-class aircraft carrier"),
    "verse": ("{{bibleref|Mark|3:25|9}}, {{bibleverse|1|Peter|2:3|KJV}}", "Mark 3:25, 1 Peter 2:3"),
    "author and year": ("{{Harvtxt|Boolos|Jeffrey|1974}} say", "Boolos & Jeffrey (1974) say"),
    "money": ("{{US$|5 million}} {{\u00a3|3}}", "US$5 million \u00a33"),
    "measure": ("{{M|1,9|19|anni}}, {{M|32,7|k|m}}", "1,9\u00d710\u00b9\u2079 anni, 32,7 km"),
    "ipa": ("({{IPAc-en|lang|\u00e6|l|\u0259}})", "(/\u00e6l\u0259/)"),
    "quote": ("a\n{{quote|text=So it is.|author=B}}\nc", "a\nSo it is.\n\u2014 B\n\nc"),
    "quote of a source": (
        "{{quote|So.|[[B|C]]<ref>d</ref>|in E, 1971}}",
        "So.\n\u2014 C, in E, 1971",
    ),
    "lists": ("{{hlist|a|b}}\n{{ordered list|x|y}}", "a, b\n- x\n- y"),
    "named first argument": ("{{nowrap|1=a=b}}", "a=b"),
    "text that lacks a source": (
        "a, {{Senza fonte|of 5 km}} {{citation needed span|b}}",
        "a, of 5 km b",
    ),
    "template in template": ("{{small|{{convert|5|km|mi}}}}", "5 km"),
    "formatnum": ("{{formatnum:12345}} {{formatnum:{{x}}}}!", "12,345!"),
    "comment in a name": ("{{convert<!-- x -->|5|km}}", "5 km"),
    "parser function": ("a{{#if:x|y|z}}b", "ab"),
    "magic words": ("__NOTOC__a{{DEFAULTSORT:A}}{{PAGENAME}}", "a"),
    "magic words of other languages": (
        "__KEIN_INHALTSVERZEICHNIS__a__\u76ee\u6b21\u975e\u8868\u793a__",
        "a",
    ),
    "underscores": ("a __init__ b", "a __init__ b"),
    "unclosed template": ("a {{b|c\n\nd {{nowrap|e}}", "a {{b|c\n\nd e"),
    "template closed twice": ("a {{b}}}} c", "a }} c"),
    "script variants": ("-{zh-hans:\u8ba1; zh-hant:\u8a08}- -{H|zh-cn:x; zh-tw:y}-a", "\u8ba1 a"),
    "no variants": ("-{\u8a08}- x^-{a}-", "\u8a08 x^-{a}-"),
    # What a left-out part leaves behind
    "empty parentheses": ("Rome ({{audio|x}}) is", "Rome is"),
    "leading punctuation": ("Rome ({{audio|x}}; {{y}}, ''Roma'') is", "Rome (Roma) is"),
    "trailing punctuation": ("Rome (''Roma''; {{y}}, {{x}}) is", "Rome (Roma) is"),
    "parentheses of code": ("call f() and (1,)", "call f() and (1,)"),
    "comma before the end": ("213 minutes, {{ASIN|x}}. Notes: {{cite|x}}.", "213 minutes. Notes."),
    "end of a sentence twice": ("on land.<!-- x -->. They", "on land. They"),
    "full stops of the source": (
        "Hooper, [[A|Sr.]]. Ellipsis ...<ref>x</ref> b",
        "Hooper, Sr.. Ellipsis ... b",
    ),
    "space before a comma": ("an area of {{x}}, is large <ref>y</ref>.", "an area of, is large."),
    # Tags
    "reference": ("a<ref>b</ref><ref name=c/> d", "a d"),
    "reference with a template": ("a<ref>{{cite|x=[[y]]}}</ref>.", "a."),
    "unclosed reference": ("a <ref>b\n\nc", "a b\n\nc"),
    "comment": ("a<!-- b\n c -->d", "ad"),
    "comment line": ("a\n<!-- b -->\nc", "a\nc"),
    "gallery": ("a\n<gallery>\nFile:A.jpg|b\n</gallery>\nc", "a\nc"),
    "math": ("so <math>x'^2 ''</math> is", "so $x'^2 ''$ is"),
    "math of several lines": ("<math>1 + {n\n^2} /\n{x}</math>", "$1 + {n ^2} / {x}$"),
    "chemistry": ("<chem>H2O</chem> <ce>CO2</ce>", "H2O CO2"),
    "math with braces": ("<math>\\frac{{a}}{b}</math>", "$\\frac{{a}}{b}$"),
    "superscript": ("10<sup>6</sup> km<sup>2</sup> 1<sup>st</sup>", "10\u2076 km\u00b2 1st"),
    "subscript": ("H<sub>2</sub>O C<sub>''n''</sub>", "H\u2082O C\u2099"),
    "exponents": (
        "x<sup>a+b</sup> 10<sup>1.5</sup> 5<sup>1/2</sup> M<sup>lle</sup>",
        "x^(a+b) 10^1.5 5^(1/2) Mlle",
    ),
    "letters below": (
        "K<sub>a1</sub> x<sub>i+1</sub> 20<sub>hex</sub> H<sub>2(l)</sub> HCl<sub>(g)</sub>",
        "K\u2090\u2081 x\u1d62\u208a\u2081 20hex H\u2082(l) HCl(g)",
    ),
    "code": ("<syntaxhighlight lang=py>\nif ''x'':\n    y\n</syntaxhighlight>", "if ''x'':\n    y"),
    "line break": ("a<br>b<br />c", "a\nb\nc"),
    "rule": ("a\n----\nb", "a\n\nb"),
    "poem": ("<poem>\na\nb\n</poem>", "a\nb"),
    "span": ('<span style="x">a</span><small>b</small>', "ab"),
    "includeonly": ("<includeonly>x</includeonly><noinclude>y</noinclude>", "y"),
    "stray tags": ("a</small> b<sup>15</sub> c", "a b15 c"),
    "html list": ("<ul><li>a</li><li>b</li></ul>", "- a\n- b"),
    "nowiki markup": ("<nowiki>[[a]] {{b}} <ref></nowiki>", "[[a]] {{b}} <ref>"),
    # Tables
    "table": ("a\n{| class=x\n|-\n| b || c\n|}\n\nd", "a\n\nd"),
    "table in a table": ("a\n{|\n|\n{|\n| b\n|}\n|}\nd", "a\nd"),
    "unclosed table": ("a\n{| class=x\n|-\n| b\n", "a"),
    "row without a table": ("a\n! b !! c\n! d\n", "a\n! d"),
    "table in a template": ("{{box|\n{|\n| a\n|}\n}}b", "b"),
    "template in a table": ("{|\n| {{convert|5|km}}\n|}\na", "a"),
    "line of a link that is none": ("a [[b\n|c]] d", "a [[b |c]] d"),
    "html table": ("a<table><tr><td>b</td></tr></table>", "a"),
    # Lists and paragraphs
    "list": ("* a\n** b\n# c\n: d\n; e", "- a\n- b\n- c\nd\ne"),
    "definition": ("; a : b\n; c\n: d", "a: b\nc\nd"),
    "list of nothing": ("* {{x}}\n* a", "- a"),
    "indented list": (": * a\n: b", "- a\nb"),
    "name of a list that was left out": ("{{flag icon|IT}}:\n* a", "- a"),
    "html list left open": ("<ul><li>a<li>b</ul>", "a\nb"),
    "paragraph of several lines": ("a\nb [[c]]\n''d''\n\ne\nf", "a b c d\n\ne f"),
    "paragraph around what was left out": ("a\n{{x}}\nb\n[[File:A.jpg]]\nc", "a\nb\nc"),
    "paragraph after a list": ("a\n* b\nc\nd", "a\n- b\nc d"),
    "paragraph around an indented line": ("a\n: b\nc\n\n: d", "a\nb\nc\n\nd"),
    "lines that begin with a space": ("a\n b\n c\nd", "a\nb\nc\nd"),
    "dashes without a list": ("a\n- b\n- c", "a\n- b\n- c"),
    "lines of a block": ("a\n<blockquote>\nb\nc\n</blockquote>\nd", "a\n\nb c\n\nd"),
    "line break in a paragraph": ("a<br>b\nc", "a\nb c"),
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
    "entity of an entity": ("&amp;lt;b&amp;gt; &amp;nbsp;", "&lt;b&gt; &nbsp;"),
    "forbidden entities": ("a&#xD800;b&#31;c&#x200D;d&#xA0;&#10;e&bogus;", "abc\u200dd e&bogus;"),
    "windows lines": ("a\r\n\r\nb\rc", "a\n\nb c"),
    "control characters": ("a\x00\x02b\x06", "ab"),
    "no-break space": ("a\u00a0 b", "a b"),
}


@pytest.mark.parametrize("case", CASES)
def test_markup_becomes_the_expected_text(case: str) -> None:
    markup, expected = CASES[case]
    assert clean_wikitext(markup, LinkPrefixes()) == expected


@pytest.mark.parametrize("case", CASES)
def test_text_is_the_same_where_the_parser_was_not_compiled(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert CTokenizer is not Tokenizer
    monkeypatch.setattr("data_prep.wikitext_render.CTokenizer", None)
    markup, expected = CASES[case]
    assert clean_wikitext(markup, LinkPrefixes()) == expected


def test_local_namespaces_are_hidden_too() -> None:
    prefixes = LinkPrefixes.of_namespaces({6: "Immagine", 14: "Categoria", 1: "Discussione"})
    markup = "a [[Categoria:B]] [[immagine:C]] [[Category:D]] [[Discussione:E]]"
    assert clean_wikitext(markup, prefixes) == "a Discussione:E"
