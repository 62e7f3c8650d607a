package pgsql

import "strings"

// builtin are the server's own types that format_type writes without a schema and that SQL has no keyword for: where one is
// written in a statement, the search_path could have another of that name.
var builtin = func() map[string]bool {
	names := map[string]bool{}
	for name := range strings.FieldsSeq(`"bit" "char" bpchar aclitem box bytea cid cidr circle date datemultirange daterange
		inet int2vector int4multirange int4range int8multirange int8range json jsonb jsonpath line lseg macaddr macaddr8 money name
		nummultirange numrange oid oidvector path pg_lsn pg_snapshot point polygon refcursor regclass regcollation regconfig
		regdictionary regnamespace regoper regoperator regproc regprocedure regrole regtype text tid tsmultirange tsquery tsrange
		tstzmultirange tstzrange tsvector txid_snapshot uuid xid xid8 xml`) {
		names[name] = true
	}
	return names
}()

// typeName is a type as format_type has it, as it is to be written under a search_path that is not the engine's.
func typeName(typ string) string {
	if bare, _, _ := strings.Cut(typ, "["); builtin[bare] {
		return "pg_catalog." + typ
	}
	return typ
}
