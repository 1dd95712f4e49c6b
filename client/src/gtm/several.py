"""One act on several things: each stands for itself, and a script is told the worst that happened."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import typer

from gtm.context import Session
from gtm.errors import CommandError, ExitCode
from gtm.output import Column

Thing = TypeVar("Thing")
Answer = Mapping[str, Any]


def each_of(
    session: Session,
    things: Iterable[Thing],
    act: Callable[[Thing], Answer],
    said: Callable[[Answer], str],
    *,
    then: Callable[[Sequence[Answer]], str],
) -> None:
    """Act on one after the other, and tell of each: people by a sentence, programs by the API's answer.

    Raises:
        typer.Exit: with the highest exit code, if one was refused.
        CommandError: of the only one, or when the service does not know us or is away: then no other is tried.
    """
    todo = list(dict.fromkeys(things))
    answers, worst = [], ExitCode.OK
    for thing in todo:
        try:
            answers.append(act(thing))
        except CommandError as failure:
            if len(todo) == 1 or failure.exit_code in (ExitCode.FORBIDDEN, ExitCode.UNREACHABLE):
                tell(session, answers, said, then=then)
                raise
            session.output.error(f"{thing}: {failure.message}" + (f" [{failure.code}]" if failure.code else ""))
            worst = max(worst, failure.exit_code)
    tell(session, answers, said, then=then)
    if worst:
        raise typer.Exit(worst)


def tell(
    session: Session, answers: list[Answer], said: Callable[[Answer], str], *, then: Callable[[Sequence[Answer]], str]
) -> None:
    """One line for each, and after the last one the command that is useful next."""
    output = session.output
    if not answers:
        return
    if output.format != "table":
        output.records(answers, [Column("ID", "id")], empty="")
        return
    for answer in answers[:-1]:
        output.say(said(answer))
    output.say(said(answers[-1]), then=then(answers))
