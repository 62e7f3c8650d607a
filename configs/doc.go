// Package configs is the configuration of the process: where it is told what, in which order
// of precedence, and what the operator allows at most.
//
// A value is taken from the first place that says it:
//
//	flag, --set  >  PGBACKFILL_* variable  >  job file (pace only)  >  configuration file  >  default.yaml
//
// A flag or a variable is about this one invocation, so it beats the job file; the
// configuration file is about every job, so a job file beats it. Exactly one configuration
// file is read, the first that exists of --config, PGBACKFILL_CONFIG, ./pgbackfill.yaml,
// $XDG_CONFIG_HOME/pgbackfill/config.yaml and /etc/pgbackfill/config.yaml; [Config.File] says
// which.
//
// Two things add up instead of replacing each other: the accepted findings, and the ceilings,
// of which the lowest holds. The ceilings of /etc/pgbackfill/config.yaml hold whichever file
// is read, so that a file beside a job cannot lift them.
//
// Every complaint about every place is reported at once, as [backfill.Error]s of kind
// [backfill.ErrInput]. default.yaml is embedded; it holds every key with its meaning.
package configs
