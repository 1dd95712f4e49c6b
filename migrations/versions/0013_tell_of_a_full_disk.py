"""Tell that a job was ended for the room that it took on the disk"""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

KNOWN = (
    "EXITED",
    "NONZERO_EXIT",
    "SIGNALLED",
    "TIME_LIMIT",
    "OUT_OF_MEMORY",
    "OUT_OF_DISK",
    "NODE_FAILURE",
    "LAUNCH_FAILURE",
    "LOST",
    "REJECTED_BY_ADMIN",
    "CANCELLED_BY_USER",
    "CANCELLED_BY_ADMIN",
)


def upgrade() -> None:
    _allow(KNOWN)


def downgrade() -> None:
    """Such an end is told as what the earlier version would have seen: the run was ended by a signal."""
    op.execute("ALTER TABLE jobs DISABLE TRIGGER USER")
    op.execute("UPDATE jobs SET reason = 'SIGNALLED' WHERE reason = 'OUT_OF_DISK'")
    op.execute("ALTER TABLE jobs ENABLE TRIGGER USER")
    _allow(tuple(reason for reason in KNOWN if reason != "OUT_OF_DISK"))


def _allow(reasons: tuple[str, ...]) -> None:
    listed = ", ".join(f"'{reason}'" for reason in reasons)
    op.drop_constraint(op.f("ck_jobs_reason_known"), "jobs")
    op.create_check_constraint(op.f("ck_jobs_reason_known"), "jobs", f"reason IN ({listed})")
