"""Keep what engines tell: their name for a run, where they put it, when they expect it to begin, GPUs out of reach

And since when they have not known a run. Long queues are read by GPU type from now on, and what was lost is found.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("engine_job_id", sa.Text()))
    op.add_column("jobs", sa.Column("placement", sa.Text()))
    op.add_column("jobs", sa.Column("expected_start_at", sa.DateTime(timezone=True)))
    op.add_column("jobs", sa.Column("unknown_since", sa.DateTime(timezone=True)))
    op.drop_index("ix_jobs_approved", table_name="jobs")
    op.create_index(
        "ix_jobs_queue",
        "jobs",
        ["gpu_type", "decided_at", "id", "num_gpus"],
        postgresql_where=sa.text("status = 'APPROVED' AND run_id IS NULL"),
    )
    op.create_index("ix_jobs_lost", "jobs", ["id"], postgresql_where=sa.text("reason = 'LOST'"))
    op.add_column("gpus", sa.Column("is_busy", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("gpus", sa.Column("offline_reason", sa.Text()))


def downgrade() -> None:
    op.drop_column("gpus", "offline_reason")
    op.drop_column("gpus", "is_busy")
    op.drop_index("ix_jobs_lost", table_name="jobs")
    op.drop_index("ix_jobs_queue", table_name="jobs")
    op.create_index("ix_jobs_approved", "jobs", ["decided_at", "id"], postgresql_where=sa.text("status = 'APPROVED'"))
    op.drop_column("jobs", "unknown_since")
    op.drop_column("jobs", "expected_start_at")
    op.drop_column("jobs", "placement")
    op.drop_column("jobs", "engine_job_id")
