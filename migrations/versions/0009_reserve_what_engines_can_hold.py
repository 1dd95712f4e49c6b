"""Reserve what an engine can hold: beyond the time limit it rounds up, and takes time to end a run"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "engines",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("limit_step_seconds", sa.Integer(), nullable=False),
        sa.Column("ending_seconds", sa.Integer(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("limit_step_seconds >= 1 AND ending_seconds >= 0", name=op.f("ck_engines_keeps_time")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_engines")),
    )
    op.drop_constraint(op.f("ck_jobs_reserves_its_size"), "jobs")
    op.create_check_constraint(
        op.f("ck_jobs_reserves_its_size"), "jobs", "reserved_seconds >= num_gpus::bigint * time_limit_seconds"
    )


def downgrade() -> None:
    """The wider check stays: jobs that have reserved more are still to be settled."""
    op.drop_table("engines")
