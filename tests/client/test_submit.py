"""`gtm submit` and `gtm resubmit`: what is sent, what is refused before it is sent, and what is said afterwards."""

from datetime import timedelta
from pathlib import Path

import pytest

from tests.client.runner import Gtm
from tests.factories import Person
from tests.services.desk import Desk

SCRIPT = """#!/bin/bash
#GTM --gpus a100:2 --time 2h
#GTM --name training --justification "the paper" --data /data/ward --sensitive
python train.py
"""


def write(gtm: Gtm, name: str, text: str) -> Path:
    path = gtm.directory / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_script_is_submitted_as_its_lines_say(sara: Gtm) -> None:
    write(sara, "train.sh", SCRIPT)
    outcome = sara("submit", "train.sh")
    assert outcome.out.startswith("Submitted job ")
    job_id = outcome.out.split()[-1]
    assert outcome.err == f"training: 2 A100 for up to 2h, 4 GPU-hours reserved.\nNext: gtm logs -f {job_id}\n"
    job = sara("show", job_id, "-o", "json").json
    assert job["command"] == SCRIPT
    assert (job["gpu_type"], job["num_gpus"], job["estimated_hours"]) == ("A100", 2, 2)
    assert (job["name"], job["justification"]) == ("training", "the paper")
    assert (job["data_location"], job["is_sensitive"]) == ("/data/ward", True)


def test_a_flag_wins_over_a_line_and_a_line_over_a_file(sara: Gtm) -> None:
    write(sara, "train.sh", SCRIPT)
    write(sara, "job.yaml", "gpus: T4:1\ntime: 1h\nname: from the file\n")
    arguments = ("submit", "train.sh", "--file", "job.yaml", "--time", "90m", "--no-sensitive")
    job = sara(*arguments, "-o", "json").json
    assert (job["name"], job["gpu_type"], job["estimated_hours"]) == ("training", "A100", 1.5)
    assert job["is_sensitive"] is False


def test_a_command_is_sent_as_it_was_typed(sara: Gtm) -> None:
    words = sara("submit", "--gpus", "T4:1", "-o", "json", "--", "echo", "two words", "$HOME", "--flag").json
    assert words["command"] == "echo 'two words' '$HOME' --flag"
    line = sara("submit", "--gpus", "T4:1", "-o", "json", "--", "echo $HOME | wc -c").json
    assert line["command"] == "echo $HOME | wc -c"
    assert line["name"] == line["command"]


def test_a_script_from_standard_input_and_a_command_from_a_file_will_do(sara: Gtm) -> None:
    piped = sara("submit", "-", "--json", stdin="#GTM --gpus T4:1\nhostname\n").json
    assert (piped["command"], piped["name"]) == ("#GTM --gpus T4:1\nhostname\n", "hostname")
    write(sara, "job.yaml", "gpus: T4\ncommand: |\n  hostname\n")
    assert sara("submit", "--file", "job.yaml", "--json").json["command"] == "hostname\n"


def test_a_script_reads_the_id_and_nothing_else(sara: Gtm) -> None:
    outcome = sara("submit", "--parsable", "--gpus", "T4:1", "--", "true")
    assert outcome.out.strip().isdecimal()
    assert outcome.err == ""
    assert sara("ps", "-o", "id").out == outcome.out == f"{int(outcome.out)}\n"


def test_what_makes_no_sense_is_not_sent(sara: Gtm) -> None:
    mistakes = {
        ("--gpus", "A100:0", "--", "true"): "from 1 to 64",
        ("--gpus", "H200:1", "--", "true"): "There are no GPUs of type H200. There are A100, T4, V100.",
        ("--", "true"): "Which GPUs? There are A100, T4, V100.",
        ("--gpus", "T4:1"): "There is no command to run.",
        ("--gpus", "T4:1", "train.sh", "--", "true"): "cannot be submitted as one job",
        ("--gpus", "T4:1", "python", "train.py"): "A command is given after --",
        ("--gpus", "T4:1", "--idempotency-key", "two words", "--", "true"): "no blanks",
    }
    for arguments, message in mistakes.items():
        outcome = sara("submit", *arguments, code=2)
        assert message in outcome.err
        assert outcome.out == ""
    assert sara("ps", "--all", "-o", "json").json == []


def test_a_line_after_the_first_command_is_warned_of(sara: Gtm) -> None:
    write(sara, "train.sh", "#GTM --gpus T4:1\ntrue\n#GTM --time 8h\n")
    assert "train.sh, line 3: this #GTM line stands after the first command" in sara("submit", "train.sh").err


def test_a_dry_run_foretells_and_writes_nothing(sara: Gtm) -> None:
    forecast = sara("submit", "--dry-run", "--gpus", "A100:2", "--time", "4h", "-o", "json", "--", "true").json
    assert forecast["accepted"]
    assert forecast["reserved_gpu_hours"] == 8
    refused = sara("submit", "--dry-run", "--gpus", "A100:8", "--time", "130h", "--", "true", code=5)
    assert "[exceeds-monthly-quota]" in refused.err
    assert sara("ps", "--all", "-o", "json").json == []


def test_a_refusal_by_a_rule_is_its_sentence_its_code_and_what_helps(sara: Gtm) -> None:
    sara("submit", "--gpus", "A100:8", "--time", "120h", "--", "true")
    outcome = sara("submit", "--gpus", "A100:8", "--time", "120h", "--", "true", code=5)
    assert "[quota-exceeded]" in outcome.err
    assert "Try: gtm quota" in outcome.err


def test_the_same_key_is_the_same_job(sara: Gtm) -> None:
    arguments = ("submit", "--parsable", "--idempotency-key", "nightly-1", "--gpus", "T4:1")
    first, second = (sara(*arguments, "--", "true").out for _ in range(2))
    assert first == second
    assert "[idempotency-key-reused]" in sara(*arguments, "--", "false", code=5).err


@pytest.mark.anyio
async def test_a_job_is_submitted_again_with_changes(sara: Gtm, desk: Desk, user: Person) -> None:
    old = await desk.submit(user, command="python train.py", num_gpus=4, time_limit=timedelta(hours=3))
    new = sara("resubmit", old, "--gpus", "2", "--time", "8h", "-o", "json").json
    assert new["id"] != old
    assert (new["command"], new["gpu_type"], new["num_gpus"]) == ("python train.py", "A100", 2)
    assert new["estimated_hours"] == 8
    assert sara("resubmit", old, "-o", "json", "--", "python", "eval.py").json["command"] == "python eval.py"


def test_a_submission_whose_answer_never_comes_can_be_repeated(sara: Gtm) -> None:
    sara("submit", "--gpus", "T4:1", "--", "true", code=6, GTM_URL="http://127.0.0.1:9", GTM_RETRY_SECONDS="0")
