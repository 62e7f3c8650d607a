import hashlib, json, sys
for line in sys.stdin:
    row = json.loads(line)
    out = {"id": row["id"], "hashed_token": hashlib.sha256(row["token"].encode()).hexdigest(), "token_last_characters": row["token"][-4:]}
    print(json.dumps(out), flush=True)
