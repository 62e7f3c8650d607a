// libpq's own variables say where: PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE.
module.exports = { client: 'pg', connection: {}, migrations: { directory: './migrations' } };
