"""The one thread in which a driver is asked."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class DriverThread:
    """Answers one question after the other.

    Unlike those of a `ThreadPoolExecutor`, nobody waits for it when the process ends: a driver may never answer.
    """

    def __init__(self) -> None:
        self._questions: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        threading.Thread(target=self._answer_all, name="local-gpus", daemon=True).start()

    def submit(self, question: Callable[[], T]) -> Future[T]:
        answer: Future[T] = Future()
        self._questions.put((answer, question))
        return answer

    def _answer_all(self) -> None:
        while True:
            answer, question = self._questions.get()
            if answer.set_running_or_notify_cancel():
                try:
                    answer.set_result(question())
                except BaseException as error:
                    answer.set_exception(error)
