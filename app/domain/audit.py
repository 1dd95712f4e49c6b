"""What the audit log may say was done. Rights and passwords are written down by triggers, the rest by services."""

from enum import StrEnum


class AuditAction(StrEnum):
    """To whom or what it was done comes before the point, or what kind of act it was."""

    FOREIGN_JOB_CANCELLED = "foreign_job.cancelled"
    FOREIGN_JOB_SEEN = "foreign_job.seen"
    """A job in the engine that runs in the service's name, and that the service did not submit."""
    GPU_DRAINED = "gpu.drained"
    GPU_RESUMED = "gpu.resumed"
    JOB_APPROVED = "job.approved"
    JOB_CANCEL_REQUESTED = "job.cancel_requested"
    """Somebody wants a run stopped; when it has stopped, the job's own history says so."""
    JOB_CANCELLED = "job.cancelled"
    JOB_REFUNDED = "job.refunded"
    JOB_REJECTED = "job.rejected"
    JOB_STARTED = "job.started"
    LOGIN_SUCCEEDED = "login.succeeded"
    LOGIN_THROTTLED = "login.throttled"
    """Too many wrong passwords: further guesses are refused for a while."""
    QUOTA_ADJUSTED = "quota.adjusted"
    QUOTA_LIMIT_SET = "quota.limit_set"
    SESSION_ENDED = "session.ended"
    SESSION_OTHERS_ENDED = "session.others_ended"
    SESSION_REUSED = "session.reused"
    """A refresh token came a second time, so somebody else has it: the session was ended."""
    TOKEN_CREATED = "token.created"  # noqa: S105 - no token
    TOKEN_REVOKED = "token.revoked"  # noqa: S105 - no token
    USER_ACTIVATED = "user.activated"
    USER_DEACTIVATED = "user.deactivated"
    USER_DEMOTED = "user.demoted"
    USER_PASSWORD_CHANGED = "user.password_changed"  # noqa: S105 - no password
    USER_PASSWORD_RESET = "user.password_reset"  # noqa: S105 - no password
    """An operator set a new one, which a trigger writes down as well; this entry says that the sessions ended."""
    USER_PROMOTED = "user.promoted"
    USER_REGISTERED = "user.registered"
    USER_RENAMED = "user.renamed"
