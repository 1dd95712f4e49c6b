"""Strings, numbers and other JSON values that have broken programs like this one.

Each string carries `CANARY`, so that an answer which repeats what was sent can be recognised; in `EXACT` are those that
must stand alone to be what they are. There are more of them than need be tried everywhere, so they are dealt out like
cards: see `dealt`.
"""

from collections.abc import Sequence
from typing import Any

CANARY = "kanarya7"

_CONTROLS = [chr(code) for code in (*range(0x20), 0x7F, *range(0x80, 0xA0))]
_HALF_SURROGATES = ["\ud800", "\udbff", "\udc00", "\udfff", "\udc80\ud800", "a\ud83d", "\ude00b"]
_DIRECTIONS = [
    "\u202eexe.txt", "\u202dltr", "\u202a\u202b\u202c", "\u2066\u2067\u2068\u2069", "\u200e\u200f", "\u061c",
    "سلام \u202e world", "\u2069\u2069\u2069 out of the isolate", "שלום", "مرحبا", "\u202e" * 50,
]  # fmt: skip
_INVISIBLE = [
    "\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u00ad", "\u180e", "\u3164", "\u115f", "\u00a0", "\u2007",
    "\u3000", "\u1680", "\u2028", "\u2029", "\u0085", "\ufff9\ufffb", "\U000e0001\U000e007f", "\u034f", "\u2800",
]  # fmt: skip
_UNICODE = [
    "e\u0301", "\u0301alone", "Z̸͓̤a̴̱͝l̵̥͆g̶̠̈́o̷̞͆", "a" + "\u0323\u0307" * 40, "ﬃ", "ℌ", "Å", "ⅷ½²",
    "İstanbul", "ıi", "ẞß", "ſ", "K", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇮🇷🇩🇪", "👍🏿", "😀" * 60, "𠜎𠜱", "𝒳",
    "\U0010ffff", "\uffff", "\ufffe", "\ufffd", "\ufdd0", "\ue000", "田中さんにあげて下さい", "和製漢語", "사회과학원",
    "แผ่นดินฮั่น", "Ẹ̀kọ́", "ЁЂЃЄЅІЇ", "ਪੰਜਾਬੀ", "ﷺ", "ﷲ", "كي", "ۀة", "پژوهشگاه", "می‌خواهد",
]  # fmt: skip
_DIGITS = ["۱۲۳", "١٢٣", "१२३", "１２３", "۱٫۵", "٣٫٤", "1٬000", "𝟙𝟚", "①", "Ⅻ"]
_MARKUP = [
    '"><img src=x onerror=alert(1)>', "<script>alert(1)</script>", "</textarea><svg/onload=alert(1)>",
    "javascript:alert(1)", "'-alert(1)-'", "{{7*7}}", "${7*7}", "#{7*7}", "<%= 7*7 %>", "<!--", "-->", "]]>",
    "<![CDATA[", "&lt;b&gt;", "&#0;",
    "<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>", "`", "*/", "/*",
    "//",
]  # fmt: skip
_SHELL = [
    "$(id)", "`id`", "; rm -rf /", "| cat /etc/passwd", "&& true", "\n#SBATCH --uid=0\n", "#!/bin/sh\nid",
    "$HOME", "~root", "!!", "\\x41", "-rf", "--help", "-", "> /tmp/x", "$IFS", "'\"'\"'", "\\", "\\\\", "\\'",
    '\\"', "*", "?", "%PATH%",
]  # fmt: skip
_PATHS = [
    "../", "../../../../etc/passwd", "..\\..\\windows\\win.ini", "/etc/passwd", "file:///etc/passwd", "C:\\",
    "\\\\host\\share", "%2e%2e%2f", "%00", "%0d%0aSet-Cookie: a=b", "%", "%zz", "%u0041", "%ff%fe", "%25",
    "con", "nul.txt", ".", "..", "/dev/null", "http://169.254.169.254/latest/meta-data/",
]  # fmt: skip
_SQL = [
    "'; --", "' OR '1'='1", "'; DROP TABLE users; --", "\\'; --", "1; SELECT pg_sleep(10)", "$$", "$1", ":name",
    ":1::text", "%s", "%(name)s", "%%", "_", "\\_", "E'\\x00'", "NULL", "{}", "{1,2}", "[1,2)", "()",
    "a & | ! <-> b:*", "':*", "&", "|", "!",
]  # fmt: skip
_FORMATS = [
    "{0}", "{name}", "{", "}", "{{", "%n", "%d", "{0.__class__}", "null", "undefined", "None", "true", "NaN",
    "Infinity", "-0", "0x10", "1e3", "1_000", "1,5", " 1 ", "+1", "1.0", "01", "9" * 40, "-1", "2147483648",
    "9223372036854775808", "1970-01-01", "9999-12-31T23:59:60Z", "0000-00-00", "2026-02-30", "a@b", "a@b.c",
    "<a@b.org>", '"a b"@b.org', "a@[127.0.0.1]", "a@xn--nxasmq6b.org", "ا@ب.org", "\ta@b.org", "a@b.org\n", "@",
    "a@@b.org", "application/json", "=1+1", "@SUM(A1)", "+1+1", "-1+1",
]  # fmt: skip
_WHITE = [" ", "  lead", "trail  ", "\t", "\n", "\r\n", "a\nb", "a\tb", "a\r\nb: c", "\n\n\n", "\u000b", "\u000c"]
_LONG = ["x" * 256, "y" * 2100, "z" * 20_000, "پ" * 300, "😀" * 1100, "/" * 500, "'" * 300, "[" * 2000, "a " * 2000]

EXACT: Sequence[str] = [
    "", " ", "\t", "\n", ".", "..", "0", "-1", "%", "*", "null", "NaN", "\x00", "\ufeff", "\u200b", "۱", "１",
]  # fmt: skip
"""Strings that must stand alone to be what they are."""

MARKED: Sequence[str] = [
    f"{text}{CANARY}"
    for text in (
        *_CONTROLS, *_HALF_SURROGATES, *_DIRECTIONS, *_INVISIBLE, *_UNICODE, *_DIGITS, *_MARKUP, *_SHELL, *_PATHS,
        *_SQL, *_FORMATS, *_WHITE, *_LONG,
    )
]  # fmt: skip

VALUES: Sequence[Any] = [
    0, -0.0, -1, 1, 2, 3, 65, 200, 201, 255, 256, 32_767, 32_768, 65_536, 2**31 - 1, 2**31, 2**32, 2**53,
    2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**30, -(2**31), -(2**63), -(2**64), 0.1, 0.5, 1.5, 1.0,
    2.9999999999999996, 1e-5, 1e-320, 5e-324, 1e22, 1e308, 1.7976931348623157e308, 719.99999, 720, 720.0001,
    1_000_000, 1_000_000.01, float("inf"), float("-inf"), float("nan"), True, False, None, "3", "1.5", "۳",
    "true", "", [], [1], [[]], {}, {"": 1}, {"$ne": None}, {"__proto__": {"is_admin": True}},
]  # fmt: skip
"""What JSON can carry besides, with the infinities and NaN that Python's writes and reads too."""

RAW_BODIES: Sequence[bytes] = [
    b"", b"{", b"}", b"[]", b"[{}]", b'""', b"null", b"0", b"true", b"NaN", b"{}{}", b"{,}", b'{"a":}',
    b"{'a': 1}", b'{"a": 1,}', b"\xff\xfe{\x00}\x00", b"\xef\xbb\xbf{}", b'{"name": "\xff"}',
    b'{"name": "\xed\xa0\x80"}', b'{"name": "\x00"}', b'{"name": "\\ud800"}', b'{"name": "\\u0000"}',
    b'{"\\ud800": 1}', b'{"\\u0000": 1}', b'{"": 1}', b'{"name": 1, "name": "x"}', b'{"num_gpus": 1e400}',
    b'{"num_gpus": -1e400}', b'{"num_gpus": 1E+2}', b'{"num_gpus": 0x10}', b'{"num_gpus": 1_0}',
    b'{"num_gpus": 01}', b'{"num_gpus": Infinity}', b'{"num_gpus": -NaN}',
    b'{"num_gpus": ' + b"9" * 5000 + b"}", b'{"num_gpus": 0.' + b"0" * 5000 + b"1}", b"[" * 60_000,
    b'{"a":' * 10_000, b'{"name": ' + b"[" * 30_000 + b"]" * 30_000 + b"}", b'{"' + b"a" * 60_000 + b'": 1}',
    b"{" + b",".join(b'"f%d": 1' % number for number in range(5000)) + b"}",
]  # fmt: skip
"""Bodies that no JSON library would write."""


def dealt(player: int, players: int) -> list[str]:
    """The exact strings for everybody, and of the others every `players`th, so that together they hold them all."""
    return [*EXACT, *MARKED[player % players :: players]]
