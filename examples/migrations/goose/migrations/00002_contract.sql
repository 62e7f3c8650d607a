-- +goose Up
-- Raises an error, and nothing is dropped, unless pgbackfill has proven that display_name holds what it should.
SELECT pgbackfill.assert_ready('display-name');
ALTER TABLE users DROP COLUMN full_name;
