BEGIN;
UPDATE attribute_value v SET sort_order=n FROM (SELECT id, row_number() OVER (PARTITION BY attribute_id ORDER BY name COLLATE "C", id)-1 n FROM attribute_value) s WHERE s.id=v.id;
UPDATE attribute a SET max_sort_order=m FROM (SELECT attribute_id, max(sort_order) m FROM attribute_value GROUP BY 1) s WHERE s.attribute_id=a.id;
COMMIT;
