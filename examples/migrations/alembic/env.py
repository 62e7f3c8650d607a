from alembic import context
from sqlalchemy import create_engine

# libpq's own variables say where: PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE.
with create_engine("postgresql+psycopg://").connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
