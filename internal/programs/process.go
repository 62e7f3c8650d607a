// Package programs runs the programs that jobs name: one process each, spoken to in lines over its standard input and
// output, and ended together with all that it started.
package programs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pgbackfill/pgbackfill/backfill"
)

const (
	// lineMost bounds a line that a program writes, in bytes: what has no end is found out before memory has.
	lineMost = 64 << 20
	// saidMost bounds a line of its standard error, in bytes; what is longer is cut.
	saidMost = 2000
	// leaveMost is how long a program may take to end by itself once its input is closed.
	leaveMost = time.Second
	// exitMissing is what shells, env and their like end with where they do not find the program.
	exitMissing = 127
)

// Runner starts programs. The zero value works.
type Runner struct{}

var _ backfill.Programs = Runner{}

// Find looks the program up: a name with a slash in it in the folder dir, another one along PATH.
func (Runner) Find(command []string, dir string) error {
	_, err := find(command, dir)
	return err
}

func find(command []string, dir string) (string, error) {
	if len(command) == 0 || command[0] == "" {
		return "", backfill.Inputf("transform", "name a program: command: [./encrypt]", "the command is empty")
	}
	name := command[0]
	beside := strings.ContainsAny(name, "/"+string(filepath.Separator))
	if beside && !filepath.IsAbs(name) {
		// Absolute, for the folder may be the current one: "." and "./encrypt" join to "encrypt", which would be looked
		// up along PATH, where a stranger's program may be.
		var err error
		if name, err = filepath.Abs(filepath.Join(dir, name)); err != nil {
			return "", fmt.Errorf("looking for the program %q: %w", command[0], err)
		}
	}
	path, err := exec.LookPath(name)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err == nil {
		return path, nil
	}
	e := &backfill.Error{Place: "transform", Found: fmt.Sprintf("the program %q cannot be started", command[0]), Err: unwrapped(err), Kind: backfill.ErrInput}
	switch {
	case beside:
		e.Remedy = fmt.Sprintf("it is looked for relative to the job file, as %s; it must be there and executable (chmod +x)", name)
	default:
		e.Remedy = "it is looked for along PATH; for one beside the job file write ./" + command[0]
	}
	return "", e
}

// unwrapped leaves the name out, which the error around it says.
func unwrapped(err error) error {
	var e *exec.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// Start starts a program.
func (Runner) Start(command []string, dir string, said func(string)) (backfill.Program, error) {
	path, err := find(command, dir)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, command[1:]...)
	cmd.Args[0] = command[0]
	cmd.Dir = dir
	// Python keeps what it prints to a pipe back until there are some kilobytes, or its end; nothing else is as
	// often forgotten as to flush.
	cmd.Env = append(os.Environ(), "PYTHONUNBUFFERED=1")
	ofItsOwn(cmd)
	p := &process{cmd: cmd, heard: make(chan struct{})}
	if p.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	told, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		if errors.Is(err, os.ErrPermission) || errors.Is(err, os.ErrNotExist) || notExecutable(err) {
			return nil, &backfill.Error{
				Place: "transform", Found: fmt.Sprintf("the program %q cannot be started", command[0]), Err: err,
				Remedy: "it must be executable, and so must what its first line names (#!)", Kind: backfill.ErrProgramMissing,
			}
		}
		return nil, fmt.Errorf("starting the program %q: %w", command[0], err)
	}
	p.out, p.pipes = bufio.NewReaderSize(out, 64<<10), []io.Closer{out, told}
	go func() {
		defer close(p.heard)
		p.listen(told, said)
	}()
	return p, nil
}

// process is one program at work. Its methods are called by one goroutine.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	// heard is closed when its standard error is at its end.
	heard chan struct{}

	// pipes are our ends of its output.
	pipes []io.Closer

	mu sync.Mutex
	// last is the last line of its standard error; gone is set when there is nothing left to kill.
	last string
	gone bool

	// ended is set once it is not to be spoken to any more; status and code are how it ended.
	ended  bool
	status string
	code   int
}

// listen passes on what a program says, line by line.
func (p *process) listen(r io.Reader, said func(string)) {
	lines := bufio.NewReaderSize(r, saidMost)
	for {
		line, long, err := lines.ReadLine()
		if err != nil {
			return
		}
		text := strings.ToValidUTF8(string(line), "\uFFFD")
		for long && err == nil {
			_, long, err = lines.ReadLine()
			if !long {
				text += "…"
			}
		}
		p.mu.Lock()
		p.last = text
		p.mu.Unlock()
		if said != nil {
			said(text)
		}
	}
}

// Exchange implements [backfill.Program].
func (p *process) Exchange(ctx context.Context, lines []byte, count int, patience time.Duration, each func([]byte) error) error {
	if p.ended {
		return p.died(0, count)
	}
	var silent atomic.Bool
	timer := time.AfterFunc(patience, func() {
		silent.Store(true)
		_ = p.in.Close() // what it answers now, it has held back
		time.AfterFunc(leaveMost, p.kill)
	})
	defer timer.Stop()
	stopped := context.AfterFunc(ctx, p.kill)
	defer stopped()

	wrote := make(chan struct{})
	go func() {
		defer close(wrote)
		_, _ = p.in.Write(lines) // a program that is gone is noticed by its silence
	}()
	late := 0
	got, err := p.answers(count, func(line []byte) error {
		if silent.Load() {
			late++
			return nil
		}
		timer.Reset(patience)
		return each(line)
	})
	if silent.Load() && err == nil {
		err = backfill.ErrProgramSilent
	}
	if err == nil && p.out.Buffered() > 0 {
		extra, _ := p.out.Peek(min(p.out.Buffered(), 200))
		err = fmt.Errorf("%w: a line more than asked for: %q", backfill.ErrProgramAnswer, extra)
	}
	if err != nil {
		p.end(!errors.Is(err, io.EOF))
	}
	<-wrote
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case late > 0 && got == count:
		return fmt.Errorf("%w: %d of %d lines came back only when its input was closed, after %s%s", backfill.ErrProgramHoldsBack, late, count, patience, p.lastWords())
	case silent.Load():
		got -= late
		return fmt.Errorf("%w: %d of %d lines had come back, and none for %s%s", backfill.ErrProgramSilent, got, count, patience, p.lastWords())
	case errors.Is(err, io.EOF):
		return p.died(got, count)
	}
	return err
}

// answers reads the lines that come back.
func (p *process) answers(count int, each func([]byte) error) (int, error) {
	for got := range count {
		line, err := p.line()
		if err != nil {
			return got, err
		}
		if err := each(line); err != nil {
			return got, err
		}
	}
	return count, nil
}

// line reads a line. It is good until the next one is read.
func (p *process) line() ([]byte, error) {
	line, err := p.out.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		long := append([]byte{}, line...)
		for errors.Is(err, bufio.ErrBufferFull) {
			if len(long) > lineMost {
				return nil, fmt.Errorf("%w: a line of more than %d MiB", backfill.ErrProgramAnswer, lineMost>>20)
			}
			line, err = p.out.ReadSlice('\n')
			long = append(long, line...)
		}
		line = long
	}
	if err != nil { // what has no line feed at the end may be half a line
		return nil, io.EOF
	}
	line = line[:len(line)-1]
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line, nil
}

// died is the error of a program that has ended.
func (p *process) died(got, count int) error {
	kind := backfill.ErrProgramEnded
	if p.code == exitMissing {
		kind = backfill.ErrProgramMissing
	}
	return fmt.Errorf("%w with %s after %d of %d lines%s", kind, p.status, got, count, p.lastWords())
}

func (p *process) lastWords() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last == "" {
		return ""
	}
	return "; the last it said: " + p.last
}

// Close implements [backfill.Program].
func (p *process) Close() {
	if p.ended {
		return
	}
	_ = p.in.Close()
	timer := time.AfterFunc(leaveMost, p.kill)
	_, _ = io.Copy(io.Discard, p.out)
	timer.Stop()
	p.end(false)
}

// kill ends the program with all that it started. It may be called at any time.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.gone {
		killGroup(p.cmd)
	}
}

// end ends what is left of the program, takes note of how it ended, and waits for all that listens to it. One that
// closed its output by itself has a moment to end with a code of its own.
func (p *process) end(now bool) {
	p.ended = true
	if now {
		p.kill()
	}
	timer := time.AfterFunc(leaveMost, p.kill)
	state, err := p.cmd.Process.Wait()
	timer.Stop()
	// Its group has its number for as long as anything of it is left, so that this cannot meet somebody else's.
	p.kill()
	p.mu.Lock()
	p.gone = true
	p.mu.Unlock()
	_ = p.in.Close()
	select { // what it said last is worth a moment
	case <-p.heard:
	case <-time.After(leaveMost): // somebody who left the group holds it open
	}
	for _, pipe := range p.pipes {
		_ = pipe.Close()
	}
	<-p.heard
	if p.status, p.code = "an unknown status", -1; err == nil {
		p.status, p.code = state.String(), state.ExitCode()
	}
}
