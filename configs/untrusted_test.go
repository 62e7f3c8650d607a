package configs_test

import (
	"errors"
	"testing"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/configs"
)

// The file of the working directory, which in CI is that of whoever wrote the branch, lets no programs run; who named the file, or the
// operator's own places, do. Made to fail: without trusted, it allowed them.
func TestWorkingDirectoryAllowsNoPrograms(t *testing.T) {
	t.Parallel()
	const allows = "programs: {allow: true}\n"
	m := newMachine(t)
	m.write("work/pgbackfill.yaml", allows)
	if _, err := configs.Load(m.sources); !errors.Is(err, backfill.ErrInput) {
		t.Fatalf("got %v", err)
	} else {
		wants(t, err.Error(), "work/pgbackfill.yaml:1: programs.allow in the file of the working directory", "--allow-programs")
	}
	for name, say := range map[string]func(*machine) bool{
		"named": func(m *machine) bool {
			m.env("PGBACKFILL_CONFIG=" + m.write("work/pgbackfill.yaml", allows))
			return true
		},
		"the user's":   func(m *machine) bool { m.write("home/.config/pgbackfill/config.yaml", allows); return true },
		"the system's": func(m *machine) bool { m.write("etc/config.yaml", allows); return true },
		"a variable as well": func(m *machine) bool {
			m.write("work/pgbackfill.yaml", allows)
			m.env("PGBACKFILL_PROGRAMS_ALLOW=false")
			return false
		},
		"a flag as well": func(m *machine) bool {
			m.write("work/pgbackfill.yaml", allows)
			if err := m.sources.Flags.Parse([]string{"--allow-programs"}); err != nil {
				t.Fatal(err)
			}
			return true
		},
		"nobody": func(m *machine) bool { m.write("work/pgbackfill.yaml", "programs: {allow: false}\n"); return false },
	} {
		m := newMachine(t)
		want := say(m)
		if c := m.load(); c.AllowPrograms != want {
			t.Errorf("%s: allowed %v, want %v", name, c.AllowPrograms, want)
		}
	}
}
