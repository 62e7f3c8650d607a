package localpg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

// Ensure is [Find], and where there is none it obtains one: as root on Debian with apt-get, which is told not to
// create or start a server of its own; else by downloading the binaries of zonkyio/embedded-postgres-binaries
// from Maven into the user's cache, once. A version that [EnvVersion] asks for is downloaded, since packages bring but
// one. What it does is told to progress, which may be nil.
// With [EnvFetch] set to "never" it obtains nothing. The error is a *[NotFoundError], or that of ctx.
func Ensure(ctx context.Context, progress io.Writer) (Installation, error) {
	inst, err := Find(ctx)
	var missing *NotFoundError
	if err == nil || !errors.As(err, &missing) {
		return inst, err
	}
	if os.Getenv(EnvBin) != "" {
		return Installation{}, err // someone chose a directory; that it is wrong is theirs to know
	}
	wanted, err := downloadVersion()
	if err != nil {
		return Installation{}, err
	}
	if inst, err := wanted.downloaded(ctx); err == nil {
		return inst, nil // by an earlier call
	}
	if os.Getenv(EnvFetch) == "never" {
		missing.Fetch = append(missing.Fetch, fmt.Errorf("no: %s=never", EnvFetch))
		return Installation{}, missing
	}
	if progress == nil {
		progress = io.Discard
	}
	ways := []func(context.Context, io.Writer) (Installation, error){aptInstall, wanted.download}
	if os.Getenv(EnvVersion) != "" {
		ways = ways[1:]
	}
	for _, get := range ways {
		inst, err := get(ctx, progress)
		if err == nil {
			return inst, nil
		}
		missing.Fetch = append(missing.Fetch, err)
		if ctx.Err() != nil {
			break
		}
	}
	return Installation{}, missing
}

// aptInstall installs Debian's package of the server.
func aptInstall(ctx context.Context, progress io.Writer) (Installation, error) {
	if os.Geteuid() != 0 {
		return Installation{}, errors.New("apt-get install postgresql: not root")
	}
	apt, err := exec.LookPath("apt-get")
	if err != nil {
		return Installation{}, fmt.Errorf("apt-get install postgresql: %w", err)
	}
	// Packages of one `go test ./...` come here at once; apt-get waits for some of its locks, not for all.
	unlock, err := lock(ctx, filepath.Join(os.TempDir(), "pgbackfill-apt.lock"))
	if err != nil {
		return Installation{}, fmt.Errorf("apt-get install postgresql: %w", err)
	}
	defer unlock()
	if inst, err := Find(ctx); err == nil {
		return inst, nil // another process was faster
	}
	allow, err := forbidMainCluster()
	if err != nil {
		return Installation{}, err
	}
	defer allow()
	run := func(args ...string) error {
		fmt.Fprintf(progress, "localpg: apt-get %s\n", strings.Join(args, " "))
		// An apt-get that is not ours may be at work.
		cmd := exec.CommandContext(ctx, apt, append([]string{"-o", "DPkg::Lock::Timeout=300", "-q"}, args...)...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("apt-get %s: %w: %s", strings.Join(args, " "), err, lastLines(string(out), 5))
		}
		return nil
	}
	install := []string{"install", "-y", "--no-install-recommends", "postgresql"}
	if err := run(install...); err != nil {
		// The lists of a fresh container are empty, or too old to name a file that is still there.
		if updateErr := run("update"); updateErr != nil {
			return Installation{}, errors.Join(err, updateErr)
		}
		if err := run(install...); err != nil {
			return Installation{}, err
		}
	}
	inst, err := Find(ctx)
	inst.Source = "installed with apt-get"
	return inst, err
}

// forbidMainCluster keeps the package from creating and starting a server that nobody asked for, until allow is
// called. It is a file of its own in a folder that the package reads, because the package would ask about a
// changed createcluster.conf.
func forbidMainCluster() (allow func(), err error) {
	const dir = "/etc/postgresql-common/createcluster.d"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("forbidding a main cluster: %w", err)
	}
	path := filepath.Join(dir, "pgbackfill.conf")
	text := "# Written by pgbackfill while it installs PostgreSQL: it wants the programs, not a server.\ncreate_main_cluster = false\n"
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return nil, fmt.Errorf("forbidding a main cluster: %w", err)
	}
	return func() { _ = os.Remove(path) }, nil
}

// release is a version that can be downloaded: one of embedded-postgres's own list, so that it is known to be there.
type release embeddedpostgres.PostgresVersion

var releases = map[int]release{
	14: release(embeddedpostgres.V14), 15: release(embeddedpostgres.V15), 16: release(embeddedpostgres.V16),
	17: release(embeddedpostgres.V17), 18: release(embeddedpostgres.V18),
}

// downloadVersion is the release that [EnvVersion] asks for, else the one that is got where any will do.
func downloadVersion() (release, error) {
	major, err := wantedMajor(os.Getenv)
	if err != nil {
		return "", err
	}
	if major == 0 {
		major = 17
	}
	found, ok := releases[major]
	if !ok {
		return "", fmt.Errorf("%s: PostgreSQL %d cannot be downloaded, only %d to %d: install it, or set %s to its directory",
			EnvVersion, major, slices.Min(slices.Collect(maps.Keys(releases))), slices.Max(slices.Collect(maps.Keys(releases))), EnvBin)
	}
	return found, nil
}

// download gets relocatable binaries from Maven. They hold initdb, pg_ctl and postgres only.
func (r release) download(ctx context.Context, progress io.Writer) (Installation, error) {
	home, err := r.home()
	if err != nil {
		return Installation{}, fmt.Errorf("download: %w", err)
	}
	cache := filepath.Dir(home)
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return Installation{}, fmt.Errorf("download: %w", err)
	}
	tmp, err := os.MkdirTemp(cache, "tmp-")
	if err != nil {
		return Installation{}, fmt.Errorf("download: %w", err)
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil {
		return Installation{}, fmt.Errorf("download: %w", err)
	}
	fmt.Fprintf(progress, "localpg: downloading PostgreSQL %s from Maven into %s\n", r, home)
	done := make(chan error, 1)
	// embedded-postgres takes no context; when ours ends, this one goroutine is left to its HTTP timeouts.
	go func() { done <- r.extract(tmp) }()
	select {
	case err = <-done:
	case <-ctx.Done():
		return Installation{}, fmt.Errorf("download: %w", ctx.Err())
	}
	if err != nil {
		return Installation{}, fmt.Errorf("download: %w", err)
	}
	// Renamed when whole: a download that was cut off is never taken for one that was not.
	if err := os.Rename(filepath.Join(tmp, "pg"), home); err != nil && !isDir(home) {
		return Installation{}, fmt.Errorf("download: %w", err)
	}
	return r.downloaded(ctx)
}

// downloaded is what download made, now or earlier.
func (r release) downloaded(ctx context.Context) (Installation, error) {
	home, err := r.home()
	if err != nil {
		return Installation{}, err
	}
	return systemFinder().inspect(ctx, candidate{filepath.Join(home, "bin"), "downloaded"})
}

// extract leaves the binaries in tmp/pg. embedded-postgres exports its download only as a part of starting a
// server, which does not work as root; so its verdict does not count, only whether the binaries came to be.
func (r release) extract(tmp string) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	home := filepath.Join(tmp, "pg")
	var log strings.Builder
	server := embeddedpostgres.NewDatabase(embeddedpostgres.DefaultConfig().
		Version(embeddedpostgres.PostgresVersion(r)).
		Port(uint32(port)).
		CachePath(filepath.Join(tmp, "archive")).
		BinariesPath(home).
		RuntimePath(filepath.Join(tmp, "run")).
		DataPath(filepath.Join(tmp, "data")).
		Logger(&log))
	startErr := server.Start()
	if startErr == nil {
		if err := server.Stop(); err != nil {
			return fmt.Errorf("stopping the server that embedded-postgres started: %w", err)
		}
	}
	for _, name := range []string{"initdb", "pg_ctl", "postgres"} {
		if !isExecutable(filepath.Join(home, "bin", name)) {
			return errors.Join(fmt.Errorf("the archive held no program %s", name), startErr)
		}
	}
	return nil
}

// home is where downloaded programs are kept: for root outside of its home, since the user that the server runs
// as must be able to read them.
func (r release) home() (string, error) {
	cache := "/var/cache"
	if os.Geteuid() != 0 {
		var err error
		if cache, err = os.UserCacheDir(); err != nil {
			return "", err
		}
	}
	return filepath.Join(cache, "pgbackfill", fmt.Sprintf("postgresql-%s-%s-%s", r, runtime.GOOS, runtime.GOARCH)), nil
}

// freePort asks the system for a port that nobody listens on right now.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("finding a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// lastLines gives the end of a text, for an error message.
func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
