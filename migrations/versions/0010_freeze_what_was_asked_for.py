"""Freeze what was asked for, and keep of what the approval was: what was approved is what runs"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

ASKED_FOR = (
    "user_id",
    "name",
    "gpu_type",
    "num_gpus",
    "time_limit_seconds",
    "command",
    "data_location",
    "is_sensitive",
    "justification",
    "reserved_seconds",
)


def upgrade() -> None:
    op.add_column("jobs", sa.Column("approved_digest", sa.LargeBinary(), nullable=True))
    changed = ", ".join(f"OLD.{column}" for column in ASKED_FOR)
    to = ", ".join(f"NEW.{column}" for column in ASKED_FOR)
    op.execute(
        "CREATE TRIGGER asked_for_once BEFORE UPDATE ON jobs FOR EACH ROW "
        f"WHEN (({changed}) IS DISTINCT FROM ({to}) "
        "OR (OLD.approved_digest IS NOT NULL AND NEW.approved_digest IS DISTINCT FROM OLD.approved_digest)) "
        "EXECUTE FUNCTION refuse('what was asked for never changes')"
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER asked_for_once ON jobs")
    op.drop_column("jobs", "approved_digest")
