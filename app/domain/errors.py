"""Every refusal the system can give, with its facts. Only `api/errors.py` knows what they mean in HTTP.

```
DomainError
├── NotAuthenticated        no valid token: sign in
│   ├── MetricsTokenMissing not the token that the operator has set
│   └── InvalidCredentials  e-mail or password wrong, account disabled: one face for all
├── AdminRequired           signed in, but not an admin
├── ScopeMissing            the personal token is not good for this
├── SignInRequired          no personal token is good for this
├── RegistrationClosed      accounts are made by admins here
├── NotFound                unknown, or not yours: the two look the same
├── LogOutOfReach           the job is yours, but its log is where this service cannot read
├── Conflict                understood, but the present state forbids it
│   ├── JobStateConflict · RequestDiffers · NoCapacity · EmailTaken · LastAdmin · EngineGivesOutGpus · TooManyTokens
│   └── QuotaExceeded · ExceedsMonthlyQuota · ExceedsFleet · QuotaBelowUse · AdjustmentOutOfRange · RefundOutOfRange
├── InvalidInput            one field, with a reason a person can act on
│   └── UnknownGpuType · EmailRefused · EmailDomainRefused · PasswordRefused
├── InvalidCursor           not a cursor of this list
├── IdempotencyKeyReused    this key named another request before
├── TooManyAttempts         wait `retry_after` seconds
└── Unavailable             try again soon
    ├── DatabaseUnavailable
    └── ServiceBusy
```
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from app.domain.identity import Scope
from app.domain.job_state import JobAction, JobStatus


class DomainError(Exception):
    """Base of all refusals. Subclasses are dataclasses whose fields are the facts shown to the person."""

    code = "refused"


class NotAuthenticated(DomainError):
    code = "not-authenticated"


class MetricsTokenMissing(NotAuthenticated):
    """No sign-in helps: an operator has set a token for whoever watches the service."""

    code = "metrics-token-missing"


class InvalidCredentials(NotAuthenticated):
    code = "invalid-credentials"


class AdminRequired(DomainError):
    code = "admin-required"


@dataclass
class ScopeMissing(DomainError):
    code = "scope-missing"
    needed: Scope


class SignInRequired(DomainError):
    """What decides over the account itself is left to whoever knows its password."""

    code = "sign-in-required"


class RegistrationClosed(DomainError):
    """Nobody makes an account of their own here."""

    code = "registration-closed"


@dataclass
class NotFound(DomainError):
    code = "not-found"


@dataclass
class LogOutOfReach(DomainError):
    """`where` is the place in which the engine looked for it. Only those who may read the log are told."""

    code = "log-unavailable"
    where: str


class Conflict(DomainError):
    pass


@dataclass
class JobStateConflict(Conflict):
    """Somebody was faster, or the job is not where this action applies."""

    code = "job-state-conflict"
    job_id: int
    current_status: JobStatus
    allowed: Sequence[JobAction]
    changed_by: str | None
    changed_at: datetime


@dataclass
class RequestDiffers(Conflict):
    """What an admin had before them is not what the job asks for."""

    code = "request-differs"
    job_id: int


@dataclass
class NoCapacity(Conflict):
    code = "no-capacity"
    gpu_type: str
    needed: int
    free: int
    held_by_jobs: Sequence[int]


@dataclass
class EmailTaken(Conflict):
    code = "email-taken"
    email: str


class LastAdmin(Conflict):
    code = "last-admin"


@dataclass
class TooManyTokens(Conflict):
    code = "too-many-tokens"
    most: int


@dataclass
class EngineGivesOutGpus(Conflict):
    """Whether a GPU takes jobs is decided in the engine, where the whole node is drained and resumed."""

    code = "engine-gives-out-gpus"
    engine: str
    node: str


@dataclass
class QuotaExceeded(Conflict):
    """Does not fit into what is left of the month."""

    code = "quota-exceeded"
    needed_seconds: int
    available_seconds: int
    resets_at: datetime


@dataclass
class ExceedsMonthlyQuota(Conflict):
    """Larger than a whole month: waiting will not help."""

    code = "exceeds-monthly-quota"
    needed_seconds: int
    limit_seconds: int


@dataclass
class ExceedsFleet(Conflict):
    """More GPUs of the type than exist."""

    code = "exceeds-fleet"
    gpu_type: str
    needed: int
    total: int


@dataclass
class QuotaBelowUse(Conflict):
    """A limit may not fall below what is already used and reserved."""

    code = "quota-below-use"
    minimum_seconds: int


@dataclass
class AdjustmentOutOfRange(Conflict):
    """A correction would make the used hours negative or push the month over its limit."""

    code = "adjustment-out-of-range"
    minimum_seconds: int
    maximum_seconds: int


@dataclass
class RefundOutOfRange(Conflict):
    """More than is left of what the job was charged."""

    code = "refund-out-of-range"
    maximum_seconds: int


@dataclass
class InvalidInput(DomainError):
    """One field of the request. `pointer` is its JSON pointer."""

    code = "validation-failed"
    pointer: str


@dataclass
class UnknownGpuType(InvalidInput):
    code = "unknown-gpu-type"
    gpu_type: str
    known: Sequence[str]


class EmailRefused(InvalidInput):
    """No e-mail address, or one of a local network where the installation does not allow those."""

    code = "email-refused"


@dataclass
class EmailDomainRefused(InvalidInput):
    """Whoever registers has to have an address of one of these domains."""

    code = "email-domain-refused"
    domains: Sequence[str]


@dataclass
class PasswordRefused(InvalidInput):
    """`rule` names what is wrong: `common`, `too-short`, `too-long`, `contains-email`; `wrong`: not the present one."""

    code = "password-refused"
    rule: str


class InvalidCursor(DomainError):
    code = "invalid-cursor"


class IdempotencyKeyReused(DomainError):
    code = "idempotency-key-reused"


@dataclass
class TooManyAttempts(DomainError):
    code = "too-many-attempts"
    retry_after: int


class Unavailable(DomainError):
    retry_after = 2


class DatabaseUnavailable(Unavailable):
    code = "database-unavailable"


class ServiceBusy(Unavailable):
    code = "service-busy"
