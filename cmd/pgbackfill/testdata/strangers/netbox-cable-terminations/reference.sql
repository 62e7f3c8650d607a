BEGIN;
INSERT INTO cabletermination (cable_id,cable_end,type_id,termination_id) SELECT id,'A',termination_a_type,termination_a_id FROM cable WHERE termination_a_id IS NOT NULL ON CONFLICT DO NOTHING;
INSERT INTO cabletermination (cable_id,cable_end,type_id,termination_id) SELECT id,'B',termination_b_type,termination_b_id FROM cable WHERE termination_b_id IS NOT NULL ON CONFLICT DO NOTHING;
UPDATE interface i SET cable_end=x.cable_end FROM cabletermination x WHERE x.type_id=7 AND x.termination_id=i.id AND x.cable_id=i.cable_id;
COMMIT;
