package pgerr

import "github.com/jackc/pgx/v5/pgconn"

// CodeQueryCanceled is the SQLSTATE of a statement that ran into statement_timeout or was cancelled, by us or by others.
const CodeQueryCanceled = "57014"

// CodeForeignKeyViolation is the SQLSTATE of a row that refers to none, or is referred to.
const CodeForeignKeyViolation = "23503"

// byCode holds the SQLSTATEs that differ from the rest of their class.
var byCode = map[string]Action{
	"21000": Data, // a subquery gave more than one row for this row

	"25P02": Retry, // the transaction had failed before
	"25P03": Retry, // idle_in_transaction_session_timeout
	"25P04": Shrink,

	"26000": Retry, // a pooler gave us a connection that does not know the prepared statement,
	"42P05": Retry, // or one that knows it already

	"40002": Data,

	"53300": Retry, // too many connections

	"55006": Retry, // object in use
	"55P03": Retry, // lock_timeout

	CodeQueryCanceled: Shrink,
	"57P01":           Retry, // shut down by an administrator
	"57P02":           Retry, // another process crashed
	"57P03":           Retry, // starting up
	"57P05":           Retry, // idle_session_timeout

	"HV00N": Retry, // a foreign server could not be reached

	"XX001": Fatal, // the data, or
	"XX002": Fatal, // an index is corrupted: a human must look
}

// byClass holds the action of a whole class: the first two characters of the SQLSTATE. What is not listed is Fatal.
var byClass = map[string]Action{
	"08": Retry,    // connection exception
	"20": Data,     // case not found (PL/pgSQL)
	"22": Data,     // data exception
	"23": Data,     // integrity constraint violation
	"27": Data,     // triggered data change violation
	"2F": Data,     // SQL routine exception
	"38": Data,     // external routine exception
	"39": Data,     // external routine invocation exception
	"40": Retry,    // transaction rollback: deadlock, serialization
	"44": Data,     // WITH CHECK OPTION
	"53": Resource, // disk full, out of memory
	"54": Data,     // program limit: a row that is too big for its index, too deep a recursion
	"58": Resource, // an error of the operating system: input/output
	"P0": Data,     // RAISE EXCEPTION, no data found, too many rows, assertion
}

func classServer(e *pgconn.PgError) Action {
	// Messages are translated by lc_messages and routines are not.
	switch {
	case demoted(e):
		return Retry
	case e.Code == "0A000" && e.Routine == "RevalidateCachedQuery":
		return Retry // "cached plan must not change result type": a new statement is planned anew
	case e.Code == "XX000" && e.Routine == "simple_heap_update", e.Code == "XX000" && e.Routine == "simple_heap_delete":
		return Retry // "tuple concurrently updated": DDL at the same moment
	}
	if a, ok := byCode[e.Code]; ok {
		return a
	}
	if len(e.Code) == 5 {
		if a, ok := byClass[e.Code[:2]]; ok {
			return a
		}
	}
	return Fatal
}

// demoted reports whether e is what a standby says of a transaction that wants to write: to one that began as
// READ WRITE in so many words, or to its first write.
func demoted(e *pgconn.PgError) bool {
	return e.Code == "25006" || e.Code == "0A000" && e.Routine == "call_bool_check_hook"
}

// conditions are the names of the SQLSTATEs that people meet most, as PostgreSQL's manual has them.
var conditions = map[string]string{
	"08000": "connection_exception",
	"08003": "connection_does_not_exist",
	"08006": "connection_failure",
	"08P01": "protocol_violation",
	"0A000": "feature_not_supported",
	"21000": "cardinality_violation",
	"22001": "string_data_right_truncation",
	"22003": "numeric_value_out_of_range",
	"22007": "invalid_datetime_format",
	"22008": "datetime_field_overflow",
	"22012": "division_by_zero",
	"22021": "character_not_in_repertoire",
	"22023": "invalid_parameter_value",
	"22P02": "invalid_text_representation",
	"23502": "not_null_violation",
	"23503": "foreign_key_violation",
	"23505": "unique_violation",
	"23514": "check_violation",
	"23P01": "exclusion_violation",
	"25006": "read_only_sql_transaction",
	"25P02": "in_failed_sql_transaction",
	"25P03": "idle_in_transaction_session_timeout",
	"28000": "invalid_authorization_specification",
	"28P01": "invalid_password",
	"3D000": "invalid_catalog_name",
	"3F000": "invalid_schema_name",
	"40001": "serialization_failure",
	"40P01": "deadlock_detected",
	"42501": "insufficient_privilege",
	"42601": "syntax_error",
	"42701": "duplicate_column",
	"42702": "ambiguous_column",
	"42703": "undefined_column",
	"42704": "undefined_object",
	"42803": "grouping_error",
	"42804": "datatype_mismatch",
	"42846": "cannot_coerce",
	"42883": "undefined_function",
	"428C9": "generated_always",
	"42P01": "undefined_table",
	"42P10": "invalid_column_reference",
	"42P18": "indeterminate_datatype",
	"42P22": "indeterminate_collation",
	"53100": "disk_full",
	"53200": "out_of_memory",
	"53300": "too_many_connections",
	"55000": "object_not_in_prerequisite_state",
	"55P03": "lock_not_available",
	"57014": "query_canceled",
	"57P01": "admin_shutdown",
	"57P02": "crash_shutdown",
	"57P03": "cannot_connect_now",
	"P0001": "raise_exception",
	"XX000": "internal_error",
	"XX001": "data_corrupted",
	"XX002": "index_corrupted",
}
