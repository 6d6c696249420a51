"""Wiki markup that nobody would write: repeated to any length, or put together at random."""

import random
from typing import Final

HOSTILE: Final = (
    # Never closed, or closed by something else.
    *("{{", "{{a|", "[[", "[[a|", "{|\n|", "[http://a ", "<b>", "<ref name=a", "<!--", "<math>"),
    *("]]{{a|", "</<nowiki>", "</b><b a=", "/><b>", "<br ", "<br\t[", "<math></nowiki>"),
    *("{{a [[b }} c]]", "[[a {{b ]] }}", "</li>\n|}\n{|<li>[[a|", '<b a=">', "-->)<td\n{|\n''"),
    *("<!--[http://a", "<ref>{{a</ref>", "<table><tr><td>{|"),
    # Closed, and many.
    *("{{a}}", "{{convert|1|km}}", "[[a]]", "[[a|b]]", "<b></b>", "<br>", "<ref/>", "&lt;", "<li>"),
    *("*", "\n*", "\n= a =", "{{a|b=c|d}}", "\n----", "http://a ", "<nowiki>a</nowiki>"),
    # For the patterns of the last steps.
    *("(", "( ;", "({{a}};", "{{a}} ", "'", "''a", "'''''", "<", "</div ", "- ", "\n ", ";,", " )"),
    *("&#", "__A", "-{", "-{a:b;", "\u00a0"),
)
"""Fragments whose repetition has made one cleaner or another slow."""

_PIECES: Final = (
    *("{{", "}}", "{{{", "}}}", "[[", "]]", "{|", "|}", "|-", "||", "|", "\n", "\n\n", " ", "="),
    *(
        "\n== ",
        " ==\n",
        "\n* ",
        "\n# ",
        "\n: ",
        "\n; ",
        "''",
        "'''",
        "'",
        "<!--",
        "-->",
        "<nowiki>",
    ),
    *(
        "</nowiki>",
        "<ref>",
        "</ref>",
        "<ref name=x/>",
        "<math>",
        "</math>",
        "<br>",
        "<div",
        "</div>",
    ),
    *(
        "<table>",
        "<tr><td>",
        "</table>",
        "<gallery>",
        "</gallery>",
        "<pre>",
        "</pre>",
        "<sup>",
        ">",
    ),
    *(
        "&nbsp;",
        "&#x41;",
        "&#99999999;",
        "&amp;lt;",
        "-{",
        "}-",
        "__TOC__",
        "http://a.b/c",
        "[http://",
    ),
    *("]", "File:a.jpg|thumb|", "Category:", "de:", "convert|5|km|mi", "lang|fr|", "#if:", "\x00"),
    *(
        "\u00e9",
        "\u4e2d\u6587",
        "\U0001f600",
        "\u200f",
        "12,345.6",
        "word",
        "Another one",
        "(",
        ")",
    ),
)


def repeat(fragment: str, size: int) -> str:
    """Return `size` characters of a fragment over and over."""
    return (fragment * (size // len(fragment) + 1))[:size]


def random_wikitext(seed: int) -> str:
    """Return markup put together at random: a line, a page, or a few pieces thousands of times."""
    draw = random.Random(seed)
    pieces = draw.sample(_PIECES, draw.choice((2, 5, 20, len(_PIECES))))
    length = draw.choice((10, 100, 1000, 10_000))
    return "".join(draw.choices(pieces, k=draw.randint(1, length)))
