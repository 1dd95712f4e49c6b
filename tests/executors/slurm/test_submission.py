"""The script is run by a real bash: what a person wrote stays between its quotes."""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.domain.execution import JobSpec, LaunchError
from app.executors.slurm.refusals import refusal
from app.executors.slurm.submission import (
    NEVER,
    Began,
    Placing,
    nodes_for,
    options,
    parse_began,
    parse_parsable,
    script,
)
from tests.executors.engines import make_spec


def arguments(spec: JobSpec, placing: Placing | None = None, *, largest_node: int | None = 8) -> list[str]:
    log_path = Path("/shared/logs/run.log")
    return options(spec, placing or Placing(), log_path=log_path, home="/home/sara", largest_node=largest_node)


def test_all_options_stand_on_the_command_line() -> None:
    spec = make_spec(num_gpus=2, time_limit=timedelta(minutes=90), slots=[])

    asked = arguments(replace(spec, gpu_type="a100"), Placing("gpu", "physics", "long"))

    assert asked[:2] == ["--parsable", "--no-requeue"]
    assert f"--job-name=gtm-{spec.run_id}" in asked
    assert {"--gres=gpu:a100:2", "--nodes=1", "--time=90", "--output=/shared/logs/run.log"} <= set(asked)
    assert {"--partition=gpu", "--account=physics", "--qos=long", "--chdir=/home/sara"} <= set(asked)
    assert not any("python" in word or spec.name in word or "sara@" in word for word in asked)


def test_what_is_not_chosen_is_left_to_slurm() -> None:
    assert not any(word.startswith(("--partition", "--account", "--qos")) for word in arguments(make_spec()))


@pytest.mark.parametrize(("seconds", "minutes"), [(1, 1), (60, 1), (61, 2), (3600, 60), (3601, 61)])
def test_a_limit_is_rounded_up_to_minutes(seconds: int, minutes: int) -> None:
    assert f"--time={minutes}" in arguments(make_spec(time_limit=timedelta(seconds=seconds)))


@pytest.mark.parametrize(
    ("num_gpus", "largest_node", "nodes"),
    [(1, 8, 1), (8, 8, 1), (16, 8, 2), (12, 8, 2), (9, 8, 3), (11, 8, 11), (4, None, 1)],
)
def test_a_run_gets_one_node_or_as_few_equal_ones_as_can_be(num_gpus: int, largest_node: int, nodes: int) -> None:
    assert nodes_for(num_gpus, largest_node) == nodes


def test_gpus_without_a_type_are_asked_for_without_one() -> None:
    assert "--gres=gpu:3" in arguments(replace(make_spec(num_gpus=3), gpu_type="gpu"))


@pytest.mark.parametrize("gpu_type", ["a100:2,nic", "a 100", "", "--x", "a\n100"])
def test_a_type_that_could_say_more_than_a_type_is_refused(gpu_type: str) -> None:
    with pytest.raises(LaunchError, match=r"^Slurm has no type of GPU"):
        arguments(replace(make_spec(), gpu_type=gpu_type))


@pytest.mark.parametrize(
    "command",
    [
        "echo done",
        "#SBATCH --time=1\necho 'it''s' \"$HOME\" `true`",
        "'; touch /tmp/escaped; '",
        "echo one\n}\necho two",
        'echo "a\\"b" \\\\ \\',
        "cat <<'END'\n'EOF'\nEND",
        "echo سلام‌دنیا 🎉",
    ],
)
def test_bash_gets_a_command_as_it_was_written(tmp_path: Path, command: str) -> None:
    assert given_to_bash(tmp_path, make_spec(command))["command"] == command


@given(command=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_command_leaves_its_quotes(tmp_path: Path, command: str) -> None:
    given_by_us = given_to_bash(tmp_path, make_spec(command, name=command, data_location=command))

    assert given_by_us["command"] == given_by_us["GTM_JOB_NAME"] == given_by_us["GTM_DATA_LOCATION"] == command


def test_nul_is_refused() -> None:
    for spec in (make_spec("a\0b"), make_spec(name="a\0b")):
        with pytest.raises(LaunchError, match="NUL"):
            script(spec, began_path=Path("/b"), refused_path=Path("/r"))


@pytest.mark.parametrize("name", ["A B", "A;touch x", "", "1A", "A$(id)", "A\n"])
def test_a_variable_whose_name_is_more_than_a_name_is_refused(name: str) -> None:
    spec = replace(make_spec(), environment={name: "x"})

    with pytest.raises(LaunchError, match="No shell has a variable"):
        script(spec, began_path=Path("/b"), refused_path=Path("/r"))


def test_variables_may_have_the_names_that_the_script_uses_itself(tmp_path: Path) -> None:
    spec = replace(make_spec(), environment={"began": "1", "me": "2", "once": "3"})

    seen = given_to_bash(tmp_path, spec)

    assert (seen["began"], seen["me"], seen["once"]) == ("1", "2", "3")


def test_the_command_finds_what_it_is_told_and_nothing_of_who_submitted_it(tmp_path: Path) -> None:
    spec = make_spec(data_location="/data/set 1")

    seen = given_to_bash(tmp_path, spec, LC_ALL="C", SLURM_TIME_FORMAT="%s", LD_LIBRARY_PATH="/x", SUDO_USER="gtm")

    assert seen["GTM_JOB_ID"] == "42"
    assert seen["GTM_RUN_ID"] == str(spec.run_id)
    assert seen["GTM_DATA_LOCATION"] == "/data/set 1"
    assert seen["API_KEY"] == "canary-7d1f"
    assert not {"LC_ALL", "SLURM_TIME_FORMAT", "LD_LIBRARY_PATH", "SUDO_USER"} & seen.keys()
    assert seen["SLURM_CONF"] == "/etc/slurm/other.conf"


def test_the_first_job_begins_a_run_and_no_other_does(tmp_path: Path) -> None:
    """Not even the same job of Slurm on the same GPUs, started once more."""
    spec = make_spec(f"echo begun >>{tmp_path}/counts")

    codes = [run_script(tmp_path, spec, job_id=job_id).returncode for job_id in ("7", "7", "8")]

    assert codes == [0, -15, -15]
    assert (tmp_path / "counts").read_text() == "begun\n"
    assert parse_began(str((tmp_path / "began").readlink())) == Began("7", "n1:0,1")
    assert parse_began(str((tmp_path / "refused").readlink())) == Began("7", "n1:0,1")


@pytest.mark.parametrize(("prefix", "code"), [([], -15), (["env", "--ignore-signal=TERM"], 143)])
def test_a_run_that_was_forbidden_never_begins(tmp_path: Path, prefix: list[str], code: int) -> None:
    (tmp_path / "began").symlink_to(NEVER)

    ended = run_script(tmp_path, make_spec(f"touch {tmp_path}/ran"), prefix=prefix)

    assert ended.returncode == code
    assert "was not run" in ended.stderr
    assert not (tmp_path / "ran").exists()


def test_a_script_that_was_cut_off_does_nothing(tmp_path: Path) -> None:
    whole = script(make_spec(f"touch {tmp_path}/ran"), began_path=tmp_path / "began", refused_path=tmp_path / "refused")

    for length in range(0, len(whole) - 2, 7):
        subprocess.run(["bash", "-s"], input=whole[:length], capture_output=True, check=False)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("link", "began"),
    [
        ("7 n1:0,3 3f-4", Began("7", "n1:0,3")),
        ("7 n1: 3f", Began("7", "n1")),
        ("7 : 3f", Began("7", None)),
        (NEVER, Began(None, None)),
        ("7 n1:0 x y", Began(None, None)),
    ],
)
def test_who_began_is_read(link: str, began: Began) -> None:
    assert parse_began(link) == began


@pytest.mark.parametrize(
    ("output", "job_id"),
    [
        ("123\n", "123"),
        ("123;cluster\n", "123"),
        ("sbatch: warning\n7\n", "7"),
        ("", None),
        ("Submitted batch job 7", None),
    ],
)
def test_the_number_of_a_new_job_is_read(output: str, job_id: str | None) -> None:
    assert parse_parsable(output) == job_id


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (
            "sbatch: error: Batch job submission failed: Requested node configuration is not available\n",
            "Requested node configuration is not available",
        ),
        (
            "sbatch: error: invalid partition specified: foo\n"
            "sbatch: error: Batch job submission failed: Invalid partition name specified\n",
            "invalid partition specified: foo; Invalid partition name specified",
        ),
        (
            "sbatch: error: Invalid generic resource (gres) specification\n",
            "Invalid generic resource (gres) specification",
        ),
        (
            "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's "
            "size and/or time limits)\n",
            "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
        ),
        (
            "sbatch: error: Please say what project this is for.\nsbatch: error: Batch job submission failed: "
            "Unspecified error\n",
            "Please say what project this is for",
        ),
        ("sbatch: error: Batch job submission failed: Unspecified error\n", None),
        ("sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)\n", None),
        ("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation\n", None),
        ("sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying\n", None),
        ("", None),
    ],
)
def test_a_refusal_is_told_from_trouble(output: str, words: str | None) -> None:
    assert refusal(output) == words


def run_script(
    folder: Path, spec: JobSpec, *, job_id: str = "7", prefix: Sequence[str] = (), **environment: str
) -> "subprocess.CompletedProcess[str]":
    text = script(spec, began_path=folder / "began", refused_path=folder / "refused")
    slurm = {"SLURM_JOB_ID": job_id, "SLURMD_NODENAME": "n1", "SLURM_JOB_GPUS": "0,1", "SLURM_JOB_USER": "sara"}
    return subprocess.run(
        [*prefix, "bash", "--norc", "-s"],
        input=text.decode(),
        env={"PATH": os.environ["PATH"], "SLURM_CONF": "/etc/slurm/other.conf", **slurm, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def given_to_bash(folder: Path, spec: JobSpec, **environment: str) -> dict[str, str]:
    """What the login shell at the end is given: its command, and its environment. It is a stand-in that tells."""
    (folder / "began").unlink(missing_ok=True)
    text = script(spec, began_path=folder / "began", refused_path=folder / "refused").decode()
    teller = folder / "teller"
    teller.write_text('#!/bin/bash\nprintf "command=%s\\0" "$3"\nexec env -0\n')
    teller.chmod(0o755)
    told = subprocess.run(
        ["bash", "--norc", "-s"],
        input=text.replace("exec /bin/bash -l", f"exec {teller} -l").encode(),
        env={"PATH": os.environ["PATH"], "SLURM_CONF": "/etc/slurm/other.conf", "SLURM_JOB_ID": "7", **environment},
        capture_output=True,
        check=True,
        timeout=60,
    )
    pairs = (pair.partition("=") for pair in told.stdout.decode(errors="surrogateescape").split("\0") if pair)
    return {name: value for name, _, value in pairs}
