"""The tables. Columns, constraints and indexes; no behaviour."""

from app.models.audit import AuditEntry
from app.models.base import Base
from app.models.engine import Engine
from app.models.gpu import DispatcherLease, Gpu, GpuAllocation
from app.models.job import IdempotencyKey, Job, JobCount, JobEvent
from app.models.quota import QuotaEntry, UserQuota
from app.models.session import Session
from app.models.token import PersonalAccessToken
from app.models.user import LoginFailure, User

__all__ = [
    "AuditEntry",
    "Base",
    "DispatcherLease",
    "Engine",
    "Gpu",
    "GpuAllocation",
    "IdempotencyKey",
    "Job",
    "JobCount",
    "JobEvent",
    "LoginFailure",
    "PersonalAccessToken",
    "QuotaEntry",
    "Session",
    "User",
    "UserQuota",
]
