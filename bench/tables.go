package main

import (
	"fmt"
	"strings"
)

// tables are all that are measured. Their rows are such that all of them together take half an hour on two cores.
func tables() []table {
	return []table{
		{
			name: "sequential", rows: 3_000_000, key: "bigint", first: "0", id: "i",
			about: "an integer key in the order of the rows, all in the cache",
		},
		{
			name: "random", rows: 3_000_000, key: "uuid", first: "00000000-0000-0000-0000-000000000000", id: "md5(i::text || seed)",
			about:    "a random uuid as the key; a cache of a quarter of the table, checkpoints as often as by default, and a cold start: the caches of server and system emptied before each measurement",
			settings: smallCache, cold: true,
		},
		{
			name: "indexed", rows: 500_000, key: "bigint", first: "0", id: "i", indexes: []string{"email", "country", "created_at"},
			about: "three secondary indexes, none of them on what is written",
		},
		{
			name: "fillfactor", rows: 1_000_000, key: "bigint", first: "0", id: "i", with: []string{"fillfactor = 80"},
			about: "a fillfactor of 80",
		},
		{
			name: "wide", rows: 200_000, key: "bigint", first: "0", id: "i",
			more: []string{
				"repeat(md5(i::text || seed), 25) AS notes",
				"(SELECT string_agg(md5(i::text || part || seed), '') FROM generate_series(1, 100) AS part) AS document",
			},
			about: "wide rows: a kilobyte each, and 3 200 bytes more in the TOAST table",
		},
		{
			name: "sparse", rows: 500_000, key: "bigint", first: "0",
			// The second half lies one to each 199 keys, so that all the keys are a hundred times the rows.
			id:    "CASE WHEN i <= n / 2 THEN i ELSE n / 2 + (i - n / 2) * 199 - (h & 127) END",
			about: "skewed and sparse keys: one in a hundred is there; half of the rows have the lowest half per cent of them",
		},
		{
			name: "scoped", rows: 2_000_000, key: "bigint", first: "0", id: "i",
			more: []string{"CASE WHEN (h >> 12 & 1023) < 10 THEN 'gold' ELSE 'plain' END AS tier"}, where: "t.tier = 'gold'",
			about: "a scope of one row in a hundred, anywhere in the table, without an index",
		},
	}
}

// smallCache is a server whose cache and whose distance between checkpoints are to the table as 128 MB and PostgreSQL's default of
// 1 GB are to one of three million rows.
func smallCache(rows int) map[string]string {
	part := func(megabytes, least int) string { return fmt.Sprintf("%dMB", max(least, megabytes*rows/3_000_000)) }
	return map[string]string{"shared_buffers": part(128, 4), "max_wal_size": part(1024, 64), "checkpoint_timeout": "5min"}
}

// tablesNamed are those of a list of names, "" is all.
func tablesNamed(names string) ([]table, error) {
	all := tables()
	if names == "" {
		return all, nil
	}
	var list []table
	for name := range strings.SplitSeq(names, ",") {
		t, err := tableNamed(name)
		if err != nil {
			return nil, err
		}
		list = append(list, t)
	}
	return list, nil
}

func tableNamed(name string) (table, error) {
	var known []string
	for _, t := range tables() {
		if t.name == name {
			return t, nil
		}
		known = append(known, t.name)
	}
	return table{}, fmt.Errorf("there is no table %q; expected of %s", name, strings.Join(known, ", "))
}
