BEGIN;
INSERT INTO dangling_ti SELECT t.* FROM task_instance t WHERE NOT EXISTS (SELECT FROM dag_run r WHERE r.dag_id=t.dag_id AND r.execution_date=t.execution_date);
DELETE FROM task_instance t WHERE NOT EXISTS (SELECT FROM dag_run r WHERE r.dag_id=t.dag_id AND r.execution_date=t.execution_date);
UPDATE task_instance t SET run_id=r.run_id FROM dag_run r WHERE r.dag_id=t.dag_id AND r.execution_date=t.execution_date;
COMMIT;
