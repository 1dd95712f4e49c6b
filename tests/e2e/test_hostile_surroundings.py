"""What a run was started with does not reach what is tested: a part of the suite, run where everything is strange."""

import os
import subprocess
import sys
from pathlib import Path

from tests.surroundings import PROJECT

SMOKE = [
    "tests/unit/test_logging.py",
    "tests/api/test_about.py",
    "tests/client/test_follow.py::test_submit_and_follow_on_a_terminal_until_ctrl_c",
    "tests/client/test_login.py::test_interrupting_the_prompt_ends_it_as_a_shell_expects",
    "tests/client/test_output.py",
    "tests/e2e/test_manage.py::test_an_operator_makes_accounts_and_admins",
    "tests/e2e/test_startup.py",
    "tests/e2e/test_two_dispatchers.py::test_one_that_is_told_to_end_makes_room_at_once",
    "tests/executors/local/test_wrapper.py::test_a_job_hears_sigterm_and_has_time_to_end",
    "tests/executors/local/test_wrapper_log.py",
    "tests/executors/slurm/test_commands.py",
]
"""Of each kind of process that tests start, some that a surrounding has broken or could break."""

STRANGE = """
trap '' INT TERM HUP USR1 CHLD
umask 077
ulimit -S -n 256
ulimit -c 0
exec "$@"
"""
NOWHERE = "http://127.0.0.1:9"
ENVIRONMENT = {
    "HOME": "/nonexistent/somebody",
    "LC_ALL": "C",
    "LANG": "tlh_KLINGON",
    "TZ": "Asia/Tehran",
    "TERM": "dumb",
    "COLUMNS": "30",
    "NO_COLOR": "1",
    "http_proxy": NOWHERE,
    "https_proxy": NOWHERE,
    "ALL_PROXY": "socks5://127.0.0.1:9",
    "PYTHONWARNINGS": "error",
    "PYTHONDONTWRITEBYTECODE": "1",
    "DATABASE_URL": "postgresql://nobody@127.0.0.1:9/nothing",
    "JWT_SECRET_KEY": "short",
    "EXECUTOR": "nonsense",
    "CRASH_AT": "dispatcher.before-launch",
    "SLURM_CONF": "/nonexistent/slurm.conf",
    "GTM_URL": NOWHERE,
    "GTM_TOKEN": "nonsense",
    "GTM_RUN_ID": "nonsense",
    "PGHOST": "127.0.0.1",
    "PGPORT": "9",
}


def test_strange_surroundings_change_no_result(tmp_path: Path, server_url: str) -> None:
    (tmp_path / ".env").write_text("EXECUTOR=nonsense\nENVIRONMENT=production\n", encoding="utf-8")
    done = subprocess.run(
        ["sh", "-c", STRANGE, "sh", sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "-rfE",
         f"--rootdir={PROJECT}", f"--config-file={PROJECT / 'pyproject.toml'}",
         *(str(PROJECT / test) for test in SMOKE)],
        cwd=tmp_path,
        env={**ENVIRONMENT, "PATH": os.environ["PATH"], "TEST_DATABASE_URL": server_url},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
