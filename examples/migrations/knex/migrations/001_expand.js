exports.up = (knex) => knex.schema.alterTable('users', (t) => t.text('display_name'));
exports.down = (knex) => knex.schema.alterTable('users', (t) => t.dropColumn('display_name'));
