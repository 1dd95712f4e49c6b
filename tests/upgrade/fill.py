"""Fills an embedded database by the code of the release in the current folder, and writes it to a file: see README.md.

It runs with that release's modules, not with those beside it.
"""

import asyncio
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

from app.api.state import AppState
from app.core.security import PasswordPool
from app.db.embedded import DATABASE, ROLE, EmbeddedPostgres
from app.db.embedded_account import Account
from app.db.engine import Database
from app.db.migrations import upgrade_to_head
from app.dispatcher.loop import Dispatcher, DispatcherOptions
from app.domain.identity import Scope
from app.executors.simulated.executor import SimulatedExecutor
from app.executors.simulated.fleet import parse_fleet
from app.services import users
from app.services.events import EventFeed
from app.services.quotas import QuotaPolicy
from tests.conftest import FakeClock, make_settings
from tests.factories import Person, make_job, make_token, make_user, sign_in
from tests.services.desk import HOUR, Desk

A_MONTH = timedelta(days=31)
FLEET = "node1=A100x8,node2=V100x4"


async def fill(url: str, directory: Path) -> None:
    clock = FakeClock()
    settings = make_settings(url, directory)
    engine = SimulatedExecutor(parse_fleet(FLEET), speedup=1, failure_rate=0, clock=clock)
    database, passwords = Database(url, pool_size=4), PasswordPool(settings.bcrypt_cost, threads=1)
    policy = QuotaPolicy.of(settings)
    state = AppState(settings, clock, database, engine, passwords, EventFeed(database, clock), policy)
    options = DispatcherOptions(timedelta(seconds=0.5), False, timedelta(hours=24), policy, timedelta(seconds=30))
    await History(state, clock, Dispatcher(database, engine, options, clock)).make()
    passwords.close()
    await database.dispose()


class History:
    """Two months of a small lab."""

    def __init__(self, state: AppState, clock: FakeClock, dispatcher: Dispatcher) -> None:
        self.state, self.clock, self.dispatcher = state, clock, dispatcher
        self.desk = Desk(state)

    async def make(self) -> None:
        self.admin = await make_user(self.state, email="admin@example.org", full_name="Mina Rad", is_admin=True)
        self.owner = await make_user(self.state, email="sara@example.org", full_name="سارا احمدی")
        await self.gone(await make_user(self.state, email="gone@example.org", full_name=None))
        await self.dispatcher.tick()
        await self.first_month()
        self.clock.advance(A_MONTH)
        await self.second_month()
        await self.dispatcher._resign()
        assert await self.desk.broken_rules() == []

    async def gone(self, person: Person) -> None:
        async with self.state.database.transaction() as connection:
            change = users.UserChange(is_active=False)
            await users.update(connection, person.id, change, actor=self.admin.caller.actor, now=self.clock())

    async def first_month(self) -> None:
        await self.desk.set_limit(self.admin, self.owner, 200 * HOUR)
        for name, command in {
            "completed": "python train.py #SIM duration=30m",
            "failed": "python train.py #SIM exit=7 duration=10m",
            "out-of-memory": "python train.py #SIM fault=oom",
            "lost": "python train.py #SIM fault=lost",
            "node-failure": "python train.py #SIM fault=node-loss",
            "time-limit": "python train.py #SIM fault=hang",
        }.items():
            await self.run(await self.submit(name, command))
            self.clock.advance(hours=1, minutes=5)
            await self.dispatcher.tick()
            self.clock.advance(minutes=5)
            await self.dispatcher.tick()
        await self.desk.adjust(self.admin, self.owner, -600)
        await self.desk.submit(self.owner, name="kept-waiting", num_gpus=2)

    async def second_month(self) -> None:
        for name in ("rejected", "cancelled", "approved", "running", "running-cancelled", "pending"):
            job_id = await self.submit(name, "python train.py #SIM duration=30m")
            if name == "rejected":
                await self.desk.reject(self.admin, job_id)
            elif name == "cancelled":
                await self.desk.cancel(self.owner, job_id)
            elif name == "approved":
                await self.desk.approve(self.admin, job_id)
            elif name.startswith("running"):
                await self.run(job_id)
            if name == "running-cancelled":
                await self.desk.cancel(self.owner, job_id)
                self.clock.advance(minutes=1)
                await self.dispatcher.tick()
        [gpu] = await self.desk.sql("SELECT id FROM gpus WHERE node = 'node2' AND gpu_index = 3")
        await self.desk.drain(self.admin, gpu.id)
        await make_token(self.state, self.owner, scopes=[Scope.JOBS_READ])
        await make_token(self.state, self.admin)
        await sign_in(self.state, self.owner)

    async def submit(self, name: str, command: str) -> int:
        return int((await make_job(self.state, self.owner, name=name, command=command, key=f"key of {name}")).id)

    async def run(self, job_id: int) -> None:
        await self.desk.approve(self.admin, job_id)
        await self.desk.start(self.admin, job_id)
        await self.dispatcher.tick()


def dump(server: EmbeddedPostgres, target: Path) -> None:
    sockets, _ = (server.data_dir / "postgres.socket").read_text(encoding="ascii").split()
    password = (server.data_dir / "postgres.password").read_text(encoding="ascii").strip()
    environment = {"PGHOST": sockets, "PGUSER": ROLE, "PGPASSWORD": password}
    written: subprocess.CompletedProcess[str] = Account.mine().run("pg_dump", DATABASE, environment=environment)
    assert written.returncode == 0, written.stderr
    lines = (line for line in written.stdout.splitlines() if not line.startswith(("--", "\\restrict", "\\unrestrict")))
    target.write_text("\n".join(line for line in lines if line) + "\n", encoding="utf-8")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place, EmbeddedPostgres(Path(place, "data")) as database_url:
        upgrade_to_head(database_url)
        asyncio.run(fill(database_url, Path(place)))
        server = EmbeddedPostgres(Path(place, "data"))
        dump(server, Path(sys.argv[1]))
