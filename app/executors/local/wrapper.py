"""The run wrapper: runs one command once, outlives whoever started it, and leaves evidence of how it ended.

    python -I -S -E wrapper.py RUN_DIRECTORY

It is a program of its own: nothing but the standard library, nothing of `app`, and of the library only what is cheap,
because one of them stays in memory for every job. The process that was started ends as soon as the run is taken: with
`TAKEN`, with `NOT_OURS` when another wrapper has taken it before, with anything else when it could not be taken. The
wrapper itself goes on in a session of its own, as a child of nobody who could take it along.

What it shares with the executor are the files of the run directory. All of them belong to the service and are closed
to the job:

`spec.json`      what to run (see `Spec`); complete before the wrapper is started
`lock`           flock, held as long as the wrapper lives; the job never has it
`started`        made with O_EXCL, so that the command runs at most once; the wrapper's identity: pid, start_ticks,
                 boot_id, started_at. It can be empty for a moment
`child.json`     there before the command begins: pid, start_ticks and boot_id of its first process, the mark of its
                 session (see `session_mark`), the cgroups that hold its processes, and which limits they enforce
`stop`           made by the executor to ask for an end, which SIGTERM to the wrapper then brings about at once:
                 {"grace_seconds": …}, or anything else for the grace of `spec.json`; with "why": "disk" and a "message"
                 where the run takes too much room. A wrapper that finds it before the command was begun never begins it
`log.<offset>`   what the command printed from this byte on; see `CappedLog`
`evidence.json`  how it ended, renamed into place when no process of the run is left, or with `survivors` when some
                 could not be killed; see `Evidence`
`wrapper.err`    what Python says if the wrapper itself breaks

Without `started` the run has not begun. With `started`, a free lock and no evidence the wrapper was killed, and what
is left of the run is for the executor to kill.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import resource
import select
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from typing import NoReturn

TAKEN, NOT_OURS, BROKEN = 0, 3, 4
"""Exit codes of the process that was started; the wrapper itself goes on in another one."""

LOCK_PATIENCE_SECONDS = 2
"""For how long a lock that somebody else holds is taken for a probe, which lasts no longer than a moment."""

HEARTBEAT_SECONDS = 5
"""How often clock and stop file are looked at although nothing happens: the clock goes on while the machine sleeps."""

KILL_PATIENCE_SECONDS = 20
SESSION_PATIENCE_SECONDS = 1
EVIDENCE_PATIENCE_SECONDS = 60
EVIDENCE_BYTES = 4096
PIPE_BYTES = 1 << 20
MOVES_PER_ROUND = 16
GATHERING_SECONDS = 0.005
"""A job that prints line by line wakes us no more often than that; its lines wait in the pipe, which has room."""

DISK_RETRY_SECONDS = 1.0
TAIL_SEGMENTS = 8
OPEN_FILES = 65_536
OOM_SCORE = 500
"""When the machine is out of memory, jobs are killed before the service and its database."""

FILE_MODE = 0o600

PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, PR_SET_CHILD_SUBREAPER = 1, 38, 36

_libc = ctypes.CDLL(None, use_errno=True)


def main(run_directory: str) -> int:
    """Take the run in a process of its own, and say whether it was taken."""
    os.closerange(3, OPEN_FILES)
    directory = os.open(run_directory, os.O_RDONLY | os.O_DIRECTORY)
    os.chdir("/")
    heard, said = os.pipe()
    if os.fork():
        os.close(said)
        return int.from_bytes(os.read(heard, 1) or bytes([BROKEN]), "big")
    os.close(heard)
    os.setsid()
    os.umask(0o077)
    _let_go_of_standard_streams(directory)
    events = Events()
    evidence = _take(directory)
    os.write(said, bytes([NOT_OURS if evidence is None else TAKEN]))
    os.close(said)
    if evidence is not None:
        crash_point("wrapper.after-started")
        _keep(directory, events, evidence)
    os._exit(0)


def _let_go_of_standard_streams(directory: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    errors = os.open("wrapper.err", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, FILE_MODE, dir_fd=directory)
    for descriptor, replaced in ((null, 0), (null, 1), (errors, 2)):
        os.dup2(descriptor, replaced)
    os.close(null)
    os.close(errors)


def _take(directory: int) -> Evidence | None:
    """Make the run ours; None if it is another wrapper's.

    The lock comes first, so that `started` without a held lock means a wrapper that is dead. A disk that has no room
    for what proves start and end is no place to begin at.
    """
    lock = os.open("lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, FILE_MODE, dir_fd=directory)
    give_up_at = time.monotonic() + LOCK_PATIENCE_SECONDS
    while not _locked(lock):
        if _exists("started", directory) or time.monotonic() > give_up_at:
            return None
        time.sleep(0.01)
    crash_point("wrapper.before-started")
    try:
        started = os.open("started", os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE, dir_fd=directory)
    except FileExistsError:
        return None
    try:
        evidence = Evidence(directory)
        os.write(started, json.dumps(identity_of(os.getpid()) | {"started_at": time.time()}).encode())
        os.fsync(started)
        os.fsync(directory)
    except OSError:
        os.unlink("started", dir_fd=directory)
        raise
    os.close(started)
    return evidence


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _keep(directory: int, events: Events, evidence: Evidence) -> None:
    """Run the command, and write the evidence of its end."""
    try:
        spec = Spec(_read_json("spec.json", directory))
    except (OSError, ValueError, KeyError, TypeError) as error:
        evidence.write(stopped="launch", message=f"The run's description could not be read: {error}")
        return
    if _exists("stop", directory):
        evidence.write(stopped="stop", message="The run was stopped before its command began.")
        return
    run = Run(directory, spec, events)
    try:
        run.begin(evidence)
    except LaunchFailure as failure:
        run.end()
        evidence.write(stopped="launch", message=str(failure), started_at=None)
        return
    crash_point("wrapper.after-spawn")
    run.attend()
    survivors = not run.end()
    evidence.ended()
    crash_point("wrapper.before-evidence")
    evidence.write(**run.outcome(), survivors=survivors)


class Spec:
    """What `spec.json` says."""

    def __init__(self, fields: dict[str, object]) -> None:
        self.run_id = str(fields["run_id"])
        self.command = str(fields["command"])
        self.environment = {str(name): str(value) for name, value in _mapping(fields["env"]).items()}
        self.directory = str(fields["cwd"])
        """Where the command begins: an absolute path."""
        self.uid = _optional_int(fields.get("uid"))
        """Whom it runs as; None: as the service itself."""
        self.gid = _optional_int(fields.get("gid"))
        self.groups = [int(str(group)) for group in _sequence(fields.get("groups"))]
        self.time_limit = float(str(fields["time_limit_seconds"]))
        self.kill_grace = float(str(fields["kill_grace_seconds"]))
        self.log_limit = int(str(fields["log_limit_bytes"]))
        self.memory_limit = _optional_int(fields.get("memory_limit_bytes"))
        self.process_limit = _optional_int(fields.get("process_limit"))
        self.cgroup_parent = fields.get("cgroup_parent", "gpu-task-manager")
        """Name of the cgroup, made where cgroups can be made, that holds those of all runs; None: use none."""
        self.is_sandboxed = fields.get("sandbox", "none") == "bubblewrap"
        self.gpu_device_paths = [str(path) for path in _sequence(fields.get("gpu_device_paths"))]
        self.hidden_paths = [str(path) for path in _sequence(fields.get("hidden_paths"))]
        """Directories that a sandboxed command sees empty."""
        self.writable_paths = [str(path) for path in _sequence(fields.get("writable_paths"))]
        """Where a sandboxed command may write besides its /tmp; may lie in a hidden directory."""


class LaunchFailure(Exception):
    """The command was not run. The message is one sentence for the job's owner."""


class Events:
    """Wakes the wrapper when a child ends, when SIGTERM comes, and when there is output; by nothing else.

    SIGTERM by itself means nothing: a machine that shuts down sends it to the job as well. It makes us look for `stop`.
    It is heard from the beginning on, because whoever reads `started` may send it.
    """

    def __init__(self) -> None:
        self._wakeup, waking = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._poller = select.poll()
        self._poller.register(self._wakeup, select.POLLIN)
        signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)

    def watch(self, output: int) -> None:
        self._poller.register(output, select.POLLIN)

    def forget(self, output: int) -> None:
        self._poller.unregister(output)

    def wait(self, seconds: float) -> bool:
        """Wait for one of them, at most so long; true if it is output."""
        ready = [descriptor for descriptor, _ in self._poller.poll(seconds * 1000 + 1)]
        if self._wakeup in ready:
            os.read(self._wakeup, 512)
            ready.remove(self._wakeup)
        return bool(ready)


class Run:
    """The command, from its first process to the last one that it left behind."""

    def __init__(self, directory: int, spec: Spec, events: Events) -> None:
        self._directory = directory
        self._spec = spec
        self._events = events
        self._cgroups = Cgroups(spec)
        self._log = CappedLog(directory, spec.log_limit)
        self._output = -1
        self._sandbox_says = -1
        self._child = 0
        self._status: int | None = None
        self._started_at = 0.0
        self._kill_at = float("inf")
        self._stopped: str | None = None
        self._message: str | None = None
        self._ran_out_of_memory = False

    def begin(self, evidence: Evidence) -> None:
        """Start the command, once the files say everything that is needed to prove it gone.

        Raises:
            LaunchFailure: it does not run and never did.
        """
        try:
            problem = self._spawn(evidence)
        except OSError as error:
            problem = f"The run could not be prepared: {error.strerror}."
        if problem:
            raise LaunchFailure(problem)

    def _spawn(self, evidence: Evidence) -> str:
        """What the first process says is wrong, or nothing once it has become the command."""
        _prctl(PR_SET_CHILD_SUBREAPER, 1)
        self._output, printing = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._output, False)
        try:
            fcntl.fcntl(self._output, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        except OSError:
            pass  # the user's share of pipe memory is used up: the usual 64 KiB do as well
        go, begin = os.pipe2(os.O_CLOEXEC)
        failed, fail = os.pipe2(os.O_CLOEXEC)
        self._sandbox_says, sandbox_tells = os.pipe2(os.O_CLOEXEC)
        crash_point("wrapper.before-spawn")
        self._child = os.fork()
        if not self._child:
            os.close(begin)
            _become_the_command(self._spec, self._cgroups, printing, go, fail, sandbox_tells)
        for descriptor in (printing, go, fail, sandbox_tells):
            os.close(descriptor)
        note = identity_of(self._child) | {"session": _new_session_of(self._child)} | self._cgroups.describe()
        _write_new("child.json", json.dumps(note).encode(), self._directory)
        crash_point("wrapper.after-child")
        self._started_at = evidence.begun()
        try:
            os.write(begin, b"!")
        except BrokenPipeError:
            pass  # it has given up already, and said why
        os.close(begin)
        self._events.watch(self._output)
        said = b""
        while part := os.read(failed, 4096):
            said += part
        os.close(failed)
        return said.decode(errors="replace")

    def attend(self) -> None:
        """Keep the log, the time limit and the wish to stop, until the command has ended.

        A command that was asked to end has the time for it until its last process is gone, not only its first one.
        """
        while True:
            if self._events.wait(self._seconds_to_wait()) and self._take_output(MOVES_PER_ROUND) < PIPE_BYTES // 16:
                time.sleep(GATHERING_SECONDS)
            none_left = self._reap()
            if none_left or (self._status is not None and self._stopped is None):
                return
            now = boottime()
            if self._stopped is not None:
                if now >= self._kill_at:
                    return
            elif (wish := self._wish_to_stop()) is not None:
                why, grace, self._message = wish
                self._ask_to_end(why, now + grace)
            elif now >= (limit := self._started_at + self._spec.time_limit):
                self._ask_to_end("time_limit", limit + self._spec.kill_grace)  # also where we come late to it

    def _seconds_to_wait(self) -> float:
        due_at = min(self._kill_at, self._started_at + self._spec.time_limit if self._stopped is None else float("inf"))
        return min(HEARTBEAT_SECONDS, max(0.0, due_at - boottime()))

    def _take_output(self, moves: int) -> int:
        """Move what was printed into the log, up to so many times; how many bytes there were."""
        before = self._log.position
        try:
            for _ in range(moves):
                if not self._log.take(self._output):
                    self._events.forget(self._output)
                    break
        except BlockingIOError:
            pass
        return self._log.position - before

    def _reap(self) -> bool:
        """Collect the dead; true if no process of the run is left.

        All orphans of the run come to us, so that every living process has an ancestor among our children.
        """
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return True
            if pid == self._child:
                self._status = status
            elif not pid:
                return False

    def _wish_to_stop(self) -> tuple[str, float, str | None] | None:
        """If an end was asked for: why, the grace, and a sentence for the job's owner."""
        if not _exists("stop", self._directory):
            return None
        try:
            wish = _read_json("stop", self._directory)
            grace = max(0.0, float(str(wish["grace_seconds"])))
        except (OSError, ValueError, KeyError, TypeError):
            return "stop", self._spec.kill_grace, None
        return ("disk", grace, str(wish.get("message"))) if wish.get("why") == "disk" else ("stop", grace, None)

    def _ask_to_end(self, why: str, kill_at: float) -> None:
        """SIGTERM to all processes, except to the sandbox: that would kill what is in it at once."""
        self._stopped, self._kill_at = why, kill_at
        _signal_descendants(signal.SIGTERM, signal.SIGCONT, leave_out_generations=2 if self._spec.is_sandboxed else 0)

    def end(self) -> bool:
        """Kill what is left, take the last output, and give the cgroups back; false if something survives."""
        gone = self._kill_everything() if self._child else True
        if self._output >= 0:
            self._take_last_output()
        self._log.close()
        self._ran_out_of_memory = self._cgroups.ran_out_of_memory()
        if gone:
            self._cgroups.remove()
        return gone

    def _kill_everything(self) -> bool:
        """Kill until the kernel says that we have no children any more.

        A fork bomb that is faster than one round is first stopped as a whole, so that the dead make no room for more.
        """
        give_up_at = time.monotonic() + KILL_PATIENCE_SECONDS
        rounds = 0
        while not self._reap():
            if time.monotonic() > give_up_at:
                return False
            self._cgroups.kill()
            if rounds > 1:
                _stop_all_descendants()
            _signal_descendants(signal.SIGKILL)
            if self._reap():
                break
            if self._events.wait(min(0.005 * 2**rounds, 0.2)):
                self._take_output(MOVES_PER_ROUND)
            rounds += 1
        return True

    def _take_last_output(self) -> None:
        """What the run's processes left in the pipe. Somebody outside of the run may have been given its other end."""
        end = self._log.position + PIPE_BYTES
        try:
            while self._log.position < end and self._log.take(self._output):
                pass
        except BlockingIOError:
            pass

    def outcome(self) -> dict[str, object]:
        """What the evidence says about the end."""
        exit_code = signal_number = None
        message = self._message
        if self._status is not None:
            code = os.waitstatus_to_exitcode(self._status)
            exit_code, signal_number = (code, None) if code >= 0 else (None, -code)
        stopped = self._stopped
        if stopped is None and self._ran_out_of_memory and exit_code != 0:
            stopped = "oom"
        if self._spec.is_sandboxed and stopped is None and exit_code == 1 and not self._sandbox_began():
            stopped, message = "launch", "The sandbox could not be set up; the log says why."
        return {
            "exit_code": exit_code,
            "signal": signal_number,
            "stopped": stopped,
            "message": message,
            "log_bytes": self._log.position,
            "log_bytes_lost": self._log.lost,
        }

    def _sandbox_began(self) -> bool:
        """Whether bubblewrap ran the command, which it tells when the command is over."""
        os.set_blocking(self._sandbox_says, False)
        try:
            return b"exit-code" in os.read(self._sandbox_says, 4096)
        except BlockingIOError:
            return False


def _new_session_of(child: int) -> str | None:
    """The mark of the session that our child is about to make for itself."""
    ours, give_up_at = session_mark(os.getpid()), time.monotonic() + SESSION_PATIENCE_SECONDS
    while (mark := session_mark(child)) == ours:
        if mark is None or time.monotonic() > give_up_at:
            return None
        time.sleep(0.001)
    return mark


def _signal_descendants(*numbers: signal.Signals, leave_out_generations: int = 0) -> set[tuple[int, int]]:
    """Who was meant; nobody while the machine has no file descriptor left to look for them."""
    try:
        found = descendants(everybody(), [os.getpid()], leave_out_generations)
        for pid, start_ticks in found:
            for number in numbers:
                send(pid, start_ticks, number)
    except OSError:
        return set()
    return found


def _stop_all_descendants() -> None:
    """SIGSTOP until nobody is left who could make another one."""
    stopped: set[tuple[int, int]] = set()
    for _ in range(50):
        found = _signal_descendants(signal.SIGSTOP)
        if found <= stopped:
            return
        stopped |= found


def _become_the_command(
    spec: Spec, cgroups: Cgroups, printing: int, go: int, fail: int, sandbox_tells: int
) -> NoReturn:
    """What the first process of the run does between fork and exec. It says what went wrong into `fail`."""
    doing = "The run could not be prepared"
    try:
        wrapper = os.getppid()
        os.setsid()
        cgroups.enter()
        _set_limits(spec, cgroups)
        signal.set_wakeup_fd(-1)
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_DFL)
        os.umask(0o022)
        null = os.open(os.devnull, os.O_RDONLY)
        for descriptor, replaced in ((null, 0), (printing, 1), (printing, 2)):
            os.dup2(descriptor, replaced)
        if spec.uid is not None:
            doing = "The job's user could not be taken on"
            os.fchown(printing, spec.uid, -1)  # so that the job can open /dev/stderr
            _become_user(spec.uid, spec.gid, spec.groups)
        _die_with(wrapper)
        if spec.is_sandboxed:
            doing = "The sandbox program bwrap cannot be run"
            os.set_inheritable(sandbox_tells, True)
            argv = sandboxed(spec, sandbox_tells)
        else:
            doing = f"The working directory {spec.directory} cannot be entered"
            os.chdir(spec.directory.encode())
            doing = "The command cannot be run"
            argv = [shell(), "-c", spec.command]
        if not os.read(go, 1):
            os._exit(1)  # the wrapper was killed before it could say what would prove us gone
        environment = {name.encode(): value.encode() for name, value in spec.environment.items()}
        os.execve(argv[0], [argument.encode() for argument in argv], environment)  # noqa: S606 - a shell is asked for
    except OSError as error:
        os.write(fail, f"{doing}: {error.strerror}.".encode())
    except BaseException as error:  # this process must never go on as a second wrapper
        os.write(fail, f"{doing}: {error!r}.".encode())
    os._exit(127)


def _set_limits(spec: Spec, cgroups: Cgroups) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = OPEN_FILES if most == resource.RLIM_INFINITY else min(OPEN_FILES, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, most))
    if spec.process_limit is not None and not cgroups.limits_processes:
        uid = os.getuid() if spec.uid is None else spec.uid
        limit = spec.process_limit + tasks_of_user(uid)
        _, most = resource.getrlimit(resource.RLIMIT_NPROC)
        limit = limit if most == resource.RLIM_INFINITY else min(limit, most)
        resource.setrlimit(resource.RLIMIT_NPROC, (limit, limit))
    _try_to_write("/proc/self/oom_score_adj", OOM_SCORE)  # refused if we were given a higher one, which is as good


def _become_user(uid: int, gid: int | None, groups: list[int]) -> None:
    """Give up what the service may do, with no way back: not by a program with the setuid bit either."""
    if gid is None:
        raise ValueError("no group is given")
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    _prctl(PR_SET_NO_NEW_PRIVS, 1)


def _die_with(wrapper: int) -> None:
    """Have the kernel kill us with the wrapper. It forgets that when the user changes, so this comes after it."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != wrapper:
        os._exit(1)


def shell() -> str:
    return "/bin/bash" if os.path.exists("/bin/bash") else "/bin/sh"


def sandboxed(spec: Spec, status_descriptor: int) -> list[str]:
    """The command in bubblewrap: the machine read-only, a /tmp of its own, no device but its GPUs, no other process.

    It is run by the job's user, by means of a user namespace: nothing of it has ever the service's rights, and no
    variable of the job's environment is seen by a program that has them. A hidden directory which that user cannot
    reach at all needs no hiding.
    """
    argv = [_bubblewrap(), "--die-with-parent", "--unshare-pid", "--unshare-ipc", "--json-status-fd"]
    argv += [str(status_descriptor), "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp"]  # noqa: S108
    for path in spec.gpu_device_paths:
        argv += ["--dev-bind-try", path, path]
    for path in spec.hidden_paths:
        if os.path.isdir(path):
            argv += ["--tmpfs", path]
    for path in spec.writable_paths:
        argv += ["--bind", path, path]
    for path in spec.hidden_paths:
        if os.path.isdir(path):
            argv += ["--remount-ro", path]
    return [*argv, "--chdir", spec.directory, "--", shell(), "-c", spec.command]


def _bubblewrap() -> str:
    """Never looked up in the job's own PATH."""
    for directory in os.defpath.split(":"):
        if os.path.exists(program := f"{directory}/bwrap"):
            return program
    raise FileNotFoundError(errno.ENOENT, "bubblewrap is not installed")


class Evidence:
    """`evidence.json`: how the run ended.

    started_at, ended_at: seconds since 1970, null if the command did not begin. elapsed_seconds: how long the run held
    its GPUs, by a clock that nobody sets and that goes on while the machine sleeps. exit_code or signal: of the first
    process. stopped: null, "stop", "time_limit", "oom", "disk" or "launch". message: one sentence or null. log_bytes:
    what was printed; log_bytes_lost: what of it the disk did not take. survivors: some processes could not be killed.

    Its place on the disk is taken before the command begins, so that a full disk cannot keep it from being written.
    """

    def __init__(self, directory: int) -> None:
        self._directory = directory
        self._file = os.open("evidence.tmp", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, FILE_MODE, dir_fd=directory)
        self._started_at: float | None = None
        self._ended_at: float | None = None
        self._begun_at = self._over_at = 0.0
        os.posix_fallocate(self._file, 0, EVIDENCE_BYTES)

    def begun(self) -> float:
        """The command begins now, which is told by the clock that elapsed time is measured with."""
        self._started_at, self._begun_at = time.time(), boottime()
        return self._begun_at

    def ended(self) -> None:
        self._ended_at, self._over_at = time.time(), boottime()

    def write(self, **outcome: object) -> None:
        """Everything or nothing of it, also through a power failure."""
        facts = {
            "started_at": self._started_at,
            "ended_at": self._ended_at,
            "elapsed_seconds": max(0.0, self._over_at - self._begun_at),
            "exit_code": None,
            "signal": None,
            "stopped": None,
            "message": None,
            "log_bytes": 0,
            "log_bytes_lost": 0,
            "survivors": False,
        }
        text = json.dumps(facts | outcome).encode()
        give_up_at = time.monotonic() + EVIDENCE_PATIENCE_SECONDS
        while True:
            try:
                os.pwrite(self._file, text, 0)
                os.ftruncate(self._file, len(text))
                os.fsync(self._file)
                crash_point("wrapper.before-rename")
                os.rename("evidence.tmp", "evidence.json", src_dir_fd=self._directory, dst_dir_fd=self._directory)
                os.fsync(self._directory)
            except OSError:
                if time.monotonic() > give_up_at:
                    raise
                time.sleep(DISK_RETRY_SECONDS)
            else:
                crash_point("wrapper.after-rename")
                return


class CappedLog:
    """What the command printed: the first half of the limit, and the last bytes in the other half.

    It is a row of files `log.<offset>`, each of which holds the output from that byte on without a gap; so an offset is
    a true position in the output whatever was left out before it. Those that begin in the first half of the limit are
    kept; of the others, the oldest goes when the newest is begun. At least 7/16 of the limit are kept from the end.

    Bytes go from the pipe to the disk inside the kernel, at once and without being copied into this process. Those that
    the disk does not take are lost: nothing that happens to the log stops the command, and it never waits for us.
    """

    _can_splice = True

    def __init__(self, directory: int, limit: int) -> None:
        self.position = 0
        """How many bytes have been printed."""
        self.lost = 0
        """How many of them the disk did not take."""
        self._directory = directory
        self._head_limit = limit // 2
        self._segment_limit = max(1, (limit - self._head_limit) // TAIL_SEGMENTS)
        self._tail: list[str] = []
        self._file = -1
        self._name = ""
        self._first = 0
        self._room = 0
        self._nowhere = os.open(os.devnull, os.O_WRONLY)
        self._trouble = ""
        self._lost_since = 0
        self._retry_at = 0.0

    def take(self, pipe: int) -> int:
        """Move what the pipe holds into the log, as far as one call does; 0 once it is closed and empty.

        Raises:
            BlockingIOError: there is nothing now.
        """
        if self._room <= 0 and not self._open_segment():
            return self._lose(pipe)
        if not self._can_splice:
            return self._copy(pipe)
        try:
            moved = _splice(pipe, self._file, self._room)
        except BlockingIOError:
            raise
        except OSError as error:
            if error.errno == errno.EINVAL:
                self._can_splice = False  # few file systems cannot
                return self._copy(pipe)
            self._fail(error)
            return self._lose(pipe)
        self._took(moved)
        return moved

    def _copy(self, pipe: int) -> int:
        """As by splicing, but through this process. What was read and the disk does not take is lost."""
        data = os.read(pipe, min(self._room, 65_536))
        written = 0
        try:
            while written < len(data):
                written += os.write(self._file, data[written:])
        except OSError as error:
            self._took(written)
            self._fail(error)
            self.position += len(data) - written
            self.lost += len(data) - written
        else:
            self._took(written)
        return len(data)

    def _took(self, moved: int) -> None:
        self.position += moved
        self._room -= moved
        if moved:
            self._trouble = ""

    def _open_segment(self) -> bool:
        """Begin the file that takes the bytes from here on; false while the disk has trouble."""
        self._close_segment()
        if time.monotonic() < self._retry_at:
            return False
        note = self._note()
        start = self.position - len(note)
        is_head = self.position < self._head_limit
        self._name, self._first = f"log.{start:020}", self.position
        try:
            while not is_head and len(self._tail) >= TAIL_SEGMENTS:
                os.unlink(self._tail.pop(0), dir_fd=self._directory)
            self._file = self._create(self._name)
            if not is_head:
                self._tail.append(self._name)
            if note:
                os.write(self._file, note)
        except OSError as error:
            self._fail(error)
            return False
        self._room = self._head_limit - self.position if is_head else self._segment_limit
        return True

    def _note(self) -> bytes:
        """A line that stands in the place of the last bytes that were lost, if they make room for it."""
        lost = self.position - self._lost_since if self._trouble else 0
        note = f"\n[{lost} bytes of output were lost here: {self._trouble}]\n".encode()
        return note if lost >= len(note) else b""

    def _create(self, name: str) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        try:
            return os.open(name, flags, FILE_MODE, dir_fd=self._directory)
        except FileExistsError:
            os.unlink(name, dir_fd=self._directory)  # an empty one of ours, or something that the job put there
            return os.open(name, flags, FILE_MODE, dir_fd=self._directory)

    def _fail(self, error: OSError) -> None:
        """What comes now is lost, until the next try. Tries that took nothing leave nothing, for they can be many."""
        if self._file >= 0 and self._first == self.position:
            try:
                os.unlink(self._name, dir_fd=self._directory)
            except OSError:
                pass
            if self._tail and self._tail[-1] == self._name:
                self._tail.pop()
        self._close_segment()
        self._retry_at = time.monotonic() + DISK_RETRY_SECONDS
        if not self._trouble:
            self._trouble = error.strerror or "error"
            self._lost_since = self.position

    def _lose(self, pipe: int) -> int:
        moved = _splice(pipe, self._nowhere, PIPE_BYTES)
        self.position += moved
        self.lost += moved
        return moved

    def _close_segment(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file, self._room = -1, 0

    def close(self) -> None:
        """If the last bytes were lost, say so where there is room for a line by now."""
        if self._trouble:
            self._retry_at = 0.0
            self._open_segment()
        self._close_segment()


def _splice(pipe: int, file: int, most: int) -> int:
    return os.splice(pipe, file, most, flags=os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK)


class Cgroups:
    """The control groups of one run, as far as this machine lets us make them: none, some, or all.

    They limit memory and processes, they prove that memory ran out, and they reach every process of the run at once.
    The wrapper itself moves out of the group of whoever started it, so that it does not end with the service.
    """

    def __init__(self, spec: Spec) -> None:
        self.limits_memory = False
        self.limits_processes = False
        self._paths: dict[str, str] = {}
        if spec.cgroup_parent is None:
            return
        for kind, base in cgroup_bases():
            parent = f"{base}/{spec.cgroup_parent}"
            try:
                _make_group(parent, kind, enable_in=base)
                _make_group(f"{parent}/wrappers", kind, enable_in=parent)
                _write(f"{parent}/wrappers/cgroup.procs", "0")
                if kind != "systemd":
                    _make_group(f"{parent}/{spec.run_id}", kind)
                    self._paths[kind] = f"{parent}/{spec.run_id}"
            except OSError:
                continue
        self._set_limits(spec.memory_limit, spec.process_limit)

    def _set_limits(self, memory: int | None, processes: int | None) -> None:
        if memory is not None:
            self.limits_memory = self._set("unified", "memory.max", memory) or self._set(
                "memory", "memory.limit_in_bytes", memory
            )
            self._set("unified", "memory.swap.max", 0)
            self._set("unified", "memory.oom.group", 1)
            self._set("memory", "memory.memsw.limit_in_bytes", memory)
        if processes is not None:
            self.limits_processes = self._set("unified", "pids.max", processes) or self._set(
                "pids", "pids.max", processes
            )

    def _set(self, kind: str, name: str, value: object) -> bool:
        return kind in self._paths and _try_to_write(f"{self._paths[kind]}/{name}", value)

    def enter(self) -> None:
        """Move the calling process into them."""
        for path in self._paths.values():
            _write(f"{path}/cgroup.procs", "0")

    def describe(self) -> dict[str, object]:
        return {
            "cgroups": list(self._paths.values()),
            "limits_memory": self.limits_memory,
            "limits_processes": self.limits_processes,
        }

    def kill(self) -> None:
        for path in self._paths.values():
            try:
                kill_cgroup(path)
            except OSError:
                continue  # the machine has no file descriptor left: the next round tries again

    def ran_out_of_memory(self) -> bool:
        for kind, name in (("unified", "memory.events"), ("memory", "memory.oom_control")):
            if kind in self._paths:
                try:
                    for line in _read(f"{self._paths[kind]}/{name}").splitlines():
                        if line.startswith("oom_kill ") and not line.endswith(" 0"):
                            return True
                except OSError:
                    continue
        return False

    def remove(self) -> None:
        for path in self._paths.values():
            remove_cgroup(path)


def cgroup_bases() -> Iterator[tuple[str, str]]:
    """Kind and directory of each hierarchy in which groups may be made: "unified" for version 2, or its controller.

    For root that is the top of what is mounted, for others the group in which they are, if it was delegated to them.
    """
    if not os.path.exists("/proc/self/cgroup"):
        return
    own: dict[str, str] = {}
    for line in _read("/proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in (controllers or "unified").split(","):
            own[controller.removeprefix("name=")] = path
    for line in _read("/proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        top, mount = before.split(" ")[3:5]
        fstype, _, options = after.split(" ", 2)
        kinds = {"unified"} if fstype == "cgroup2" else set(options.replace("name=", "").split(","))
        if fstype not in {"cgroup", "cgroup2"}:
            continue
        for kind in kinds & own.keys() & {"unified", "memory", "pids", "freezer", "systemd"}:
            inside = own[kind].removeprefix(top.rstrip("/")) if own[kind].startswith(top) else ""
            base = mount if os.geteuid() == 0 else f"{mount}{inside}"
            if os.access(base, os.W_OK):
                yield kind, base.rstrip("/")


def _make_group(path: str, kind: str, enable_in: str | None = None) -> None:
    """Make a group; those of version 2 have only the controllers that the one above hands down."""
    if kind == "unified" and enable_in is not None:
        for controller in ("+memory", "+pids"):
            # It may not be there, or not be ours to hand down: the group still holds its processes together.
            _try_to_write(f"{enable_in}/cgroup.subtree_control", controller)
    try:
        os.mkdir(path, 0o755)
    except FileExistsError:
        pass


def kill_cgroup(path: str) -> None:
    """SIGKILL to all processes of a group, in a way that they cannot outrun by forking."""
    if _try_to_write(f"{path}/cgroup.kill", 1):
        return
    _try_to_write(f"{path}/pids.max", 0)
    _try_to_write(f"{path}/freezer.state", "FROZEN")
    try:
        for pid in cgroup_members(path):
            if identity := process_identity(pid):
                send(pid, identity[1], signal.SIGKILL)
    finally:
        _try_to_write(f"{path}/freezer.state", "THAWED")


def cgroup_members(path: str) -> list[int]:
    try:
        return [int(pid) for pid in _read(f"{path}/cgroup.procs").split()]
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENODEV):
            return []  # it was removed
        raise


def remove_cgroup(path: str) -> None:
    """Groups that the run made below its own go first."""
    try:
        for entry in list(os.scandir(path)):
            if entry.is_dir(follow_symlinks=False):
                remove_cgroup(entry.path)
        os.rmdir(path)
    except OSError:
        pass


def everybody() -> dict[int, tuple[int, int]]:
    """Parent and start ticks of all processes, by pid."""
    return {pid: identity for pid in processes() if (identity := process_identity(pid)) is not None}


def descendants(
    alive: dict[int, tuple[int, int]], roots: Collection[int], leave_out_generations: int = 0
) -> set[tuple[int, int]]:
    """(pid, start ticks) of all those alive who are below the roots, without the first generations."""
    children: dict[int, list[int]] = {}
    for pid, (parent, _) in alive.items():
        children.setdefault(parent, []).append(pid)
    found: set[int] = set()
    generation = set(roots)
    while generation := {child for pid in generation for child in children.get(pid, ())} - found:
        if leave_out_generations <= 0:
            found |= generation
        leave_out_generations -= 1
    return {(pid, alive[pid][1]) for pid in found}


def processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def process_identity(pid: int) -> tuple[int, int] | None:
    """Parent and start ticks of a process; its pid alone proves nothing, for pids are used again."""
    try:
        stat = _read(f"/proc/{pid}/stat")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat[stat.rindex(")") + 2 :].split(" ")
    return int(fields[1]), int(fields[19])


def session_mark(pid: int) -> str | None:
    """What the kernel numbers each new session by for its scheduler, and never by the same number twice.

    None: nobody has this pid, or this kernel does not do it. The session's own id is a pid, which is used again.
    """
    try:
        return _read(f"/proc/{pid}/autogroup").partition(" ")[0] or None
    except OSError:
        return None


def send(pid: int, start_ticks: int, signal_number: int) -> bool:
    """Signal this process and no other one; false if it is gone."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    except OSError:  # a kernel before 5.3: the least that can be done is to look first
        process = -1
    try:
        identity = process_identity(pid)
        if identity is None or identity[1] != start_ticks:
            return False
        if process < 0:
            os.kill(pid, signal_number)
        else:
            signal.pidfd_send_signal(process, signal_number)
    except ProcessLookupError:
        return False
    finally:
        if process >= 0:
            os.close(process)
    return True


def tasks_of_user(uid: int) -> int:
    """How many threads this user has: what the kernel compares with RLIMIT_NPROC."""
    tasks = 0
    for pid in processes():
        try:
            if os.stat(f"/proc/{pid}").st_uid == uid:
                tasks += len(os.listdir(f"/proc/{pid}/task"))
        except OSError:
            continue
    return tasks


def identity_of(pid: int) -> dict[str, object]:
    identity = process_identity(pid)
    return {"pid": pid, "start_ticks": identity[1] if identity else 0, "boot_id": boot_id()}


def boot_id() -> str:
    return _read("/proc/sys/kernel/random/boot_id").strip()


def boottime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def crash_point(name: str) -> None:
    """Die here as by `kill -9` if CRASH_AT holds this name: as `app.core.crash_points`, which is out of reach."""
    if os.environ.get("CRASH_AT") == name:
        os.kill(os.getpid(), signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _exists(name: str, directory: int) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return False
    return True


def _read_json(name: str, directory: int) -> dict[str, object]:
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=directory)
    with open(descriptor, encoding="utf-8") as file:
        return _mapping(json.load(file))


def _write_new(name: str, content: bytes, directory: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    descriptor = os.open(name, flags, FILE_MODE, dir_fd=directory)
    try:
        os.write(descriptor, content)
    finally:
        os.close(descriptor)


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def _write(path: str, content: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, content.encode())
    finally:
        os.close(descriptor)


def _try_to_write(path: str, content: object) -> bool:
    """Write to a file of the kernel's, which may be missing, closed to us, or unwilling."""
    try:
        _write(path, str(content))
    except OSError:
        return False
    return True


def _mapping(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise TypeError("a mapping is missing")
    return value


def _sequence(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _optional_int(value: object) -> int | None:
    return None if value is None else int(str(value))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
