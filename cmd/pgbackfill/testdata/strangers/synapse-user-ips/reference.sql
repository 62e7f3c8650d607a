BEGIN;
DELETE FROM user_ips a USING (SELECT ctid, row_number() OVER (PARTITION BY user_id, access_token, ip ORDER BY last_seen DESC, device_id DESC NULLS LAST, user_agent) n FROM user_ips) d WHERE d.ctid=a.ctid AND n>1;
COMMIT;
