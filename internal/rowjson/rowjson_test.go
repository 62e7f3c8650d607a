package rowjson_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/pgbackfill/pgbackfill/internal/rowjson"
)

// Whatever text is sent, any JSON reader reads it as it was, on one line; and what encoding/json writes is read as it was.
func TestStrings(t *testing.T) {
	t.Parallel()
	a := rowjson.Answer{Returns: []rowjson.Member{{Name: "v", Kind: rowjson.Text}}}
	rapid.Check(t, func(r *rapid.T) {
		text := strings.ReplaceAll(rapid.String().Draw(r, "text"), "\x00", "")
		sent := rowjson.AppendString(nil, text)
		var read string
		if err := json.Unmarshal(sent, &read); err != nil || read != text || strings.ContainsAny(string(sent), "\n\r") {
			r.Fatalf("%q was sent as %s: %v", text, sent, err)
		}
		line, err := json.Marshal(map[string]string{"v": text})
		if err != nil {
			r.Fatal(err)
		}
		for _, l := range [][]byte{line, append(append([]byte(`{"v": `), sent...), '}')} {
			if got, err := a.Read(l, nil); err != nil || *got[0] != text {
				r.Fatalf("%s was read as %v: %v", l, got, err)
			}
		}
	})
}

// No line makes the reader panic, and what it takes is JSON.
func FuzzRead(f *testing.F) {
	a := rowjson.Answer{Key: []rowjson.Member{{Name: "id", Kind: rowjson.Number}}, Returns: []rowjson.Member{{Name: "v", Kind: rowjson.JSON}, {Name: "a", Kind: rowjson.Array}}}
	for _, s := range []string{`{"id":1,"v":{"x":[1e5,"\ud83d\ude42"]},"a":[1,[null,"x"]]}`, `{"id":1.0,"v":null,"a":null}`, `{"id":1,"error":"no"}`, `{`, `{"\u`, `{"id":-}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		_, err := a.Read([]byte(line), [][]byte{[]byte("1")})
		var failed *rowjson.RowError
		if (err == nil || errors.As(err, &failed)) && !json.Valid([]byte(line)) {
			t.Errorf("%q is taken and is not JSON", line)
		}
	})
}

// What is not the line that was asked for is refused, and said.
func TestRefuses(t *testing.T) {
	t.Parallel()
	a := rowjson.Answer{
		Key:     []rowjson.Member{{Name: "id", Kind: rowjson.Number}},
		Returns: []rowjson.Member{{Name: "n", Kind: rowjson.Number}, {Name: "b", Kind: rowjson.Bytes}, {Name: "j", Kind: rowjson.JSON}, {Name: "t", Kind: rowjson.Text}},
	}
	for line, said := range map[string]string{
		`{"id":7,"n":1,"b":"","t":"","x":1}`:           `the member "x"`,
		`{"id":7,"n":1,"b":"","t":"","t":""}`:          "comes twice",
		`{"id":7,"n":1,"b":""}`:                        `the member "t" is missing`,
		`{"n":1,"b":"","t":""}`:                        `the key's member "id" is missing`,
		`{"id":8,"n":1,"b":"","t":""}`:                 "where 7 was sent",
		`{"id":7,"n":true,"b":"","t":""}`:              "expected a number",
		`{"id":7,"n":1,"b":"!","t":""}`:                "not base64",
		`{"id":7,"n":1,"b":5,"t":""}`:                  "expected a string of base64",
		`{"id":7,"n":1,"b":"","t":5}`:                  "expected a string",
		`{"id":7,"n":1,"b":"","t":"\u0000"}`:           "U+0000",
		`{"id":7,"n":1,"b":"","t":"\ud800"}`:           "surrogate",
		"{\"id\":7,\"n\":1,\"b\":\"\",\"t\":\"\xff\"}": "UTF-8",
		`{"id":7,"n":01,"b":"","t":""}`:                "expected a comma",
		`{"id":7,"n":1,"b":"","t":""} {}`:              "something follows",
		`[]`:                                           "expected a JSON object",
		`{"id":7,"error":5}`:                           "not a string",
	} {
		if _, err := a.Read([]byte(line), [][]byte{[]byte("7")}); err == nil || !strings.Contains(err.Error(), said) {
			t.Errorf("%s: %v, want %q", line, err, said)
		}
	}
	got, err := a.Read([]byte(` {"t":null , "j": null,"b":"3q0=","n":"NaN","id":7.0} `), [][]byte{[]byte("7")})
	if err != nil || *got[0] != "NaN" || *got[1] != `\xdead` || *got[2] != "null" || got[3] != nil {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := a.Read([]byte(`{"id":7,"n":1,"b":null,"t":""}`), [][]byte{[]byte("7")}); err != nil || got[2] != nil {
		t.Errorf("an absent JSON member is NULL: %v, %v", got, err)
	}
}

// Values are sent in one form each. Made to fail: -0 as the server writes it, which readers take for an integer.
func TestForms(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind        rowjson.Kind
		value, want string
	}{
		{rowjson.Float, "-0", "-0.0"},
		{rowjson.Float, "1e-05", "1e-05"},
		{rowjson.Float, "NaN", `"NaN"`},
		{rowjson.Number, "-Infinity", `"-Infinity"`},
		{rowjson.Number, "-1.10", "-1.10"},
		{rowjson.Bool, "f", "false"},
		{rowjson.Bytes, "deadbeef", `"3q2+7w=="`},
		{rowjson.Time, `"2024-02-29T23:59:59+00:00"`, `"2024-02-29T23:59:59+00:00"`},
		{rowjson.JSON, "{\n}", "{ }"},
		{rowjson.Array, `{1,"a"}`, `"{1,\"a\"}"`},
	} {
		if got, err := c.kind.AppendValue(nil, []byte(c.value)); err != nil || string(got) != c.want {
			t.Errorf("%q: %s, want %s: %v", c.value, got, c.want, err)
		}
	}
}
