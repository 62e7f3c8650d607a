from alembic import op

revision = "0001"
down_revision = None


def upgrade():
    op.execute("ALTER TABLE users ADD COLUMN display_name text")
