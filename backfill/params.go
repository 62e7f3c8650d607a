package backfill

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbackfill/pgbackfill/internal/pgerr"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// Constant is the value of one of a job's parameters, the same for a whole run, and what of it is stored with the run.
type Constant struct {
	Name string `json:"name"`
	// Type is its SQL type, Value its text form as the server writes it; nil is NULL, and always so for a secret.
	Type  string  `json:"type"`
	Value *string `json:"value,omitempty"`
	// Env is the variable of the environment that a secret comes from; "" where it is none.
	Env string `json:"env,omitempty"`
	// Salt and Fingerprint tell whether a secret is still the one that the run began with, and nothing else of it.
	// They are set where it is stored: see [Constant.Sealed].
	Salt        string `json:"salt,omitempty"`
	Fingerprint string `json:"fingerprint,omitempty"`

	// secret gives the value of a secret. It is a function, so that nothing that prints a Constant prints it.
	secret func() string
}

// fingerprintRounds makes guessing a secret by its fingerprint slow.
const fingerprintRounds = 100_000

// Sealed is the constant as it is stored: for a secret a salt and a fingerprint instead of its value.
func (c Constant) Sealed() Constant {
	if c.secret == nil || c.Fingerprint != "" {
		return c
	}
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // it never fails
	c.Salt = hex.EncodeToString(salt)
	c.Fingerprint = c.fingerprint(c.Salt)
	return c
}

// Same reports whether a secret is the one that was stored; what is no secret always is, since the spec has it.
func (c Constant) Same(stored Constant) bool {
	if c.secret == nil {
		return true
	}
	return hmac.Equal([]byte(c.fingerprint(stored.Salt)), []byte(stored.Fingerprint))
}

// fingerprint is keyed by the salt: PBKDF2 over HMAC-SHA-256.
func (c Constant) fingerprint(salt string) string {
	key, err := pbkdf2.Key(sha256.New, c.secret(), []byte(salt), fingerprintRounds, sha256.Size)
	if err != nil { // only for lengths that are not ours
		panic(err)
	}
	return hex.EncodeToString(key)
}

// Params are the constants as a statement binds them.
func (p *Plan) Params() []pgsql.Param {
	list := make([]pgsql.Param, 0, len(p.Constants))
	for _, c := range p.Constants {
		param := pgsql.Param{Name: c.Name, Type: c.Type}
		switch {
		case c.secret != nil:
			param.Value = pgsql.Text(c.secret())
		case c.Value != nil:
			param.Value = pgsql.Text(*c.Value)
		}
		list = append(list, param)
	}
	return list
}

// withoutSecrets is the plan whose statements have NULL for a secret: they are there to be explained, and a plan of
// the server's prints the values it was asked for, and what it computed from them.
func (p *Plan) withoutSecrets() *Plan {
	shown := *p
	shown.Constants = slices.Clone(p.Constants)
	for i := range shown.Constants {
		shown.Constants[i].secret = nil
	}
	return &shown
}

// hide takes the run's secrets out of what the server says in an error, as it may of a row that holds one.
func (p *Plan) hide(err error) error {
	var server *pgconn.PgError
	if !errors.As(err, &server) {
		return err
	}
	for _, c := range p.Constants {
		if c.secret == nil || c.secret() == "" {
			continue
		}
		for _, text := range []*string{&server.Message, &server.Detail, &server.Hint, &server.Where, &server.InternalQuery} {
			*text = strings.ReplaceAll(*text, c.secret(), "(the secret "+c.Name+")")
		}
	}
	return err
}

// readParams finds the values of the job's parameters: those that the run has already, or else those of this moment.
func (pl *planning) readParams(ctx context.Context) error {
	for _, param := range pl.plan.Job.Params {
		at := slices.IndexFunc(pl.known.Constants, func(c Constant) bool { return c.Name == param.Name })
		var c Constant
		var err error
		switch {
		case param.Env != "":
			c, err = pl.secret(ctx, param)
		case at >= 0:
			c = pl.known.Constants[at]
		case param.SQL != nil:
			c, err = pl.evaluated(ctx, param)
		default:
			c, err = pl.constant(ctx, param)
		}
		if err != nil {
			return err
		}
		pl.plan.Constants = append(pl.plan.Constants, c)
	}
	return nil
}

// secret reads a parameter from the environment.
func (pl *planning) secret(ctx context.Context, param Param) (Constant, error) {
	c := Constant{Name: param.Name, Type: typeOf(param), Env: param.Env}
	place := pl.at(param.Line)
	value, ok := pl.known.environment(param.Env)
	if !ok {
		return c, Inputf(place, "set it in the environment of this process: export "+param.Env+"=…",
			"param %s: the environment variable %s is not set", param.Name, param.Env)
	}
	c.secret = func() string { return value }
	read, err := pl.read(ctx, pgsql.Param{Name: c.Name, Type: c.Type, Value: pgsql.Text(value)})
	switch {
	case err == nil:
		c.secret = func() string { return read }
		return c, nil
	case pgerr.Class(err) == pgerr.Data: // the server quotes the value
		return c, Inputf(place, "mend the value, or the type: under params",
			"param %s: the value of the environment variable %s is no %s (SQLSTATE %s)", param.Name, param.Env, c.Type, pgerr.Code(err))
	}
	return c, pl.badParam(param, &Plan{Constants: []Constant{c}}, err)
}

// constant reads a value of the job file.
func (pl *planning) constant(ctx context.Context, param Param) (Constant, error) {
	c := Constant{Name: param.Name, Type: typeOf(param)}
	if param.Value == nil {
		_, err := pl.read(ctx, pgsql.Param{Name: c.Name, Type: c.Type})
		return c, pl.badParam(param, pl.plan, err)
	}
	read, err := pl.read(ctx, pgsql.Param{Name: c.Name, Type: c.Type, Value: pgsql.Text(*param.Value)})
	c.Value = &read
	return c, pl.badParam(param, pl.plan, err)
}

func (pl *planning) read(ctx context.Context, param pgsql.Param) (string, error) {
	answers, err := pl.ask(ctx, pl.paramSettings(), param.Read())
	if err != nil {
		return "", err
	}
	return answers[0].rows[0][0], nil
}

// evaluated asks the server for the value of an expression.
func (pl *planning) evaluated(ctx context.Context, param Param) (Constant, error) {
	c := Constant{Name: param.Name, Type: param.Type}
	place := pl.at(max(param.Line, param.SQL.Line))
	for _, name := range pgsql.Names(param.SQL.SQL) {
		if slices.ContainsFunc(pl.plan.Constants, func(c Constant) bool { return c.Name == name && c.secret != nil }) {
			return c, Inputf(place, "compute it in the steps", "param %s is computed from the secret %s, and would be stored", param.Name, name)
		}
	}
	ask, err := pgsql.Evaluate(param.Name, param.SQL.SQL, param.Type, pl.plan.Params())
	if err != nil {
		return c, Inputf(place, "write an SQL expression without templates", "param %s: %v", param.Name, err)
	}
	answers, err := pl.ask(ctx, pl.paramSettings(), ask)
	if err != nil {
		return c, pl.badParam(param, pl.plan, err)
	}
	rows := answers[0].rows
	if len(rows) != 1 {
		return c, Inputf(place, "write an expression with one value, as in (SELECT max(…) FROM …)", "param %s: its SQL gives %d values", param.Name, len(rows))
	}
	if c.Type == "" {
		c.Type = rows[0][2]
	}
	if rows[0][1] != "t" {
		c.Value = &rows[0][0]
	}
	return c, nil
}

// badParam is the error of a parameter that the server does not accept; nil without one.
func (pl *planning) badParam(param Param, secrets *Plan, err error) error {
	const readOnly = "25006" // the planner's own transaction is
	if err == nil || pgerr.Class(err) == pgerr.Retry && pgerr.Code(err) != readOnly {
		return err
	}
	e := &Error{Place: pl.at(param.Line), Found: "param " + param.Name, Err: describedError{secrets.hide(err)}, Kind: ErrInput}
	switch {
	case param.SQL != nil:
		e.Place, e.Remedy = pl.at(max(param.Line, param.SQL.Line)), "mend its SQL: it is evaluated once, in a transaction that cannot write"
	case param.Value != nil:
		e.Found += fmt.Sprintf(": %q is no %s", *param.Value, typeOf(param))
		e.Remedy = "mend the value, or say its type: {value: …, type: …}"
	default:
		e.Remedy = "mend its type"
	}
	return e
}

// paramSettings are those of the job's statements, with values written in full.
func (pl *planning) paramSettings() pgsql.Statement {
	pins := pgsql.JobPins(pl.plan.SearchPath, pl.plan.Job.Settings)
	return pgsql.SetLocal(append(pins, pgsql.Setting{Name: "extra_float_digits", Value: "1"}, pgsql.Setting{Name: "bytea_output", Value: "hex"})...)
}

// typeOf is the type of a parameter that is not SQL.
func typeOf(param Param) string {
	if param.Type == "" {
		return "text"
	}
	return param.Type
}
