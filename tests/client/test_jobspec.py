"""What a job is asked to be: by flags, by `#GTM` lines, by a job file, and one over the other."""

from datetime import timedelta
from pathlib import Path

import pytest

from gtm.errors import UsageError
from gtm.jobspec.gpus import GpuWish, parse_gpus
from gtm.jobspec.jobfile import load_job_file, read_job_file
from gtm.jobspec.options import JobOptions, with_command, with_name
from gtm.jobspec.script import load_script, read_script

TRAIN = """#!/bin/bash
# What it needs:
#GTM --gpus A100:2 --time=4h
#GTM --name "my training" --sensitive   # the ward's data

#GTM --data /data/ward
module load cuda
python train.py
#GTM --gpus 8
"""


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        ("2", GpuWish(None, 2)),
        ("۲", GpuWish(None, 2)),
        ("A100:2", GpuWish("A100", 2)),
        ("A100", GpuWish("A100", None)),
        ("A100:۱۶", GpuWish("A100", 16)),
        ("1g.10gb:1", GpuWish("1g.10gb", 1)),
        (" A100 : 2 ", GpuWish("A100", 2)),
    ],
)
def test_gpus_are_a_number_and_perhaps_a_type(text: str, wish: GpuWish) -> None:
    assert parse_gpus(text) == wish


@pytest.mark.parametrize("text", ["0", "65", "-1", "A100:", "A100:x", "A100:0", "A100:1.5", "A100:+2", "9" * 99])
def test_a_number_of_gpus_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="from 1 to 64"):
        parse_gpus(text)


@pytest.mark.parametrize("text", ["", ":2", " ", "A\n100:2", "x" * 65])
def test_a_type_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="names no GPU type"):
        parse_gpus(text)


def test_a_script_says_in_its_comments_what_it_needs() -> None:
    script = read_script(TRAIN, "train.sh")
    assert script.options == JobOptions(
        name="my training",
        gpu_type="A100",
        num_gpus=2,
        time_limit=timedelta(hours=4),
        command=TRAIN,
        data_location="/data/ward",
        is_sensitive=True,
    )


def test_lines_after_the_first_command_are_told_but_not_read() -> None:
    assert read_script(TRAIN, "train.sh").unread == (9,)


def test_a_later_line_wins_over_an_earlier_one() -> None:
    assert read_script("#GTM --gpus 1\n#GTM --gpus 4\ntrue\n", "job.sh").options.num_gpus == 4


@pytest.mark.parametrize(
    "line", ["##GTM --gpus 2", "# GTM --gpus 2", "#GTMS --gpus 2", " #GTM --gpus 2", "#SBATCH -n 2"]
)
def test_a_line_that_only_looks_like_ours_is_a_comment(line: str) -> None:
    assert read_script(f"{line}\ntrue\n", "job.sh").options == JobOptions(command=f"{line}\ntrue\n")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("#GTM --gpu 2", "job.sh, line 2: --gpu is unknown here; known are --gpus, --time"),
        ("#GTM gpus=2", "job.sh, line 2: gpus=2 is unknown here"),
        ("#GTM --time", "job.sh, line 2: --time has no value"),
        ("#GTM --time --gpus 2", "job.sh, line 2: --time has no value"),
        ("#GTM --time 90", "job.sh, line 2: A time limit of 90 is ambiguous"),
        ('#GTM --name "half', "job.sh, line 2: the quotes do not match"),
        ("#GTM --name ''", "job.sh, line 2: A name is one line of text"),
        ("#GTM --sensitive=perhaps", "job.sh, line 2: --sensitive=perhaps is unknown here"),
    ],
)
def test_a_line_that_is_not_understood_is_named(line: str, message: str) -> None:
    with pytest.raises(UsageError) as refusal:
        read_script(f"#!/bin/sh\n{line}\ntrue\n", "job.sh")
    assert message in refusal.value.message


def test_windows_line_ends_become_those_of_unix() -> None:
    assert read_script("#GTM --gpus 2\r\ntrue\r\n", "job.sh").options == JobOptions(
        num_gpus=2, command="#GTM --gpus 2\ntrue\n"
    )


@pytest.mark.parametrize(
    "first_line", ["#!/bin/bash", "#!/bin/sh -e", "#!/usr/bin/env bash", "#! /usr/bin/env -S bash -l"]
)
def test_a_script_may_be_for_any_shell_that_bash_can_stand_in_for(first_line: str) -> None:
    assert read_script(f"{first_line}\ntrue\n", "job.sh").options.command == f"{first_line}\ntrue\n"


@pytest.mark.parametrize("first_line", ["#!/usr/bin/env python3", "#!/usr/bin/python3", "#!/usr/bin/env -S python3 -u"])
def test_a_script_for_something_else_is_refused_with_the_way_to_run_it(first_line: str) -> None:
    with pytest.raises(UsageError, match=r"gtm submit -- python3 train\.py"):
        read_script(f"{first_line}\n", "train.py")


def test_a_script_gives_its_job_its_own_name(tmp_path: Path) -> None:
    script = tmp_path / "train.sh"
    script.write_bytes("\ufeffpython train.py --گام ۱۰\n".encode())
    assert load_script(str(script)).options == JobOptions(name="train.sh", command="python train.py --گام ۱۰\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x7fELF\xff\xfe", "is not a script in UTF-8"),
        (b"echo \0", "which cannot be sent"),
        (b" \n", "is blank"),
        (b"x" * 16_385, "16,385 characters; 16,384 are possible"),
    ],
)
def test_a_script_that_cannot_be_sent_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    script = tmp_path / "train.sh"
    script.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        load_script(str(script))


def test_a_script_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        load_script(str(tmp_path / "train.sh"))


def test_a_job_file_has_the_options_without_their_dashes(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(
        "gpus: A100:2\ntime: 2:30:00\nname: no\nsensitive: no\ncommand: |\n  module load cuda\n  python train.py\n",
        encoding="utf-8",
    )
    assert load_job_file(file) == JobOptions(
        name="no",
        gpu_type="A100",
        num_gpus=2,
        time_limit=timedelta(hours=2.5),
        command="module load cuda\npython train.py\n",
        is_sensitive=False,
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gpus: 2\ngpu: 2", "job.yaml, line 2: gpu is unknown here; known are gpus, time"),
        ("gpus: 2\ngpus: 4", "job.yaml, line 2: gpus stands here a second time"),
        ("time: 90", "job.yaml, line 1: A time limit of 90 is ambiguous"),
        ("name:", "job.yaml, line 1: name has no value"),
        ("gpus: [A100, 2]", "job.yaml, line 1: an option needs one value"),
        ("? [a]\n: 1", "needs one value"),
        ("sensitive: perhaps", "'perhaps' is neither true nor false"),
        ("- gpus: 2", "is not a list of `option: value` lines"),
        ("", "is not a list of `option: value` lines"),
        ("name: 'half", "job.yaml, line 1 is not YAML"),
        ("name: \0", "is not YAML"),
        ("[" * 1_000, "is not YAML"),
        ("x" * 65_537, "65,536 are possible"),
    ],
)
def test_a_job_file_that_is_not_understood_says_where(text: str, message: str) -> None:
    with pytest.raises(UsageError) as refusal:
        read_job_file(text, "job.yaml")
    assert message in refusal.value.message


def test_what_is_said_on_the_command_line_wins_and_the_rest_stays() -> None:
    flags = JobOptions(num_gpus=4, is_sensitive=False)
    lines = JobOptions(num_gpus=2, gpu_type="A100", is_sensitive=True)
    file = JobOptions(gpu_type="T4", name="from the file")
    assert flags.over(lines).over(file) == JobOptions(
        name="from the file", gpu_type="A100", num_gpus=4, is_sensitive=False
    )


def test_a_body_has_what_was_said_and_leaves_the_rest_to_the_service() -> None:
    options = JobOptions(gpu_type="A100", time_limit=timedelta(minutes=90), command="python train.py")
    assert options.to_body() == {
        "name": "python train.py",
        "gpu_type": "A100",
        "estimated_hours": 1.5,
        "command": "python train.py",
    }


def test_a_body_without_a_command_is_refused() -> None:
    with pytest.raises(UsageError, match="no command"):
        JobOptions(gpu_type="A100").to_body()


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("python train.py", "python train.py"),
        ("#!/bin/bash\n\n  module   load cuda\n", "module load cuda"),
        ("# nothing", "job"),
        ("x" * 61, "x" * 59 + "…"),
    ],
)
def test_a_job_without_a_name_is_called_by_its_command(command: str, name: str) -> None:
    body = JobOptions(command=command).to_body()
    assert body["name"] == name
    assert with_name(name)


@pytest.mark.parametrize("text", ["a\x1bb", "a\rb", "a\udcffb"])
def test_what_cannot_be_sent_is_refused(text: str) -> None:
    for read in (with_command, with_name):
        with pytest.raises(UsageError, match="cannot be sent"):
            read(text)


def test_a_blank_command_is_refused() -> None:
    with pytest.raises(UsageError, match="blank"):
        with_command(" \n")
