package localpg

import (
	"fmt"
	"io"
	"os/exec"
)

// The watchdog removes a cluster when our process is gone without having closed it, however it went: SIGKILL,
// a panic in any goroutine, os.Exit, Ctrl-C without a handler, the timeout of go test.
//
// It is a shell that reads from a pipe whose other end only we hold. The kernel closes our end when the process
// ends, by whatever death; the shell then sees the end of file, stops the server and removes the directory.
//
// Why not PR_SET_PDEATHSIG, which is less to write: it is Linux only; it fires when the *thread* that forked ends,
// and Go ends threads as it likes; it is cleared when a process changes its user, as ours does for root; and it
// signals one process, so the directory would stay. Why not a copy of ourselves: a library cannot make
// itself the main function of every test binary without an init() in each of them.
//
// It must not fire early: the write end is close-on-exec (os/exec makes it so), so no other child holds it, and
// the shell has a session of its own and ignores the signals of the terminal, so Ctrl-C does not end it
// before us. It must not kill a stranger: a process is only signalled if it is a program of PostgreSQL
// whose command line names our data directory. It asks by SIGQUIT (immediate shutdown), upon which the postmaster itself ends its children
// and gives back its shared memory, and uses SIGKILL only if that took too long. Our standard output and error are
// not inherited: go test would wait for a holder of them.
const watchdogScript = `
trap '' HUP INT QUIT TERM PIPE
dir=$1
while read -r _; do :; done
[ -n "$dir" ] && [ -d "$dir" ] || exit 0
ours() {
	if [ -r /proc/self/cmdline ]; then line=$(tr '\0' ' ' 2>/dev/null <"/proc/$1/cmdline")
	else line=$(ps -o command= -p "$1"); fi
	case $line in *postgres*"$dir/data"* | *initdb*"$dir/data"* | *pg_basebackup*"$dir/data"*) return 0 ;; esac
	return 1
}
round=0
while [ "$round" -lt 120 ]; do
	round=$((round + 1))
	pid=
	[ -r "$dir/data/postmaster.pid" ] && read -r pid <"$dir/data/postmaster.pid"
	[ -n "$pid" ] && ours "$pid" || break
	if [ "$round" -lt 80 ]; then kill -QUIT "$pid"; kill -CONT "$pid"; else kill -KILL "$pid"; fi
	sleep 0.1
done
# Whatever has no pid file: initdb, a base backup, a server in its first moments.
if [ -r /proc/self/cmdline ]; then pids=$(cd /proc && echo [0-9]*); else pids=$(ps -axo pid=); fi
for pid in $pids; do
	# The servers that initdb runs hear of its end, and give back their shared memory if they still have files.
	[ "$pid" != "$$" ] && ours "$pid" && kill -KILL "$pid" && sleep 0.5
done
for _ in 1 2 3 4 5 6 7 8 9 10; do rm -rf -- "$dir" && break; sleep 0.2; done
`

// watchdog watches over one cluster's directory.
type watchdog struct {
	cmd  *exec.Cmd
	pipe io.WriteCloser
}

func watch(dir string) (*watchdog, error) {
	cmd := exec.Command("/bin/sh", "-c", watchdogScript, "pgbackfill-watchdog", dir)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL=C"}
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting the watchdog: %w", err)
	}
	if err := startDetached(cmd, account{}); err != nil {
		return nil, fmt.Errorf("starting the watchdog: %w", err)
	}
	return &watchdog{cmd, pipe}, nil
}

// dismiss ends the watchdog. The directory should be gone: what is left of it, the watchdog removes.
func (w *watchdog) dismiss() error {
	w.pipe.Close()
	if err := w.cmd.Wait(); err != nil {
		return fmt.Errorf("ending the watchdog: %w", err)
	}
	return nil
}
