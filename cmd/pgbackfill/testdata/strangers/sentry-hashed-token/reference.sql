BEGIN;
UPDATE sentry_apitoken SET hashed_token=encode(sha256(token::bytea),'hex'), token_last_characters=right(token,4) WHERE token IS NOT NULL;
COMMIT;
