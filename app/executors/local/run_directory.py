"""The directory of a run: what stands in it, read by whoever asks. The run wrapper says what each file means."""

import errno
import fcntl
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

FOR_US_ALONE = 0o700
FOR_OTHERS_TO_PASS_THROUGH = 0o711
FILE_MODE = 0o600


@dataclass(frozen=True, slots=True)
class Started:
    """Who took the run, and when."""

    pid: int
    start_ticks: int
    boot_id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """One run's directory, which may not exist. All paths follow from the run's id; nothing a user wrote is in them."""

    path: Path

    @property
    def work(self) -> Path:
        """Where the command begins; it belongs to the user whom the job runs as."""
        return self.path / "work"

    @property
    def samples(self) -> Path:
        return self.path / "samples"

    def make(self) -> None:
        """The directory itself, if it is missing."""
        with suppress(FileExistsError):
            self.path.mkdir(mode=FOR_US_ALONE)

    def make_work(self, owner: tuple[int, int] | None) -> None:
        """The command's own directory, with a place for temporary files; the job's user owns and reaches both."""
        for directory in (self.work, self.work / "tmp"):
            with suppress(FileExistsError):
                directory.mkdir(mode=FOR_US_ALONE)
        if owner is not None:
            self.path.chmod(FOR_OTHERS_TO_PASS_THROUGH)
            for directory in (self.work / "tmp", self.work):
                # A second start may find what the job has made of it meanwhile: a link to something that is ours.
                descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    os.fchown(descriptor, *owner)
                finally:
                    os.close(descriptor)

    def write_spec(self, spec: Mapping[str, Any]) -> None:
        self._write("spec.json", spec)

    def spec(self) -> Mapping[str, Any] | None:
        return self._read("spec.json")

    def forget_spec(self) -> None:
        (self.path / "spec.json").unlink(missing_ok=True)

    def is_described(self) -> bool:
        return (self.path / "spec.json").exists()

    def written_at(self, name: str) -> datetime | None:
        """When this file of the run came to be; None: there is none."""
        try:
            return datetime.fromtimestamp((self.path / name).lstat().st_mtime, UTC)
        except OSError:
            return None

    def has_begun(self) -> bool:
        return (self.path / "started").exists()

    def started(self) -> Started | None:
        """None: not begun, or its wrapper is about to say who it is."""
        fields = self._read("started")
        if fields is None:
            return None
        return Started(
            fields["pid"], fields["start_ticks"], fields["boot_id"], datetime.fromtimestamp(fields["started_at"], UTC)
        )

    def evidence(self) -> Mapping[str, Any] | None:
        """How the run ended, by its wrapper."""
        return self._read("evidence.json")

    def verdict(self) -> Mapping[str, Any] | None:
        """How the run ended, by us, where its wrapper was killed before it could tell."""
        return self._read("verdict.json")

    def write_verdict(self, verdict: Mapping[str, Any]) -> None:
        self._write("verdict.json", verdict)

    def complaints(self) -> list[str]:
        """What Python said when the wrapper itself broke, by lines."""
        try:
            return (self.path / "wrapper.err").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        except OSError:
            return []

    def is_over(self) -> bool:
        return (self.path / "evidence.json").exists() or (self.path / "verdict.json").exists()

    def ask_to_stop(self, grace: timedelta, *, again: bool = False, disk: str | None = None) -> None:
        """Leave the wish where every wrapper of this run finds it. One that is there already stays, unless `again`.

        `disk`: the sentence that says why the run has to end, if it is for the room that it takes.

        On a full disk there may be room for no more than a name, which is a wish as well, for the grace of `spec.json`.
        """
        wish: dict[str, Any] = {"grace_seconds": grace.total_seconds()}
        if disk is not None:
            wish |= {"why": "disk", "message": disk}
        try:
            self._write("stop", {**(self._read("stop") or {}), **wish} if again else wish, unless_there=not again)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not self.is_described():
                raise
            with suppress(FileExistsError):
                (self.path / "stop").hardlink_to(self.path / "spec.json")

    def stopped_before(self) -> datetime | None:
        """When the run should be over because somebody asked for it; None: nobody did, or without a grace."""
        asked_at = self.written_at("stop")
        grace = (self._read("stop") or {}).get("grace_seconds") if asked_at is not None else None
        return None if asked_at is None or grace is None else asked_at + timedelta(seconds=grace)

    def is_held(self) -> bool:
        """Whether the run's wrapper lives: it holds the lock as long as it does."""
        try:
            lock = os.open(self.path / "lock", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def _read(self, name: str) -> Mapping[str, Any] | None:
        """None: it is not there, or not written yet."""
        try:
            descriptor = os.open(self.path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return None
            raise
        with os.fdopen(descriptor, "rb") as file:
            content = file.read()
        try:
            fields = json.loads(content)
        except ValueError:
            return None
        return fields if isinstance(fields, dict) else None

    def _write(self, name: str, fields: Mapping[str, Any], *, unless_there: bool = False) -> None:
        """A file with all of its content or none, also after a power cut."""
        draft = self.path / f".{name}.{os.getpid()}.{os.urandom(4).hex()}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(fields, file)
                file.flush()
                os.fsync(file.fileno())
            if unless_there:
                with suppress(FileExistsError):
                    (self.path / name).hardlink_to(draft)
            else:
                draft.rename(self.path / name)
        finally:
            draft.unlink(missing_ok=True)
        self._keep_names()

    def _keep_names(self) -> None:
        directory = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
