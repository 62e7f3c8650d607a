package localpg

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// envChild makes the test binary play a program that starts clusters and ends without closing them.
const envChild = "LOCALPG_TEST_CHILD"

// child starts a primary and a standby, says where they are, and ends as it was told.
func child(how string) {
	ctx := context.Background()
	switch how {
	case "killed in initdb":
		_, err := Start(ctx, Options{Fresh: true})
		fmt.Println("not killed:", err)
		os.Exit(1)
	case "gives up in initdb":
		soon, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		if _, err := Start(soon, Options{Fresh: true}); errors.Is(err, context.DeadlineExceeded) {
			fmt.Println("gave up")
		}
		select {}
	}
	primary, err := Start(ctx, Options{})
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	standby, err := primary.Standby(ctx, StandbyOptions{})
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	if how == "frozen" {
		if err := primary.Freeze(); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
	}
	fmt.Printf("ready %s %s\n", primary.Dir(), standby.Dir())
	switch how {
	case "exit":
		os.Exit(3)
	case "panic":
		go func() { panic("as it was told") }()
	}
	select {}
}

func expectGone(t *testing.T, dir string) {
	t.Helper()
	within(t, 20*time.Second, func() error {
		if p := using(t, dir); len(p) > 0 {
			return fmt.Errorf("processes: %v", p)
		}
		if _, err := os.Stat(dir); err == nil {
			return fmt.Errorf("%s is there", dir)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
}

func TestCloseAll(t *testing.T) { // not parallel: it closes what others opened
	c, err := Start(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := CloseAll(); err != nil {
		t.Fatal(err)
	}
	expectGone(t, c.Dir())
}

// However a process ends that never closed its clusters, nothing of them stays.
func TestNothingOutlivesItsProcess(t *testing.T) {
	t.Parallel()
	for how, sig := range map[string]syscall.Signal{
		"killed":      syscall.SIGKILL,
		"interrupted": syscall.SIGINT,
		"terminated":  syscall.SIGTERM,
		"frozen":      syscall.SIGKILL,
		"panic":       0,
		"exit":        0,
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), envChild+"="+how)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(out).ReadString('\n')
			var primary, standby string
			if n, scanErr := fmt.Sscanf(line, "ready %s %s", &primary, &standby); n != 2 {
				_ = cmd.Process.Kill()
				t.Fatalf("the child said %q: %v, %v", line, err, scanErr)
			}
			if sig != 0 {
				if len(using(t, primary)) == 0 || len(using(t, standby)) == 0 {
					t.Error("no server seen before the signal")
				}
				if err := cmd.Process.Signal(sig); err != nil {
					t.Fatal(err)
				}
			}
			err = cmd.Wait()
			var ended *exec.ExitError
			if !errors.As(err, &ended) {
				t.Fatalf("the child ended with %v", err)
			}
			// The package must not have taken the signal for itself.
			if status := ended.Sys().(syscall.WaitStatus); sig != 0 && (!status.Signaled() || status.Signal() != sig) {
				t.Errorf("the child ended with %v, want death by %v", err, sig)
			}
			expectGone(t, primary)
			expectGone(t, standby)
		})
	}
}

// A process that dies, or gives up, while initdb runs leaves nothing either.
func TestNothingOutlivesInitdb(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"killed in initdb", "gives up in initdb"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			dir, err := os.MkdirTemp("/tmp", "lp-") // short, and open to the server's user, which t.TempDir need not be
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir)
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), envChild+"="+how, "TMPDIR="+dir)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if how == "killed in initdb" {
				within(t, 20*time.Second, func() error {
					if len(using(t, dir)) == 0 {
						return errors.New("no initdb yet")
					}
					return nil
				})
			} else if line, err := bufio.NewReader(out).ReadString('\n'); line != "gave up\n" {
				t.Errorf("the child said %q: %v", line, err)
			} else if left, err := os.ReadDir(dir); err != nil || len(left) > 0 || len(using(t, dir)) > 0 {
				t.Errorf("a start that was given up left %v, %v", left, using(t, dir))
			}
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // it was killed
			within(t, 20*time.Second, func() error {
				left, err := os.ReadDir(dir)
				if err != nil {
					return err
				}
				if len(left) > 0 || len(using(t, dir)) > 0 {
					return fmt.Errorf("left: %v, %v", left, using(t, dir))
				}
				return nil
			})
		})
	}
}
