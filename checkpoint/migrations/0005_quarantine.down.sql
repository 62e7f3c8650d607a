DROP TABLE pgbackfill.quarantine;
