"""The user id that each owner's jobs have on this machine: given once, kept in a file, never given to another owner."""

import errno
import fcntl
import json
import os
import random
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from grp import getgrgid
from itertools import chain
from pathlib import Path
from pwd import getpwuid

from app.core.config import ConfigurationError
from app.domain.execution import LaunchError
from app.executors.local.wrapper import tasks_of_user

FILE_NAME = "job-uids"
LOWEST_UID = 10_000
"""Below are the accounts of the system, and those that `useradd` makes for people."""
HIGHEST_UID = 2**31 - 1
"""Some programs take a uid for a signed number."""

ALL_TAKEN = "Every user id in LOCAL_JOB_UIDS is taken; an admin has to choose a larger range."


def read_uids(text: str) -> range:
    """A range as `LOCAL_JOB_UIDS` has it, both ends included.

    Raises:
        ConfigurationError: it is none, or accounts of people could be in it.
    """
    ends = re.fullmatch(r"([0-9]{1,10})-([0-9]{1,10})", text)
    first, last = (int(end) for end in ends.groups()) if ends else (1, 0)
    if not LOWEST_UID <= first <= last <= HIGHEST_UID:
        raise ConfigurationError(
            "LOCAL_JOB_UIDS: write the first and the last user id of a range that no account has, as in "
            f"2010000000-2010065535, between {LOWEST_UID} and {HIGHEST_UID}"
        )
    return range(first, last + 1)


def is_in_use(uid: int) -> bool:
    """Whether this machine knows a user or a group of this number, or processes of it run (of another service, say)."""
    for find in (getpwuid, getgrgid):
        try:
            find(uid)
        except KeyError:
            continue
        return True
    return tasks_of_user(uid) > 0


@dataclass(frozen=True, slots=True)
class JobUids:
    """A line `[uid, owner]` in a file for every uid that was given to an owner.

    The file lies beside the runs and not in the database: files of these uids are on this machine, whatever backup the
    database is restored from. The first uid is drawn, so that two services on one machine do not give out the same.
    """

    file: Path
    uids: range
    is_in_use: Callable[[int], bool] = is_in_use
    draw: Callable[[range], int] = random.SystemRandom().choice

    def of(self, owner: str) -> int:
        """The uid of this owner, which is given to them now if they have none in the range.

        Raises:
            LaunchError: all are taken.
            OSError: the file cannot be read or written.
        """
        with self._opened() as descriptor:
            owners = _read(descriptor)
            for uid in reversed(owners):
                if owners[uid] == owner and uid in self.uids:
                    return uid
            uid = self._next(owners)
            _append(descriptor, uid, owner)
        return uid

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """With a lock: a dispatcher that was overtaken may still be in the midst of a launch."""
        descriptor = os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)

    def _next(self, owners: Mapping[int, str]) -> int:
        given = [uid for uid in owners if uid in self.uids]
        after = given[-1] + 1 if given else self.draw(self.uids)
        for uid in chain(range(after, self.uids.stop), range(self.uids.start, after)):
            if uid not in owners and not self.is_in_use(uid):
                return uid
        raise LaunchError(ALL_TAKEN)


def _read(descriptor: int) -> dict[int, str]:
    """Owners by uid, in the order in which they were given theirs."""
    lines = os.pread(descriptor, os.fstat(descriptor).st_size, 0).splitlines(keepends=True)
    return dict(json.loads(line) for line in lines if line.endswith(b"\n"))


def _append(descriptor: int, uid: int, owner: str) -> None:
    """A line that a crash or a full disk cut short was never told to anybody, and is overwritten."""
    complete = os.pread(descriptor, os.fstat(descriptor).st_size, 0).rfind(b"\n") + 1
    line = json.dumps([uid, owner]).encode() + b"\n"
    os.ftruncate(descriptor, complete)
    if os.pwrite(descriptor, line, complete) < len(line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.fsync(descriptor)
