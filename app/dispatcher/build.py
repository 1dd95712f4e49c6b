"""Puts a dispatcher together from the settings."""

from datetime import timedelta

from app.core.clock import Clock
from app.core.config import DispatchMode, Settings
from app.db.engine import Database
from app.dispatcher.loop import Dispatcher, DispatcherOptions
from app.domain.execution import Executor
from app.domain.periods import Calendar, MonthRule
from app.domain.quota import seconds_from_hours
from app.services.quotas import QuotaPolicy


def create_dispatcher(database: Database, executor: Executor, settings: Settings, clock: Clock) -> Dispatcher:
    policy = QuotaPolicy(
        months=MonthRule(Calendar(settings.quota_calendar), settings.zone),
        default_limit_seconds=seconds_from_hours(settings.default_monthly_gpu_hours),
    )
    options = DispatcherOptions(
        tick=timedelta(seconds=settings.dispatcher_tick_seconds),
        starts_by_itself=settings.dispatch_mode is DispatchMode.AUTOMATIC,
        starvation_limit=settings.starvation_limit,
        policy=policy,
    )
    return Dispatcher(database, executor, options, clock)
