"""Find audit entries by time, with every filter"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

BY_ID = {
    "ix_audit_entries_action_id": ["action", "id"],
    "ix_audit_entries_actor_user_id_id": ["actor_user_id", "id"],
    "ix_audit_entries_target": ["target_type", "target_id", "id"],
}
BY_TIME = {
    "ix_audit_entries_created_at_id": ["created_at", "id"],
    "ix_audit_entries_action_created_at_id": ["action", "created_at", "id"],
    "ix_audit_entries_actor_user_id_created_at_id": ["actor_user_id", "created_at", "id"],
    "ix_audit_entries_target_type_created_at_id": ["target_type", "created_at", "id"],
    "ix_audit_entries_target": ["target_id", "target_type", "created_at", "id"],
}


def upgrade() -> None:
    replace_indexes(BY_ID, BY_TIME)


def downgrade() -> None:
    replace_indexes(BY_TIME, BY_ID)


def replace_indexes(old: dict[str, list[str]], new: dict[str, list[str]]) -> None:
    for name in old:
        op.drop_index(name, table_name="audit_entries")
    for name, columns in new.items():
        op.create_index(name, "audit_entries", columns)
