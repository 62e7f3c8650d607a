package configs

import (
	"errors"
	"fmt"
	"math"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/pgbackfill/pgbackfill/backfill"
)

// kind is what a key's value can be.
type kind struct {
	// expected is for people: "a whole number from 1 to 1000".
	expected string
	// parse reads the value as it is written in a flag or a variable, and a scalar of the file.
	parse func(text string) (any, error)
	// number is set where the file's value should not be quoted.
	number bool
	// list is set where the file's value is a sequence.
	list bool
	// json is set where the file's value can be more than a scalar, and is then read as JSON.
	json bool
	// node reads the file's value where it is more than that; nil is not.
	node func(*reader, key, *yaml.Node)
	// secret is set where the value is never shown.
	secret bool
}

// errValue says that a value is not what was expected; the kind says what that is.
var errValue = errors.New("not what was expected")

const (
	mostRows     = 10_000_000
	mostRate     = 1e9
	mostDuration = 24 * time.Hour
)

var (
	duration = kind{
		expected: "a duration with its unit, from 1ms to 24h: 100ms, 5s",
		parse: func(text string) (any, error) {
			d, err := time.ParseDuration(text)
			if err != nil || d < time.Millisecond || d > mostDuration {
				return nil, errValue
			}
			return d, nil
		},
	}
	rows = kind{
		expected: "a number of rows from 1 to 10M: 5000, 5k",
		number:   true,
		parse: func(text string) (any, error) {
			n, err := quantity(text)
			if err != nil || n < 1 || n > mostRows || n != math.Trunc(n) {
				return nil, errValue
			}
			return int(n), nil
		},
	}
	rowsOrOff = kind{
		expected: "a number of rows from 1 to 10M, or 0 to let pgbackfill find it",
		number:   true,
		parse: func(text string) (any, error) {
			if isOff(text) || text == "auto" {
				return backfill.Off, nil
			}
			return rows.parse(text)
		},
	}
	workersOrChosen = kind{
		expected: "a whole number from 1 to 1000, or 0 to let the plan choose",
		number:   true,
		parse: func(text string) (any, error) {
			if text == "0" || text == "auto" {
				return backfill.Off, nil
			}
			return whole(1, 1000).parse(text)
		},
	}
	rowsOrNone = kind{
		expected: "a number of rows from 1 to 10M, or 0 for none",
		number:   true,
		parse: func(text string) (any, error) {
			if isOff(text) {
				return backfill.Off, nil
			}
			return rows.parse(text)
		},
	}
	rateOrOff = kind{
		expected: "rows a second: 5000, 5k; or 0 for no limit",
		number:   true,
		parse: func(text string) (any, error) {
			if isOff(text) {
				return float64(backfill.Off), nil
			}
			n, err := quantity(strings.TrimSuffix(text, "/s"))
			if err != nil || n <= 0 || n > mostRate {
				return nil, errValue
			}
			return n, nil
		},
	}
	boolean = kind{
		expected: "true or false",
		number:   true,
		parse: func(text string) (any, error) {
			switch text {
			case "true", "false":
				return text == "true", nil
			}
			return nil, errValue
		},
	}
	listenAddress = kind{
		expected: "an address to listen at: :9187 is on every interface, localhost:9187 for this machine alone; or off",
		parse: func(text string) (any, error) {
			if isOff(text) {
				return "", nil
			}
			_, port, err := net.SplitHostPort(text)
			if err != nil {
				return nil, errValue
			}
			if _, err := strconv.ParseUint(port, 10, 16); err != nil {
				return nil, errValue
			}
			return text, nil
		},
	}
	connectionString = kind{
		expected: "a connection string: postgres://user@host:5432/database",
		secret:   true,
		parse:    func(text string) (any, error) { return text, nil },
	}
	words = kind{
		expected: "a list of ids of findings: [trigger-fires]",
		list:     true,
		parse: func(text string) (any, error) {
			list := strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
			for _, w := range list {
				if !findingID.MatchString(w) {
					return nil, errValue
				}
			}
			return list, nil
		},
	}
)

var findingID = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]*$`)

func whole(from, to int) kind {
	return kind{
		expected: fmt.Sprintf("a whole number from %d to %d", from, to),
		number:   true,
		parse: func(text string) (any, error) {
			n, err := strconv.Atoi(text)
			if err != nil || n < from || n > to {
				return nil, errValue
			}
			return n, nil
		},
	}
}

func oneOf(choices ...string) kind {
	return kind{
		expected: "one of " + strings.Join(choices, ", "),
		parse: func(text string) (any, error) {
			if !slices.Contains(choices, text) {
				return nil, errValue
			}
			return text, nil
		},
	}
}

// orNone is for ceilings, where 0 says that there is none.
func orNone(k kind) kind {
	inner := k.parse
	k.expected += ", or 0 for no ceiling"
	k.expected = strings.Replace(k.expected, "; or 0 for no limit, or", "; or", 1)
	k.parse = func(text string) (any, error) {
		if isOff(text) {
			return nil, nil
		}
		return inner(text)
	}
	return k
}

func isOff(text string) bool { return text == "0" || text == "off" || text == "none" }

// quantity reads a number with an optional k or M behind it. Underscores between digits are left out.
func quantity(text string) (float64, error) {
	factor := 1.0
	switch {
	case strings.HasSuffix(text, "k"):
		text, factor = strings.TrimSuffix(text, "k"), 1e3
	case strings.HasSuffix(text, "M"):
		text, factor = strings.TrimSuffix(text, "M"), 1e6
	}
	if !plainNumber.MatchString(text) {
		return 0, errValue
	}
	n, err := strconv.ParseFloat(strings.ReplaceAll(text, "_", ""), 64)
	return n * factor, err
}

// plainNumber leaves out what ParseFloat takes and nobody means: 0x1p3, infinity, nan, 1e9.
var plainNumber = regexp.MustCompile(`^[0-9]+(_[0-9]+)*(\.[0-9]+)?$`)
