package localpg

import (
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Options say what cluster [Start] makes. The zero value is a small, fast primary.
type Options struct {
	// Installation to use; the zero value means what [Ensure] finds or obtains.
	Installation Installation

	// Name is the cluster's name in process titles and in pg_stat_replication; letters, digits, _ and -.
	// The default is "primary", and "standby" for a standby.
	Name string

	// Settings go into postgresql.conf and win over this package's own. Values are as one would write them there,
	// without quotes: {"log_statement": "all"}.
	Settings map[string]string

	// HBA lines are put before the default lines of pg_hba.conf, which ask everyone on 127.0.0.1 and on the socket
	// for a password.
	HBA []string

	// InitdbArgs replace the arguments "--locale=C --encoding=UTF8" of initdb.
	InitdbArgs []string

	// Environ is more of the server's environment, such as a library that is to be loaded before others: "LD_PRELOAD=…".
	Environ []string

	// Fresh runs initdb for this cluster alone. Otherwise clusters are copies of one template, which is fast, and
	// they all have the same system identifier.
	Fresh bool

	// Durable leaves fsync on. It is not needed to survive [Cluster.Kill]; see the package's documentation.
	Durable bool

	// Progress is told of what may take minutes: an installation or a download. Nil means nobody.
	Progress io.Writer
}

func (o Options) withDefaults() Options {
	if o.Name == "" {
		o.Name = "primary"
	}
	if len(o.InitdbArgs) == 0 {
		o.InitdbArgs = []string{"--locale=C", "--encoding=UTF8"}
	}
	return o
}

var (
	nameShape    = regexp.MustCompile(`^[A-Za-z0-9_-]{1,40}$`)
	settingShape = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.$]*$`)
)

func (o Options) validate() error {
	if !nameShape.MatchString(o.Name) {
		return fmt.Errorf("the name %q: want 1 to 40 letters, digits, _ or -", o.Name)
	}
	for name, value := range o.Settings {
		if !settingShape.MatchString(name) {
			return fmt.Errorf("the setting %q is not a name", name)
		}
		if strings.ContainsAny(value, "\n\r\x00") {
			return fmt.Errorf("the value of the setting %s holds a line break or a zero byte", name)
		}
	}
	return nil
}

// settings of a cluster, before its port and place are added.
func (o Options) settings() map[string]string {
	s := map[string]string{
		"cluster_name":     o.Name,
		"listen_addresses": "127.0.0.1",
		// Several packages' tests run at once, each with a cluster of its own.
		"shared_buffers":  "64MB",
		"max_connections": "200",
		"wal_level":       "replica",
		"max_wal_senders": "10",
		// So that a standby that was away for a while finds what it missed, without a replication slot that
		// would hold WAL back for ever when the standby is closed.
		"wal_keep_size": "512MB",
		"hot_standby":   "on",
		// Files in the data directory, which go with it. The default leaves segments in /dev/shm when the server
		// is killed, and is bounded by 64 MB in a container.
		"dynamic_shared_memory_type": "mmap",
		"log_line_prefix":            "%m [%p] %q%u@%d %a ",
		"log_timezone":               "UTC",
		"timezone":                   "UTC",
		"fsync":                      "off",
	}
	if o.Durable {
		s["fsync"] = "on"
	}
	maps.Copy(s, o.Settings)
	return s
}

// conf writes settings as a postgresql.conf.
func conf(settings map[string]string) string {
	var b strings.Builder
	b.WriteString("# Written by pgbackfill's localpg.\n")
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&b, "%s = %s\n", name, quoteConf(settings[name]))
	}
	return b.String()
}

// quoteConf quotes a value for postgresql.conf, where a backslash escapes too.
func quoteConf(value string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(value) + "'"
}
