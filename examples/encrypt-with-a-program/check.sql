SELECT id FROM customers
 WHERE (ssn IS NULL) <> (ssn_encrypted IS NULL) OR (ssn IS NULL) <> (ssn_key_id IS NULL) OR octet_length(ssn_encrypted) <> octet_length(ssn) + 16;
