// Package catalog reads the shape of a server and of a table from PostgreSQL's catalogues.
package catalog

// Server is what was read of the server and of the role that reads it.
type Server struct {
	// Version is server_version_num, as 150018.
	Version  int    `json:"version"`
	Database string `json:"database"`
	Role     string `json:"role"`
	// InRecovery is set on a standby.
	InRecovery bool `json:"in_recovery"`
}

// Table is the shape of a table.
type Table struct {
	OID    uint32 `json:"oid"`
	Schema string `json:"schema"`
	Name   string `json:"name"`
}
