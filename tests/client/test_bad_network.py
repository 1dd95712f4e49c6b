"""A network that cuts connections: nothing is lost, done twice, or left unknown without a way out."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.browser.service import Service
from tests.client.cutting import Relay, relay_to
from tests.client.runner import Gtm
from tests.factories import Person
from tests.services.desk import Desk

pytestmark = pytest.mark.anyio

SUBMIT = ("submit", "--parsable", "--gpus", "T4:1", "--idempotency-key", "mine", "--", "true")
SUBMISSION = "POST /api/v1/jobs "


@pytest.fixture
def relay(service: Service) -> Iterator[Relay]:
    with relay_to(service.url) as relay:
        yield relay


def test_a_submission_whose_answer_is_lost_is_sent_again_and_stays_one_job(sara: Gtm, relay: Relay) -> None:
    lost = relay.cut(SUBMISSION, times=2)
    outcome = sara("submit", "--parsable", "--gpus", "T4:1", "--", "true", GTM_URL=relay.url)
    assert lost.times == 0
    assert sara("ps", "--all", "-o", "id").out == outcome.out


def test_a_submission_that_is_given_up_names_the_key_that_finishes_it(sara: Gtm, relay: Relay) -> None:
    relay.cut(SUBMISSION)
    given_up = sara(*SUBMIT, code=6, GTM_URL=relay.url, GTM_RETRY_SECONDS="0")
    assert "Whether the job was submitted is not known." in given_up.err
    assert "--idempotency-key mine: it will not be submitted twice" in given_up.err
    assert sara("ps", "--all", "-o", "id").out == sara(*SUBMIT).out


async def test_a_decision_whose_answer_is_lost_is_not_sent_again(
    reza: Gtm, relay: Relay, desk: Desk, user: Person
) -> None:
    job_id = await desk.submit(user)
    lost = relay.cut("POST /api/v1/admin/jobs/decisions ", times=2)
    reza("admin", "approve", job_id, code=6, GTM_URL=relay.url)
    assert lost.times == 1
    reza("admin", "approve", job_id)


async def test_a_log_that_is_followed_over_broken_connections_is_whole(
    sara: Gtm, relay: Relay, desk: Desk, user: Person, admin: Person
) -> None:
    command = "python train.py #SIM duration=95% lines=3000"
    job_id = await desk.submit(user, command=command, time_limit=timedelta(hours=2))
    await desk.approve(admin, job_id)
    await desk.start(admin, job_id)
    cut = relay.cut(f"GET /api/v1/jobs/{job_id}/log?follow=true", after=700, times=2)
    followed = sara("logs", "-f", job_id, GTM_URL=relay.url)
    assert cut.times == 0
    assert followed.out == sara("logs", job_id).out
    assert followed.out.count("epoch") == 3000
