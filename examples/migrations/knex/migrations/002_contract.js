exports.up = async (knex) => {
  // Raises an error, and nothing is dropped, unless pgbackfill has proven that display_name holds what it should.
  await knex.raw("SELECT pgbackfill.assert_ready('display-name')");
  await knex.schema.alterTable('users', (t) => t.dropColumn('full_name'));
};
exports.down = () => { throw new Error('what was dropped is in the backup'); };
