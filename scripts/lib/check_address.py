"""Refuse, in one line and before anything starts, an address that uvicorn could not listen on."""

import argparse
import errno
import os
import socket
import sys

ADVICE = {
    errno.EADDRINUSE: "is in use: stop the program that uses it, or choose another one, for instance PORT=8001",
    errno.EACCES: "is for root only: choose a port from 1024 on, for instance PORT=8000",
    errno.EADDRNOTAVAIL: "is no address of this machine: choose another --host",
}


def main() -> None:
    options = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    options.add_argument("--host", default=os.environ.get("UVICORN_HOST", "127.0.0.1"))
    options.add_argument("--port", default=os.environ.get("PORT", "8000"))
    options.add_argument("--uds")
    options.add_argument("--fd")
    chosen, _ = options.parse_known_args()
    if chosen.uds is None and chosen.fd is None:
        if not chosen.port.isdecimal() or int(chosen.port) > 65535:
            sys.exit(f"serve: {chosen.port!r} is no port: choose a number up to 65535, for instance PORT=8000")
        check(chosen.host, int(chosen.port))


def check(host: str, port: int) -> None:
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        sys.exit(f"serve: the host {host!r} cannot be resolved ({error.strerror}): choose another --host")
    for family, kind, protocol, _, address in addresses:
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(address)
            except OSError as error:
                reason = ADVICE.get(error.errno or 0, f"cannot be used ({error.strerror}): choose another one")
                sys.exit(f"serve: port {port} on {host} {reason}")


if __name__ == "__main__":
    main()
