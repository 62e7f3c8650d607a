BEGIN;
CREATE TEMP TABLE a AS SELECT * FROM assignments WHERE moderated_grading AND coalesce(grader_count,0)=0;
INSERT INTO moderation_graders (anonymous_id, assignment_id, user_id) SELECT lpad(row_number() OVER (PARTITION BY a.id ORDER BY scorer_id)::text,5,'0'), a.id, scorer_id
 FROM a JOIN submissions s ON s.assignment_id=a.id JOIN provisional_grades g ON g.submission_id=s.id GROUP BY a.id, scorer_id;
UPDATE assignments x SET grader_count=greatest(2,(SELECT count(*) FROM moderation_graders m WHERE m.assignment_id=x.id)) FROM a WHERE a.id=x.id;
INSERT INTO feature_flags (context_id,context_type,feature,state) SELECT DISTINCT context_id,'Course','moderated_grading','on' FROM a ON CONFLICT (context_id,context_type,feature) DO UPDATE SET state='on';
COMMIT;
