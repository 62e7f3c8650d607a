BEGIN;
INSERT INTO user_roles (name,permissions) VALUES ('Owner',1),('Moderator',1308);
UPDATE users SET role_id=(SELECT id FROM user_roles WHERE name=CASE WHEN admin THEN 'Owner' ELSE 'Moderator' END) WHERE admin OR moderator;
COMMIT;
