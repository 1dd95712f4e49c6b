"""The installation on the wire."""

from typing import Literal, Self

from pydantic import Field

from app.core.config import DispatchMode, Settings
from app.core.password_rules import MAXIMUM_LENGTH, MINIMUM_LENGTH
from app.core.version import VERSION
from app.schemas.text import ResponseModel


class EngineFacts(ResponseModel):
    """What a page has to know of the engine."""

    executor: str = Field(description="The engine that runs jobs.", examples=["simulated"])
    places_gpus: bool = Field(
        description="Whether this service gives GPUs to jobs. Otherwise the engine does, and jobs wait in its queue."
    )
    jobs_run_as_service: bool = Field(
        description="Whether jobs run as the service's own user and could read what it can: only for people you trust."
    )
    jobs_share_a_user: bool = Field(
        description="Whether the jobs of all owners run as one user, so that without a sandbox they reach each other."
    )
    clock_rate: float = Field(
        description="How many seconds of a run pass in one second: other than 1 only where runs are simulated.",
        examples=[1.0],
    )


class SignInFacts(ResponseModel):
    """What the pages to sign in and to register have to know of the installation. Anybody may read it."""

    password_min_length: int = Field(examples=[MINIMUM_LENGTH])
    password_max_length: int = Field(examples=[MAXIMUM_LENGTH])
    registration: Literal["open", "domains", "closed"] = Field(
        description="Who can register: everybody, people with an address of `registration_domains`, or nobody."
    )
    registration_domains: list[str] = Field(examples=[["example.org"]])

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(
            password_min_length=MINIMUM_LENGTH,
            password_max_length=MAXIMUM_LENGTH,
            registration=settings.registration,
            registration_domains=list(settings.registration_domains),
        )


class AboutRead(EngineFacts, SignInFacts):
    """What a page has to know of the installation, for whoever is signed in."""

    version: str = Field(examples=["1.2.3"])
    dispatch_mode: DispatchMode = Field(
        description="`manual`: an admin starts approved jobs. `automatic`: they start as GPUs become free."
    )
    quota_calendar: Literal["gregorian", "jalali"] = Field(description="Whose months quotas are of.")
    time_zone: str = Field(description="The zone in which a month begins.", examples=["Asia/Tehran"])
    default_monthly_gpu_hours: float = Field(description="What a new account has a month.", examples=[100])
    allow_local_email: bool = Field(description="Whether addresses that end in `.local` or `.lan` can register.")

    @classmethod
    def with_engine(cls, settings: Settings, *, places_gpus: bool) -> Self:
        return cls(
            **SignInFacts.of(settings).model_dump(),
            version=VERSION,
            executor=settings.executor,
            places_gpus=places_gpus,
            jobs_run_as_service=settings.jobs_run_as_service,
            jobs_share_a_user=settings.jobs_share_a_user,
            clock_rate=settings.clock_rate,
            dispatch_mode=settings.dispatch_mode,
            quota_calendar=settings.quota_calendar,
            time_zone=settings.time_zone,
            default_monthly_gpu_hours=settings.default_monthly_gpu_hours,
            allow_local_email=settings.allow_local_email,
        )
