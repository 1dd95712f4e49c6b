"""What the other tests read scripts with."""

import pytest

from tests.frontend.javascript import Script

TRICKY = r"""
// a comment with `, " and {
const path = /["'`/]\/[^/]+/g.test(a) ? 4 / 2 / 1 : "it's // no comment";
const page = html`<p title="${t("nav.home")}">${items.map((item) => html`<b>\`${{ a: item }.a}</b>`)}</p>`; /* ` */
"""


def test_code_comments_strings_and_templates_are_told_apart() -> None:
    script = Script(TRICKY)
    assert script.comments == ['// a comment with `, " and {', "/* ` */"]
    assert [(text.line, text.parts) for text in script.texts] == [
        (3, ("it's // no comment",)),
        (4, ("nav.home",)),
        (4, (r"<b>\`", "</b>")),
        (4, ('<p title="', '">', "</p>")),
    ]
    assert script.texts[1].after.endswith("t(")
    assert script.texts[3].after == "const page = html"
    assert "const path = /(?:)/.test(a) ? 4 / 2 / 1 : " in script.code


@pytest.mark.parametrize("source", ['const a = "open', "if (a) { b(); } }"])
def test_what_cannot_be_read_is_not_passed_over(source: str) -> None:
    with pytest.raises(AssertionError):
        Script(source)
