"""A lab that has used the service for months: what screenshots show, and what the accessibility checks look at.

All of it came about as it would have in life: people submitted, admins decided, a dispatcher started runs and settled
them, on a clock that went from three months ago to now. Only the audit log, which is dated by the database, is dated
back afterwards. Runs take as long as they say, so that what runs now goes on in a service with the same settings.
"""

import heapq
import itertools
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import text

from app.api.state import AppState
from app.core.clock import system_clock
from app.db.engine import Database
from app.db.queries import runs
from app.db.queries import tokens as token_queries
from app.dispatcher.build import create_dispatcher
from app.domain.errors import DomainError, NoCapacity
from app.domain.identity import Caller, Scope
from app.domain.job_request import JobRequest
from app.executors.registry import create_executor
from app.executors.simulated.plan import plan_run
from app.services import gpus, jobs, quotas, tokens
from app.services.jobs import EngineKind
from app.services.runs import spec_of
from tests.browser.service import state_on
from tests.factories import ORIGIN, Person, make_user
from tests.owner import become_owner

HOUR = 3600
ENVIRONMENT: Mapping[str, str] = {
    "SIMULATED_FLEET": "node1=A100x8,node2=A100x8,node3=V100x4,node4=T4x4",
    "SIMULATION_SPEEDUP": "1",
    "DISPATCHER_TICK_SECONDS": "2",
    "SIMULATION_FAILURE_RATE": "0.12",
    "DEFAULT_MONTHLY_GPU_HOURS": "200",
}
LENGTH = timedelta(days=75)
VISIBLE_DAYS = 12
"""How far back jobs lie dense enough to fill a list."""

DECIDING = timedelta(minutes=18)

ADMINS = {"leila.moradi": "لیلا مرادی", "tom.becker": "Tom Becker"}
RESEARCHER = "sara.ahmadi"
PEOPLE = {
    RESEARCHER: "سارا احمدی",
    "reza.karimi": "رضا کریمی",
    "emily.chen": "Emily Chen",
    "maryam.hosseini": "مریم حسینی",
    "daniel.weber": "Daniel Weber",
    "ali.rezaei": "علی رضایی",
    "negar.mousavi": "نگار موسوی",
    "julia.nowak": "Julia Nowak",
    "kian.nouri": "کیان نوری",
}
WORK = (
    ("train-resnet50", "python train.py --config configs/resnet50.yaml --epochs 90"),
    ("bert-fa-pretrain", "torchrun --nproc_per_node=2 pretrain.py --corpus fa-wiki --seq-len 512"),
    ("بازشناسی گفتار فارسی", "python -m speech.train --data common-voice-fa --precision bf16"),
    ("protein-folding", "python fold.py --msa db/uniref90 --recycles 12"),
    ("segmentation-unet", "python train.py --config configs/unet.yaml --batch-size 24"),
    ("ارزیابی مدل ترجمه", "python evaluate.py --model checkpoints/mt-fa-en --bleu --chrf"),
    ("diffusion-ablation-3", "accelerate launch ablate.py --no-ema --steps 200000"),
    ("gan-faces-256", "python gan.py --resolution 256 --gamma 0.4"),
    ("hyperparameter-sweep", "python sweep.py --trials 64 --pruner median"),
    ("تشخیص تومور در MRI", "python train3d.py --data /data/brats --folds 5"),
)
REFUSALS = (
    "The same sweep ran last week; please use its results first.",
    "برای این آزمایش یک T4 کافی است؛ لطفاً با آن دوباره بفرستید.",
)
JUSTIFICATIONS = (None, "Baseline for the workshop paper.", "برای فصل سوم پایان‌نامه")


@dataclass(frozen=True)
class Scene:
    """A job of these days, and what becomes of it after a while. What nobody decides on stays a request."""

    hours_ago: float
    owner: str
    request: JobRequest
    then: str = "wait"
    note: str | None = None


SCENES = (
    Scene(33, RESEARCHER, JobRequest(WORK[5][0], "T4", 1, 2 * HOUR, f"{WORK[5][1]}\n#SIM duration=80%"), "start"),
    Scene(
        29, RESEARCHER, JobRequest("segmentation-unet-12", "V100", 1, 6 * HOUR, f"{WORK[4][1]}\n#SIM exit=1"), "start"
    ),
    Scene(
        9,
        RESEARCHER,
        JobRequest("hyperparameter-sweep", "A100", 8, 3 * HOUR, WORK[8][1]),
        "reject",
        "Eight GPUs for a first try are too many: start with one.",
    ),
    Scene(
        7, RESEARCHER, JobRequest("gan-faces-256", "A100", 1, 2 * HOUR, WORK[7][1]), "cancel", "Sent twice by mistake."
    ),
    Scene(6.5, "reza.karimi", JobRequest("diffusion-ablation-41", "A100", 4, 12 * HOUR, WORK[6][1]), "start"),
    Scene(5.2, "emily.chen", JobRequest("gan-faces-512", "V100", 2, 12 * HOUR, WORK[7][1]), "start"),
    Scene(4.9, "negar.mousavi", JobRequest("bert-fa-large", "A100", 8, 12 * HOUR, WORK[1][1]), "start"),
    Scene(
        3,
        RESEARCHER,
        JobRequest(
            "train-resnet50-final",
            "A100",
            2,
            8 * HOUR,
            f"{WORK[0][1]}\n#SIM duration=85%",
            "/data/shared/imagenet",
            justification="Final numbers for the camera-ready version.",
        ),
        "start",
        "Good luck!",
    ),
    Scene(
        2,
        RESEARCHER,
        JobRequest("protein-folding-2", "V100", 4, 4 * HOUR, WORK[3][1]),
        "approve",
        "Starts as soon as four V100 are free.",
    ),
    Scene(
        1.8,
        RESEARCHER,
        JobRequest(
            WORK[9][0],
            "A100",
            2,
            6 * HOUR,
            WORK[9][1],
            "/data/brats",
            is_sensitive=True,
            justification="داده‌های بیماران روی همین گره می‌ماند؛ برای فصل سوم پایان‌نامه.",
        ),
    ),
    Scene(4.2, "daniel.weber", JobRequest("train-resnet50-51", "A100", 1, 2 * HOUR, WORK[0][1])),
    Scene(
        2.3,
        "julia.nowak",
        JobRequest(WORK[2][0], "A100", 2, 6 * HOUR, WORK[2][1], justification="Baseline for the workshop paper."),
    ),
    Scene(1.6, "kian.nouri", JobRequest("bert-fa-pretrain-9", "A100", 8, 4 * HOUR, WORK[1][1])),
    Scene(0.7, "emily.chen", JobRequest("gan-faces-1024", "A100", 1, 12 * HOUR, WORK[7][1])),
    Scene(
        0.2,
        "ali.rezaei",
        JobRequest("diffusion-ablation-4", "T4", 4, HOUR, WORK[6][1], justification="برای مهلت همایش"),
    ),
)


@dataclass
class MovableClock:
    now: datetime

    def __call__(self) -> datetime:
        return self.now


@dataclass(frozen=True)
class Lab:
    """Whom to sign in as, and the researcher's latest job of each status."""

    researcher: Person
    admin: Person
    jobs: Mapping[str, int]


async def make_lab(database_url: str, directory: Path) -> None:
    """Fill a migrated, empty database."""
    clock = MovableClock(system_clock())
    database = Database(database_url, pool_size=4)
    state = state_on(database, directory, ENVIRONMENT, clock)
    try:
        await History(state, clock).make()
    finally:
        state.passwords.close()
        await database.dispose()


async def read_lab(state: AppState) -> Lab:
    async with state.database.autocommit() as connection:
        accounts = await connection.execute(text("SELECT id, email, full_name, is_admin FROM users ORDER BY id"))
        people = {row.email.partition("@")[0]: Person(*row) for row in accounts.all()}
        latest = await connection.execute(
            text("SELECT status, max(id) FROM jobs WHERE user_id = :owner GROUP BY status"),
            {"owner": people[RESEARCHER].id},
        )
        return Lab(people[RESEARCHER], people[next(iter(ADMINS))], {row[0]: row[1] for row in latest.all()})


Act = Callable[[], Awaitable[None]]


class History:
    """Everything that happened, in its order; what happens brings what comes of it."""

    def __init__(self, state: AppState, clock: MovableClock, seed: int = 7) -> None:
        engine = create_executor(state.settings, clock)
        self._state = replace(state, engine=engine)
        self._clock = clock
        self._engine = EngineKind(engine.name, engine.places_gpus)
        self._dispatcher = create_dispatcher(state.database, engine, state.settings, clock)
        self._random = random.Random(seed)
        self._people: dict[str, Person] = {}
        self._order = itertools.count()
        self._future: list[tuple[datetime, int, Act]] = []

    async def make(self) -> None:
        end = self._clock.now
        self._clock.now = end - LENGTH
        await self._found_the_lab()
        self._plan_ordinary_days(end)
        self._plan_these_days(end)
        while self._future and self._future[0][0] <= end:
            self._clock.now, _, act = heapq.heappop(self._future)
            await act()
        self._clock.now = end
        await self._dispatcher.tick()
        await self._put_in_order(founded_at=end - LENGTH)

    async def _found_the_lab(self) -> None:
        await self._dispatcher.tick()
        for names, is_admin in ((ADMINS, True), (PEOPLE, False)):
            for local_part, full_name in names.items():
                email = f"{local_part}@lab.example.org"
                self._people[local_part] = await make_user(
                    self._state, email=email, full_name=full_name, is_admin=is_admin
                )

    def _plan_ordinary_days(self, end: datetime) -> None:
        """A few jobs a week at first, and more of them lately."""
        moment = self._clock.now
        while moment < end - timedelta(hours=8):
            lately = moment > end - timedelta(days=VISIBLE_DAYS)
            moment += timedelta(hours=self._random.uniform(1, 7 if lately else 22))
            self._at(moment, self._somebody_submits)

    def _plan_these_days(self, end: datetime) -> None:
        self._at(end - timedelta(days=4), self._change_quotas)
        self._at(end - timedelta(days=2), partial(self._drain, "node2", 7))
        both = (Scope.JOBS_READ, Scope.JOBS_WRITE)
        self._at(end - timedelta(days=9), partial(self._make_token, "gtm on login1", both, end - timedelta(minutes=40)))
        self._at(end - timedelta(days=1), partial(self._make_token, "اجرای شبانه", both[1:], None))
        for scene in SCENES:
            self._at(end - timedelta(hours=scene.hours_ago), partial(self._play, scene))

    def _at(self, moment: datetime, act: Act) -> None:
        heapq.heappush(self._future, (moment, next(self._order), act))

    async def _somebody_submits(self) -> None:
        draw = self._random
        owner = draw.choice([person for person in self._people.values() if not person.is_admin])
        name, command = draw.choice(WORK)
        request = JobRequest(
            name=name if draw.random() < 0.4 else f"{name}-{draw.randint(2, 40)}",
            gpu_type=draw.choices(["A100", "V100", "T4"], [6, 2, 2])[0],
            num_gpus=draw.choice([1, 1, 1, 2, 4]),
            time_limit_seconds=draw.choice([1, 2, 4, 6, 8, 12]) * HOUR,
            command=command,
            data_location=draw.choice([None, "/data/shared/imagenet", "/data/brats"]),
            justification=draw.choice(JUSTIFICATIONS),
        )
        job_id = await self._submit(owner, request)
        if job_id is None:
            return
        decided_at = self._clock.now + timedelta(minutes=draw.uniform(4, 200))
        fate = draw.random()
        if fate < 0.08:
            self._at(decided_at, partial(self._reject, job_id, draw.choice(REFUSALS)))
        elif fate < 0.12:
            self._at(decided_at, partial(self._cancel, owner, job_id, None))
        else:
            self._at(decided_at, partial(self._approve_and_start, job_id, None))
        if fate > 0.96:
            self._at(decided_at + timedelta(hours=1), partial(self._cancel, owner, job_id, "The data were wrong."))

    async def _play(self, scene: Scene) -> None:
        owner = self._people[scene.owner]
        job_id = await self._submit(owner, scene.request)
        assert job_id is not None, f"{scene.owner} has no quota left for {scene.request.name}"
        decisions: dict[str, Act] = {
            "start": partial(self._approve_and_start, job_id, scene.note),
            "approve": partial(self._approve, job_id, scene.note),
            "reject": partial(self._reject, job_id, scene.note or ""),
            "cancel": partial(self._cancel, owner, job_id, scene.note),
        }
        if scene.then in decisions:
            self._at(self._clock.now + DECIDING, decisions[scene.then])

    async def _submit(self, owner: Person, request: JobRequest) -> int | None:
        """None: the month's quota is used up, as happens."""
        async with self._state.database.autocommit() as connection:
            try:
                row = await jobs.submit(
                    connection,
                    owner.caller,
                    request,
                    key=None,
                    engine=self._engine,
                    policy=self._state.quota_policy,
                    now=self._clock(),
                )
            except DomainError:
                return None
        return int(row.id)

    async def _approve_and_start(self, job_id: int, note: str | None) -> None:
        await self._approve(job_id, note)
        await self._start(job_id)

    async def _approve(self, job_id: int, note: str | None) -> None:
        async with self._state.database.transaction() as connection:
            await jobs.approve(connection, self._decider, job_id, note=note, now=self._clock(), origin=ORIGIN)

    async def _start(self, job_id: int) -> None:
        try:
            async with self._state.database.transaction() as connection:
                await jobs.start(
                    connection,
                    self._decider,
                    job_id,
                    engine=self._engine,
                    policy=self._state.quota_policy,
                    now=self._clock(),
                    origin=ORIGIN,
                )
        except NoCapacity:
            self._at(self._clock.now + timedelta(minutes=45), partial(self._start, job_id))
            return
        except DomainError:  # given up meanwhile, or of a month that is over
            return
        await self._dispatcher.tick()
        async with self._state.database.autocommit() as connection:
            spec = spec_of(await runs.one(connection, job_id))
        plan = plan_run(spec, self._state.settings.simulation_failure_rate)
        self._at(spec.launched_at + plan.ends_after + timedelta(seconds=1), self._dispatcher.tick)

    async def _reject(self, job_id: int, reason: str) -> None:
        async with self._state.database.transaction() as connection:
            await jobs.reject(connection, self._decider, job_id, reason=reason, now=self._clock(), origin=ORIGIN)

    async def _cancel(self, owner: Person, job_id: int, reason: str | None) -> None:
        try:
            async with self._state.database.transaction() as connection:
                await jobs.cancel(connection, owner.caller, job_id, reason=reason, now=self._clock(), origin=ORIGIN)
        except DomainError:  # it had ended
            return
        await self._dispatcher.tick()
        await self._dispatcher.tick()

    async def _change_quotas(self) -> None:
        async with self._state.database.transaction() as connection:
            user_id, actor = self._people[RESEARCHER].id, self._decider.actor
            facts: dict[str, Any] = {"actor": actor, "policy": self._state.quota_policy, "now": self._clock()}
            await quotas.set_limit(connection, user_id, 260 * HOUR, note="A deadline this month.", **facts)
            await quotas.adjust(connection, user_id, 3 * HOUR, note="Used on node3 by hand, on the 12th.", **facts)

    async def _drain(self, node: str, index: int) -> None:
        reason = "Its fan has failed; the new one comes on Thursday."
        async with self._state.database.transaction() as connection:
            [gpu_id] = [gpu.id for gpu in await gpus.fleet(connection) if (gpu.node, gpu.gpu_index) == (node, index)]
            await gpus.drain(
                connection,
                self._decider,
                gpu_id,
                reason=reason,
                engine=self._engine,
                now=self._clock(),
                origin=ORIGIN,
            )

    async def _make_token(self, name: str, scopes: Sequence[Scope], last_used_at: datetime | None) -> None:
        async with self._state.database.transaction() as connection:
            owner, lifetime, now = self._people[RESEARCHER].caller, timedelta(days=30), self._clock()
            made = await tokens.create(
                connection, owner, name=name, scopes=scopes, lifetime=lifetime, now=now, origin=ORIGIN
            )
            if last_used_at is not None:
                await token_queries.use(connection, made.secret.sha256, now=last_used_at)

    @property
    def _decider(self) -> Caller:
        return self._random.choice([person for person in self._people.values() if person.is_admin]).caller

    async def _put_in_order(self, *, founded_at: datetime) -> None:
        """Date the audit log as the acts in it, and let the next dispatcher take over at once."""
        async with self._state.database.transaction() as connection:
            await become_owner(connection, unguarded=True)
            await connection.execute(text("UPDATE audit_entries SET created_at = :at"), {"at": founded_at})
            for statement in AUDIT_DATES:
                await connection.execute(text(statement))
            await connection.execute(text("UPDATE dispatcher_lease SET expires_at = '-infinity'"))


AUDIT_DATES = (
    """
    UPDATE audit_entries a SET created_at = CASE a.action
        WHEN 'job.approved' THEN j.decided_at WHEN 'job.rejected' THEN j.decided_at
        WHEN 'job.started' THEN coalesce(j.started_at, j.decided_at)
        ELSE coalesce(j.cancel_requested_at, j.finished_at, j.updated_at) END
    FROM jobs j WHERE a.target_type = 'job' AND a.target_id = j.id
    """,
    """
    UPDATE audit_entries a SET created_at = g.drained_at
    FROM gpus g WHERE a.target_type = 'gpu' AND a.target_id = g.id AND g.drained_at IS NOT NULL
    """,
    """
    UPDATE audit_entries a SET created_at = e.created_at
    FROM quota_entries e WHERE a.action LIKE 'quota.%' AND a.target_id = e.user_id AND e.kind IN ('LIMIT', 'ADJUST')
    """,
    """
    UPDATE audit_entries a SET created_at = t.created_at
    FROM personal_access_tokens t
    WHERE a.action = 'token.created' AND a.target_id = t.user_id AND a.details ->> 'name' = t.name
    """,
)
