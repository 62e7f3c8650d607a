SELECT id FROM orders
 WHERE (payload ? 'total' AND (total IS DISTINCT FROM (payload ->> 'total')::numeric(12, 2)
                               OR currency IS DISTINCT FROM upper(coalesce(payload ->> 'currency', 'EUR'))))
    OR (NOT payload ? 'total' AND (total IS NOT NULL OR currency IS NOT NULL));
