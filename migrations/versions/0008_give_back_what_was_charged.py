"""Give back what was charged: by an entry of its own, beside the charge

And keep how long engines have measured each run, so that one whose engine forgets it is charged for what was seen.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

KINDS = "'GRANT', 'LIMIT', 'RESERVE', 'MOVE_OUT', 'MOVE_IN', 'SETTLE', 'RELEASE', 'ADJUST'"
TOLD_AS_NEWS = "'LIMIT', 'ADJUST'"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("measured_seconds", sa.BigInteger(), server_default=sa.text("0"), nullable=False))
    op.create_check_constraint(op.f("ck_jobs_measured_not_negative"), "jobs", "measured_seconds >= 0")
    _allow(f"{KINDS}, 'REFUND'", f"{TOLD_AS_NEWS}, 'REFUND'")
    op.create_check_constraint(
        op.f("ck_quota_entries_refund_gives_back"), "quota_entries", "kind <> 'REFUND' OR used_delta < 0"
    )
    op.create_index(
        "ix_quota_entries_refunds", "quota_entries", ["job_id"], postgresql_where=sa.text("kind = 'REFUND'")
    )


def downgrade() -> None:
    """Refunds become corrections of the month that they belong to."""
    op.drop_index("ix_quota_entries_refunds", table_name="quota_entries")
    op.drop_constraint(op.f("ck_quota_entries_refund_gives_back"), "quota_entries")
    op.execute("ALTER TABLE quota_entries DISABLE TRIGGER only_grows")
    op.execute("UPDATE quota_entries SET kind = 'ADJUST', job_id = NULL WHERE kind = 'REFUND'")
    op.execute("ALTER TABLE quota_entries ENABLE TRIGGER only_grows")
    _allow(KINDS, TOLD_AS_NEWS)
    op.drop_constraint(op.f("ck_jobs_measured_not_negative"), "jobs")
    op.drop_column("jobs", "measured_seconds")


def _allow(kinds: str, told_as_news: str) -> None:
    op.drop_constraint(op.f("ck_quota_entries_kind_known"), "quota_entries")
    op.create_check_constraint(op.f("ck_quota_entries_kind_known"), "quota_entries", f"kind IN ({kinds})")
    op.drop_index("ix_quota_entries_stream", table_name="quota_entries")
    op.create_index(
        "ix_quota_entries_stream", "quota_entries", ["xid", "id"], postgresql_where=sa.text(f"kind IN ({told_as_news})")
    )
