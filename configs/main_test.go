package configs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/pgbackfill/pgbackfill/configs"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// machine is a place to configure: folders of its own, flags and an environment.
type machine struct {
	t       *testing.T
	dir     string
	sources configs.Sources
}

// newMachine has no configuration at all.
func newMachine(t *testing.T, args ...string) *machine {
	t.Helper()
	dir := t.TempDir()
	m := &machine{t: t, dir: dir, sources: configs.Sources{
		Dir:        filepath.Join(dir, "work"),
		SystemFile: filepath.Join(dir, "etc", "config.yaml"),
		Environ:    []string{"HOME=" + filepath.Join(dir, "home"), "PATH=/bin"},
		Flags:      pflag.NewFlagSet("test", pflag.ContinueOnError),
	}}
	configs.Flags(m.sources.Flags)
	configs.RunFlags(m.sources.Flags)
	if err := m.sources.Flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return m
}

// write makes a file and returns its path; name is relative to the machine's folder.
func (m *machine) write(name, text string) string {
	m.t.Helper()
	path := filepath.Join(m.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
	return path
}

func (m *machine) env(entries ...string) *machine {
	m.sources.Environ = append(m.sources.Environ, entries...)
	return m
}

func (m *machine) load() configs.Config {
	m.t.Helper()
	c, err := configs.Load(m.sources)
	if err != nil {
		m.t.Fatal(err)
	}
	return c
}

// fails returns the error of loading, as text.
func (m *machine) fails() string {
	m.t.Helper()
	c, err := configs.Load(m.sources)
	if err == nil {
		m.t.Fatalf("accepted: %+v", c)
	}
	return err.Error()
}

// wants checks that a text says all of these.
func wants(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not said in:\n%s", part, text)
		}
	}
}
