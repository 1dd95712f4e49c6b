"""Numbers as people type them: Persian and Arabic keyboards have digits of their own."""

ASCII_NUMBER = {
    **{ord(digit): str(value) for value, digit in enumerate("۰۱۲۳۴۵۶۷۸۹")},
    **{ord(digit): str(value) for value, digit in enumerate("٠١٢٣٤٥٦٧٨٩")},
    ord("٫"): ".",
}


def fold_digits(text: str) -> str:
    """Persian and Arabic digits to ASCII, and the blanks around them away."""
    return text.translate(ASCII_NUMBER).strip()
