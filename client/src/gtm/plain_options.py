"""Options whose values need no conversion, without what converts.

typer converts every value by pydantic, whose import takes about a third of a call's time. A text is a text, digits are
a whole number, and an option that was not given has its default: for these, and only these, pydantic is not asked.
Numbers may be written in Persian or Arabic digits.
"""

from typing import Any, TypeVar

from typer._coercion import build_runtime_param

from gtm.digits import fold_digits

Parameter = TypeVar("Parameter", bound=Any)
MOST_DIGITS = 18


def converted_late(parameters: list[Parameter]) -> list[Parameter]:
    """The same parameters of typer, told to take values as they are where that is enough."""
    for parameter in parameters:
        if parameter.type_descriptor.parameter_info.parser is None:
            parameter._runtime_param = PlainIfPossible(parameter.type_descriptor)
    return parameters


class PlainIfPossible:
    """Stands where typer keeps what converts a parameter's values."""

    def __init__(self, descriptor: Any) -> None:
        self._descriptor = descriptor

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        if self._descriptor.annotation is str and isinstance(value, str):
            return value
        if self._descriptor.annotation == list[str] and _are_texts(value):
            return list(value)
        if type(value) is self._descriptor.annotation and value == param.default:
            return value
        return self._number(value, param, ctx)

    def _number(self, value: Any, param: Any, ctx: Any) -> Any:
        """Whole numbers and lists of them; everything else by typer, once its digits are ASCII's."""
        annotation = self._descriptor.annotation
        if annotation == list[int] and _are_texts(value):
            value = [fold_digits(text) for text in value]
            if all(map(self._is_whole_number, value)):
                return [int(text) for text in value]
        if annotation in (int, float) and isinstance(value, str):
            value = fold_digits(value)
            if annotation is int and self._is_whole_number(value):
                return int(value)
        return build_runtime_param(self._descriptor).coerce(value, param=param, ctx=ctx)

    def _is_whole_number(self, value: Any) -> bool:
        """In digits alone, and within the bounds of this parameter; what is not gets its message from typer."""
        if not (isinstance(value, str) and value.isdecimal() and len(value) <= MOST_DIGITS):
            return False
        bounds = self._descriptor.parameter_info
        return (bounds.min is None or bounds.min <= int(value)) and (bounds.max is None or int(value) <= bounds.max)


def _are_texts(values: Any) -> bool:
    return isinstance(values, (list, tuple)) and all(isinstance(value, str) for value in values)
