"""Find jobs by the time of their submission, for reports"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Of the kind that costs a submission nothing: jobs lie in the table about in the order in which they came."""
    op.create_index(
        "ix_jobs_created_at", "jobs", ["created_at"], postgresql_using="brin", postgresql_with={"autosummarize": True}
    )


def downgrade() -> None:
    op.drop_index("ix_jobs_created_at", table_name="jobs")
