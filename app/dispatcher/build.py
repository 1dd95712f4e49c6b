"""Puts a dispatcher together from the settings."""

from datetime import timedelta

from app.core.clock import Clock
from app.core.config import DispatchMode, Settings
from app.db.engine import Database
from app.dispatcher.loop import Dispatcher, DispatcherOptions
from app.domain.execution import Executor
from app.services.quotas import QuotaPolicy


def create_dispatcher(database: Database, executor: Executor, settings: Settings, clock: Clock) -> Dispatcher:
    options = DispatcherOptions(
        tick=timedelta(seconds=settings.dispatcher_tick_seconds),
        starts_by_itself=settings.dispatch_mode is DispatchMode.AUTOMATIC,
        starvation_limit=settings.starvation_limit,
        policy=QuotaPolicy.of(settings),
        cancels_foreign_jobs=settings.slurm_foreign_jobs == "cancel",
    )
    return Dispatcher(database, executor, options, clock)
