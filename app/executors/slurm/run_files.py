"""What is kept of each run in `SLURM_LOG_DIR`, which this machine shares with all nodes.

    <run id>.submitted      that somebody went to submit the run, when, and as whom; made once, before `sbatch`
    <run id>.log            what the command printed; Slurm writes it
    <run id>.began          a symbolic link to nothing; its text names the job that began the run, or says `never`
    <run id>.refused        such a link; names the latest job that came too late to begin it

The folder belongs to the service alone. Where jobs run as their owners (`SLURM_SUBMIT_AS=user`), all but the first lie
in a folder of that user, who owns it; its group is the service's and is inherited (mode 2770), so that the service can
read logs and make links while no other user can do either. Root makes these folders itself; otherwise an admin does:

    install -d -o sara -g gtm -m 2770 /shared/gtm/sara

Nothing here is ever named by what a person wrote, and no link is followed. A log has to be a file of its user: another
name (hard link) for a file of somebody else, which this service may read and that user may not, is none.
"""

import errno
import json
import os
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from pwd import struct_passwd
from uuid import UUID

from app.domain.execution import LaunchError, LogChunk, LogUnavailable
from app.executors.slurm.submission import NEVER, Began, parse_began

FOLDER_OF_USER_MODE = 0o2770


@dataclass(frozen=True, slots=True)
class Submitted:
    """An attempt to submit a run as the user `uid`; `login` is None where that is the service itself."""

    at: datetime
    login: str | None
    uid: int


@dataclass(frozen=True, slots=True)
class RunFiles:
    """All calls may wait for a network file system: they belong into a thread."""

    root: Path

    def folder(self, login: str | None) -> Path:
        return self.root / login if login else self.root

    def log_path(self, run_id: UUID, login: str | None) -> Path:
        return self.folder(login) / f"{run_id}.log"

    def began_path(self, run_id: UUID, login: str | None) -> Path:
        return self.folder(login) / f"{run_id}.began"

    def refused_path(self, run_id: UUID, login: str | None) -> Path:
        return self.folder(login) / f"{run_id}.refused"

    def _submitted_path(self, run_id: UUID) -> Path:
        return self.root / f"{run_id}.submitted"

    def claim(self, run_id: UUID, attempt: Submitted) -> bool:
        """Note that the run is about to be submitted. False: somebody was here before, and may have submitted it."""
        text = json.dumps({"at": attempt.at.timestamp(), "login": attempt.login, "uid": attempt.uid})
        try:
            descriptor = os.open(
                self._submitted_path(run_id), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600
            )
        except FileExistsError:
            return False
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        return True

    def renew(self, run_id: UUID, attempt: Submitted) -> None:
        """Note another attempt, after it was proved that the earlier one came to nothing."""
        self._submitted_path(run_id).unlink()
        self.claim(run_id, attempt)

    def submitted(self, run_id: UUID) -> Submitted | None:
        """The latest attempt; None: there was none. One that was cut off while it was noted counts as made just now."""
        path = self._submitted_path(run_id)
        try:
            text = _read_whole(path)
        except FileNotFoundError:
            return None
        try:
            noted = json.loads(text)
            return Submitted(datetime.fromtimestamp(noted["at"], UTC), noted["login"], int(noted["uid"]))
        except (ValueError, KeyError, TypeError):
            return Submitted(datetime.fromtimestamp(path.lstat().st_mtime, UTC), None, os.geteuid())

    def forbid(self, run_id: UUID, login: str | None) -> bool:
        """See to it that the command never begins. False: it began already, or was forbidden before."""
        try:
            self.began_path(run_id, login).symlink_to(NEVER)
        except FileExistsError:
            return False
        return True

    def began(self, run_id: UUID, login: str | None) -> Began | None:
        """Which job began the run; None: so far none did, or the file system does not show it yet."""
        return _read_link(self.began_path(run_id, login))

    def refused(self, run_id: UUID, login: str | None) -> Began | None:
        """Which job, or which repetition of a job, came too late."""
        return _read_link(self.refused_path(run_id, login))

    def read_log(self, run_id: UUID, login: str | None, offset: int, limit: int, *, complete: bool) -> LogChunk | None:
        """A part of the log; None: there is no such file.

        Raises:
            LogUnavailable: it is there and cannot be read.
        """
        path = self.log_path(run_id, login)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise LogUnavailable(str(path)) from error
        try:
            status = os.fstat(descriptor)
            is_of_the_user = login is None or status.st_uid == path.parent.lstat().st_uid
            if not stat.S_ISREG(status.st_mode) or not is_of_the_user:
                raise LogUnavailable(str(path))
            data = os.pread(descriptor, limit, offset) if offset < status.st_size else b""
        except OSError as error:
            raise LogUnavailable(str(path)) from error
        finally:
            os.close(descriptor)
        return LogChunk(offset, data, max(status.st_size, offset + len(data)) if data else status.st_size, complete)

    def prepare_folder(self, account: struct_passwd) -> None:
        """See that this user's jobs can write their logs, and the service read them.

        Raises:
            LaunchError: they cannot, and what an admin has to do.
        """
        folder, login = self.folder(account.pw_name), account.pw_name
        try:
            if not folder.exists() and os.geteuid() == 0:
                folder.mkdir(mode=0o700)
                os.chown(folder, account.pw_uid, os.getegid())
                folder.chmod(FOLDER_OF_USER_MODE)
            status = folder.lstat()
        except OSError as error:
            reason = "missing" if error.errno == errno.ENOENT else error.strerror
            raise LaunchError(f"The folder for the logs of {login} is {reason}; an admin has to make it.") from error
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != account.pw_uid or status.st_mode & 0o007:
            raise LaunchError(f"The folder for the logs of {login} has to be theirs, and closed to other users.")
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            raise LaunchError(f"The folder for the logs of {login} is closed to this service.")


def _read_link(path: Path) -> Began | None:
    try:
        return parse_began(str(path.readlink()))
    except OSError:
        return None


def _read_whole(path: Path) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor, encoding="utf-8", errors="replace") as file:
        return file.read()
