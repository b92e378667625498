"""A document as HTML and as Markdown: nothing in it is markup, nothing is loaded."""

import base64
import re

import pytest

from ferryman.evaluation.document import (
    Document,
    Facts,
    Picture,
    Section,
    Table,
    Text,
    shown,
    shown_interval,
    shown_number,
)
from ferryman.evaluation.intervals import Interval
from ferryman.evaluation.model_card import render_markdown, without_pictures
from ferryman.evaluation.report_page import render_html

NASTY = "<script>alert('1')</script> | **b** [a](http://x) `c` $x$ {{ 7*7 }}"


@pytest.fixture
def document() -> Document:
    blocks = [
        Facts([(NASTY, NASTY), ("rows", 12345), ("nothing", None)]),
        Table((NASTY, "Value"), [(NASTY, 0.25), ("b", None)]),
        Text(NASTY, "bad"),
        Picture(b"\x89PNG", NASTY),
        Picture(b"\x89PNG2", "another"),
    ]
    return Document(NASTY, NASTY, [Section(NASTY, blocks)])


def test_html_holds_no_markup_of_others(document: Document) -> None:
    page = render_html(document).decode()
    assert "<script" not in page
    assert "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;" in page
    assert "{{ 7*7 }}" in page
    assert "49" not in page
    assert "http" not in re.sub(r"a\]\(http://x\)|\[a\]\(http://x\)", "", page)
    content = base64.b64encode(b"\x89PNG").decode()
    assert f'src="data:image/png;base64,{content}"' in page
    assert page.count('<div class="pictures">') == 1  # pictures in a row stand together
    assert "12,345" in page


def test_numbers_stand_to_the_right_and_words_do_not() -> None:
    table = Table(("word", "number"), [("a", 1.5), ("b", None)])
    page = render_html(Document("t", "a", [Section("s", [table])])).decode()
    assert "<th>word</th>" in page
    assert '<th class="number">number</th>' in page
    assert '<td class="number">–</td>' in page


def test_markdown_holds_no_markup_of_others(document: Document) -> None:
    text = render_markdown(document)
    assert "<" not in text
    assert re.search(r"(?<!\\)[\[\]`$]", text) is None
    assert text.startswith("# &lt;script&gt;")
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows] == [3, 3, 3, 3]
    assert "\\*\\*b\\*\\*" in text
    assert "another" not in text  # pictures are left out


def test_a_line_break_ends_no_row_of_markdown() -> None:
    table = Table(("a",), [("one\n\ntwo | three",)])
    text = render_markdown(Document("t", "a", [Section("s", [table])]))
    assert "| one two \\| three |" in text


@pytest.mark.parametrize("line", ["# a", "- a", "+ a", "1. a", "12) a", "---", "=== "])
def test_a_sentence_begins_nothing(line: str) -> None:
    text = render_markdown(Document("t", "a", [Section("s", [Text(line)])]))
    assert re.search(r"^\d*\\[#+.)=-]", text, re.MULTILINE)
    assert re.search(r"^\d*[-+.)=]", text, re.MULTILINE) is None


def test_a_card_leaves_pictures_out(document: Document) -> None:
    kinds = [block.kind for block in without_pictures(document.sections[0]).blocks]
    assert kinds == ["facts", "table", "text"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (3.0, "3"),
        (0.61234, "0.6123"),
        (-1234567.5, "-1.23e+06"),
        (12345.678, "12,345.68"),
        (0.00012345, "0.000123"),
        (float("nan"), "–"),
        (float("inf"), "–"),
    ],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert shown_number(value) == text


def test_what_there_is_not_is_a_dash() -> None:
    assert shown(None) == "–"
    assert shown(1234) == "1,234"
    assert shown_interval(None) == "–"
    assert shown_interval(Interval(0.5, 0.75)) == "[0.5000, 0.7500]"
