"""Somebody else's server: what it answers to everybody, and what it was sent."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


def answer(status: str = "200 OK", body: str = "{}", **headers: str) -> bytes:
    """An HTTP answer; `Content_Type` is the header's name with an underscore."""
    head = {"Content_Type": "application/json", **headers, "Content_Length": str(len(body.encode()))}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in head.items()]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "Connection: close", "", body]).encode()


@contextmanager
def stranger(says: bytes = answer()) -> Iterator[tuple[str, list[bytes]]]:
    """Its address, and the requests that have reached it."""
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_serve, args=(listener, says, received))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", received
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _serve(listener: socket.socket, says: bytes, received: list[bytes]) -> None:
    """Until the listener is shut down."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            received.append(connection.recv(65536))
            connection.sendall(says)
