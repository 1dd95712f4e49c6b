"""The file with personal access tokens: one per profile, each bound to the URL that gave it out.

It is mode 0600 in a folder of mode 0700, and is not used if anybody else could read or replace it. It is written
beside and moved in place, so that it is always whole.
"""

import json
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gtm.errors import CommandError, ExitCode

FILE_NAME = "credentials.json"
OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True)
class Credential:
    """A token and what is known of it.

    `expires_at` is RFC 3339. `made_here`: by `gtm login` on this machine, so that nobody else can be using it.
    """

    profile: str
    url: str
    token: str
    id: str | None = None
    name: str | None = None
    email: str | None = None
    expires_at: str | None = None
    made_here: bool = False

    def __repr__(self) -> str:
        return f"Credential(profile={self.profile!r}, url={self.url!r}, token=…)"


@dataclass(frozen=True, slots=True)
class CredentialFile:
    """The tokens of this user."""

    path: Path

    def find(self, profile: str, url: str) -> Credential | None:
        """The profile's token for this very URL, and no other."""
        return next((each for each in self.read() if (each.profile, each.url) == (profile, url)), None)

    def read(self) -> list[Credential]:
        """All of them. Raises CommandError (4) if others could read the file, or if it is none of ours."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CommandError(f"{self.path} cannot be read: {error.strerror}.", exit_code=ExitCode.FORBIDDEN) from None
        with open(descriptor, encoding="utf-8") as file:  # noqa: PTH123 - the very file that was looked at
            self._refuse_if_shared(os.fstat(descriptor))
            content = file.read()
        try:
            return [Credential(**each) for each in json.loads(content)["tokens"]]
        except (ValueError, KeyError, TypeError):
            raise CommandError(
                f"{self.path} is damaged.",
                exit_code=ExitCode.FORBIDDEN,
                hint=f"remove it (rm {self.path}) and sign in again: gtm login",
            ) from None

    def keep(self, credential: Credential) -> None:
        """In place of what the profile had."""
        with self._alone():
            self._write([*(each for each in self.read() if each.profile != credential.profile), credential])

    def forget(self, profile: str) -> None:
        with self._alone():
            self._write([each for each in self.read() if each.profile != profile])

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Of several calls at once each waits for the one before, so that none drops what another has just kept."""
        import fcntl  # who only reads goes without

        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder = os.open(self.path.parent, os.O_RDONLY)
        except OSError as error:
            raise self._cannot_be_written(error) from None
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)

    def _refuse_if_shared(self, status: os.stat_result) -> None:
        if os.name != "posix":
            return
        if status.st_uid != os.geteuid():
            raise CommandError(
                f"{self.path} belongs to somebody else, and is not used.",
                exit_code=ExitCode.FORBIDDEN,
                hint=f"remove it and sign in again: rm {self.path}; gtm login",
            )
        if status.st_mode & OTHERS:
            raise CommandError(
                f"{self.path} can be read by others on this machine (mode {stat.S_IMODE(status.st_mode):04o}), "
                "and is not used.",
                exit_code=ExitCode.FORBIDDEN,
                hint=f"chmod 600 {self.path}; if somebody may have read it, revoke its token as well: gtm token list",
            )

    def _write(self, credentials: Iterable[Credential]) -> None:
        content: dict[str, Any] = {"tokens": [asdict(each) for each in credentials]}
        try:
            draft = self.path.with_name(f"{FILE_NAME}.{os.getpid()}.tmp")
            draft.unlink(missing_ok=True)
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - made for us alone
                json.dump(content, file, indent=2)
                file.flush()
                os.fsync(descriptor)
            draft.replace(self.path)
        except OSError as error:
            raise self._cannot_be_written(error) from None

    def _cannot_be_written(self, error: OSError) -> CommandError:
        return CommandError(f"{self.path} cannot be written: {error.strerror}.")
