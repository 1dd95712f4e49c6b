"""Options whose values need no conversion, without what converts.

typer converts every value by pydantic, whose import takes about a third of a call's time. A text is a text, and an
option that was not given has its default: for these, and only these, pydantic is not asked.
"""

from typing import Any, TypeVar

from typer._coercion import build_runtime_param

Parameter = TypeVar("Parameter", bound=Any)


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
        return build_runtime_param(self._descriptor).coerce(value, param=param, ctx=ctx)


def _are_texts(values: Any) -> bool:
    return isinstance(values, (list, tuple)) and all(isinstance(value, str) for value in values)
