"""Find jobs by GPU type"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_jobs_gpu_type_status_id", "jobs", ["gpu_type", "status", "id"])


def downgrade() -> None:
    op.drop_index("ix_jobs_gpu_type_status_id", table_name="jobs")
