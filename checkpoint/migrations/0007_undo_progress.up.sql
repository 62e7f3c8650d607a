-- How far a run is taken back is read from the last row of its ledger, whatever the length of that.
ALTER TABLE pgbackfill.undos ADD COLUMN kept bigint NOT NULL DEFAULT 0;
ALTER TABLE pgbackfill.undo_chunks ADD COLUMN total_restored bigint NOT NULL DEFAULT 0, ADD COLUMN total_missed bigint NOT NULL DEFAULT 0;
UPDATE pgbackfill.undo_chunks AS c SET total_restored = t.restored, total_missed = t.missed
  FROM (SELECT run_id, seq, pg_catalog.sum(restored) OVER w AS restored, pg_catalog.sum(missed) OVER w AS missed
          FROM pgbackfill.undo_chunks WINDOW w AS (PARTITION BY run_id ORDER BY seq)) AS t
 WHERE t.run_id = c.run_id AND t.seq = c.seq;

COMMENT ON COLUMN pgbackfill.undos.kept IS 'The greatest number under which a row version was kept when the undo began; 0 where none was, and where the run is taken back by assignments.';
COMMENT ON COLUMN pgbackfill.undo_chunks.total_restored IS 'The sum up to this chunk and with it.';
