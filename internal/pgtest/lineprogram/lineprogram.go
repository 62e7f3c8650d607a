// Package lineprogram makes a test binary be the program of a transform as well, so that tests have real programs
// without needing another language: a TestMain that begins with lineprogram.Main, and a job whose command is
// lineprogram.Command("upper").
package lineprogram

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"
)

// asked begins the argument that says which program to be.
const asked = "lineprogram:"

// Command is how the test binary is started as a program, with arguments of its own.
func Command(name string, args ...string) []string {
	path, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return append([]string{path, asked + name}, args...)
}

// Main is the program that the process was asked to be; it returns where it was not asked.
func Main() {
	if len(os.Args) < 2 || !strings.HasPrefix(os.Args[1], asked) {
		return
	}
	name := strings.TrimPrefix(os.Args[1], asked)
	f, ok := programs[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "there is no program %q\n", name)
		os.Exit(2)
	}
	lines := bufio.NewReaderSize(os.Stdin, 64<<10)
	out := bufio.NewWriter(os.Stdout)
	for n := 1; ; n++ {
		line, err := lines.ReadString('\n')
		if err != nil {
			if out.Flush() != nil {
				os.Exit(1)
			}
			os.Exit(0)
		}
		f(n, strings.TrimSuffix(line, "\n"), func(text string) { fmt.Fprintln(out, text) })
		if name != "holds" && (name == "drips" || lines.Buffered() == 0) && out.Flush() != nil {
			os.Exit(1)
		}
	}
}

// row is a line of table (id, v) with what the programs return.
type row struct {
	ID  json.RawMessage `json:"id"`
	V   *string         `json:"v,omitempty"`
	Out *string         `json:"out"`
}

func read(line string) row {
	var r row
	if err := json.Unmarshal([]byte(line), &r); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	return r
}

func upper(line string) string {
	r := read(line)
	if r.V != nil {
		up := strings.ToUpper(*r.V)
		r.Out, r.V = &up, nil
	}
	b, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// arg is an argument of the program's own.
func arg(i int) string { return os.Args[2+i] }

// once reports whether a file of that name was not there yet, and makes it.
func once(path string) bool {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

var kept string

// programs are what a test can ask for. Most answer {id, v} with {id, out}, out being v in capitals.
var programs = map[string]func(n int, line string, say func(string)){
	"echo":  func(_ int, line string, say func(string)) { say(line) },
	"upper": func(_ int, line string, say func(string)) { say(upper(line)) },
	// token answers {id, static_object_token} as transform.py of corpus case 12 does.
	"token": func(_ int, line string, say func(string)) {
		var r map[string]any
		d := json.NewDecoder(strings.NewReader(line))
		d.UseNumber()
		if err := d.Decode(&r); err != nil {
			panic(err)
		}
		token := []rune(r["static_object_token"].(string))
		for i, k := 0, len(token)-1; i < k; i, k = i+1, k-1 {
			token[i], token[k] = token[k], token[i]
		}
		say(fmt.Sprintf(`{"id": %s, "static_object_token_encrypted": "enc:%s"}`, r["id"], base64.StdEncoding.EncodeToString([]byte(string(token)))))
	},
	// says talks on its standard error, as one line that is too long, too.
	"says": func(n int, line string, say func(string)) {
		if n == 1 {
			fmt.Fprintf(os.Stderr, "hello\n%s\n", strings.Repeat("x", 10_000))
		}
		say(upper(line))
	},
	// dies ends at its fifth line, the first time that it runs.
	"dies": func(n int, line string, say func(string)) {
		if n == 5 && once(arg(0)) {
			fmt.Fprintln(os.Stderr, "out of cheese")
			os.Exit(9)
		}
		say(upper(line))
	},
	// drips takes 100 ms for each line.
	"drips": func(_ int, line string, say func(string)) {
		time.Sleep(100 * time.Millisecond)
		say(upper(line))
	},
	// poisoned ends at a row whose value says so.
	"poisoned": func(_ int, line string, say func(string)) {
		if strings.Contains(line, "poison") {
			os.Exit(9)
		}
		say(upper(line))
	},
	// refuses says of a row whose value says so that it cannot be done.
	"refuses": func(_ int, line string, say func(string)) {
		if strings.Contains(line, "poison") {
			say(fmt.Sprintf(`{"id": %s, "error": "it is bitter"}`, read(line).ID))
			return
		}
		say(upper(line))
	},
	// holds does not flush what it answers.
	"holds":   func(_ int, line string, say func(string)) { say(upper(line)) },
	"missing": func(int, string, func(string)) { os.Exit(127) },
	// hangs does not answer a row whose value says so.
	"hangs": func(_ int, line string, say func(string)) {
		if strings.Contains(line, "poison") {
			time.Sleep(time.Hour)
		}
		say(upper(line))
	},
	"silent":  func(int, string, func(string)) {},
	"garbage": func(int, string, func(string)) { fmt.Println("Starting up, please wait…") },
	// swaps answers every second line before the first.
	"swaps": func(n int, line string, say func(string)) {
		if n%2 == 1 {
			kept = line
			return
		}
		say(upper(line))
		say(upper(kept))
	},
	// drops leaves the third line out.
	"drops": func(n int, line string, say func(string)) {
		if n != 3 {
			say(upper(line))
		}
	},
	"doubles": func(_ int, line string, say func(string)) { say(upper(line)); say(upper(line)) },
	"adds": func(_ int, line string, say func(string)) {
		say(strings.TrimSuffix(upper(line), "}") + `,"extra":1}`)
	},
	"omits":  func(_ int, line string, say func(string)) { say(fmt.Sprintf(`{"id": %s}`, read(line).ID)) },
	"floats": func(_ int, _ string, say func(string)) { say(`{"id": 9007199254740992, "out": "x"}`) },
	// waits takes its time for each line: a duration, its argument.
	"waits": func(_ int, line string, say func(string)) {
		d, err := time.ParseDuration(arg(0))
		if err != nil {
			panic(err)
		}
		time.Sleep(d)
		say(upper(line))
	},
	// gated answers only once a file is there, and says by another that it waits.
	"gated": func(_ int, line string, say func(string)) {
		once(arg(0) + ".waiting")
		for _, err := os.Stat(arg(0)); err != nil; _, err = os.Stat(arg(0)) {
			time.Sleep(5 * time.Millisecond)
		}
		say(upper(line))
	},
}
