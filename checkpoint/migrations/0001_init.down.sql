DROP TABLE pgbackfill.events;
DROP TABLE pgbackfill.processes;
DROP TABLE pgbackfill.chunks;
DROP TABLE pgbackfill.segments;
DROP TABLE pgbackfill.runs;
