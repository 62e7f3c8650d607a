from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade():
    # Raises an error, and nothing is dropped, unless pgbackfill has proven that display_name holds what it should.
    op.execute("SELECT pgbackfill.assert_ready('display-name')")
    op.drop_column("users", "full_name")
