BEGIN;
UPDATE user_emails SET normalized_email=replace(split_part(split_part(lower(email::text),'@',1),'+',1),'.','')||'@'||split_part(lower(email::text),'@',2);
COMMIT;
