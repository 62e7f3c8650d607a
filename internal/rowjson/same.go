package rowjson

import (
	"bytes"
	"encoding/json"
	"math/big"
	"strconv"
	"strings"
)

// same reports whether two JSON values that are written differently are one value of a key.
func (k Kind) same(a, b []byte) bool {
	if len(a) == 0 || len(b) == 0 {
		return false
	}
	if a[0] == '"' && b[0] == '"' {
		x, err1 := (&scanner{b: a}).text()
		y, err2 := (&scanner{b: b}).text()
		return err1 == nil && err2 == nil && x == y
	}
	switch k {
	case Number, Float:
		x, ok1 := exact(a)
		y, ok2 := exact(b)
		return ok1 && ok2 && x.Cmp(y) == 0
	case JSON:
		var x, y bytes.Buffer
		return json.Compact(&x, a) == nil && json.Compact(&y, b) == nil && bytes.Equal(x.Bytes(), y.Bytes())
	}
	return false
}

// exact is a number that is not unreasonably large.
func exact(v []byte) (*big.Rat, bool) {
	const most = 1000 // digits, and the power of ten
	mantissa, exponent, found := strings.Cut(strings.ToLower(string(v)), "e")
	if found {
		if n, err := strconv.Atoi(exponent); err != nil || n > most || n < -most {
			return nil, false
		}
	}
	if len(mantissa) > most {
		return nil, false
	}
	return new(big.Rat).SetString(string(v))
}

// rounded reports whether got is what is left of sent in a 64-bit floating-point number.
func rounded(got, sent []byte) bool {
	x, err1 := strconv.ParseFloat(string(got), 64)
	y, err2 := strconv.ParseFloat(string(sent), 64)
	return err1 == nil && err2 == nil && x == y
}
