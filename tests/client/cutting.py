"""A bad network between a client and the real service: a relay that cuts connections when it is told to."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

PIECE_BYTES = 65_536


@dataclass
class Cut:
    """Of the next `times` answers to such a request only `after` bytes arrive."""

    request: bytes
    after: int
    times: int


@dataclass
class Relay:
    """`url` is the service's, by way of this relay."""

    target: tuple[str, int]
    listener: socket.socket
    cuts: list[Cut] = field(default_factory=list)

    @property
    def url(self) -> str:
        host, port = self.listener.getsockname()
        return f"http://{host}:{port}"

    def cut(self, request: str, *, after: int = 0, times: int = 1) -> Cut:
        """`request` begins its first line: `POST /api/v1/jobs `."""
        cut = Cut(request.encode(), after, times)
        self.cuts.append(cut)
        return cut

    def serve(self) -> None:
        """Until the listener is closed."""
        with suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                threading.Thread(target=self._relay, args=(near,), daemon=True).start()

    def _relay(self, near: socket.socket) -> None:
        """Requests one after the other, as one client sends them on one connection."""
        with suppress(OSError), near, socket.create_connection(self.target) as far:
            asked = [b""]
            threading.Thread(target=_send_on, args=(near, far, asked), daemon=True).start()
            while answer := far.recv(PIECE_BYTES):
                cut = next((cut for cut in self.cuts if cut.times > 0 and asked[0].startswith(cut.request)), None)
                if cut is None:
                    near.sendall(answer)
                    continue
                near.sendall(answer[: cut.after])
                cut.times -= 1
                near.shutdown(socket.SHUT_RDWR)
                return


def _send_on(near: socket.socket, far: socket.socket, asked: list[bytes]) -> None:
    with suppress(OSError):
        while piece := near.recv(PIECE_BYTES):
            if piece.split(b" ", 1)[0] in (b"GET", b"POST"):
                asked[0] = piece
            far.sendall(piece)
        far.shutdown(socket.SHUT_RDWR)


@contextmanager
def relay_to(url: str) -> Iterator[Relay]:
    address = urlsplit(url)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        relay = Relay((str(address.hostname), int(address.port or 80)), listener)
        threading.Thread(target=relay.serve, daemon=True).start()
        yield relay
        listener.shutdown(socket.SHUT_RDWR)
