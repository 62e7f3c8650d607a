package report

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strings"
)

// The form that Jenkins, GitLab and others read; see https://github.com/testmoapp/junitxml.
type (
	suites struct {
		XMLName  xml.Name `xml:"testsuites"`
		Name     string   `xml:"name,attr"`
		Tests    int      `xml:"tests,attr"`
		Failures int      `xml:"failures,attr"`
		Errors   int      `xml:"errors,attr"`
		Suites   []suite  `xml:"testsuite"`
	}
	suite struct {
		Name     string `xml:"name,attr"`
		Tests    int    `xml:"tests,attr"`
		Failures int    `xml:"failures,attr"`
		Errors   int    `xml:"errors,attr"`
		Skipped  int    `xml:"skipped,attr"`
		Time     string `xml:"timestamp,attr"`
		Cases    []test `xml:"testcase"`
	}
	test struct {
		Name    string `xml:"name,attr"`
		Class   string `xml:"classname,attr"`
		Failure *told  `xml:"failure,omitempty"`
		Error   *told  `xml:"error,omitempty"`
		Skipped *told  `xml:"skipped,omitempty"`
		Out     string `xml:"system-out,omitempty"`
	}
	told struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

func (s *suite) add(t test) {
	s.Tests++
	switch {
	case t.Failure != nil:
		s.Failures++
	case t.Error != nil:
		s.Errors++
	case t.Skipped != nil:
		s.Skipped++
	}
	s.Cases = append(s.Cases, t)
}

// JUnit is the report as results of tests: the verdict, each check and each condition of the gate is one. What is wrong is
// a failure, what could not be known is an error: neither passes. What was waived is skipped.
func (r Report) JUnit() ([]byte, error) {
	s := suite{Name: "pgbackfill " + r.Job.Name, Time: r.Made.UTC().Format("2006-01-02T15:04:05Z")}
	verdict := test{Name: "verdict", Class: r.Job.Name, Out: r.Verdict.Text}
	switch r.Verdict.Word {
	case Proven:
	case Mismatched, Refused:
		verdict.Failure = &told{Message: string(r.Verdict.Word), Text: r.Verdict.Text}
	default:
		verdict.Error = &told{Message: string(r.Verdict.Word), Text: r.Verdict.Text}
	}
	s.add(verdict)
	if v := r.Verification; v != nil {
		for _, c := range v.Checks {
			t := test{Name: "check " + c.Name, Class: r.Job.Name, Out: fmt.Sprintf("%d rows in %d ranges", c.Rows, c.Ranges)}
			if n := c.Missing + c.Extra + c.Different; n > 0 {
				t.Failure = &told{Message: fmt.Sprintf("%d rows are not as they should be", n), Text: r.samples(c.Name)}
			}
			s.add(t)
		}
	}
	if r.Gate != nil {
		for _, c := range r.Gate.Conditions {
			t := test{Name: "gate " + c.ID, Class: r.Job.Name, Out: c.Evidence}
			switch c.Status {
			case "pass":
			case "waived":
				t.Skipped = &told{Message: c.Waiver, Text: c.Evidence}
			case "fail":
				t.Failure = &told{Message: c.Title, Text: c.Evidence}
			default:
				t.Error = &told{Message: c.Title, Text: c.Evidence}
			}
			s.add(t)
		}
	}
	all := suites{Name: s.Name, Tests: s.Tests, Failures: s.Failures, Errors: s.Errors, Suites: []suite{s}}
	var b bytes.Buffer
	b.WriteString(xml.Header)
	e := xml.NewEncoder(&b)
	e.Indent("", "  ")
	if err := e.Encode(all); err != nil {
		return nil, err
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

// samples are a line for each row that a check found.
func (r Report) samples(check string) string {
	var b strings.Builder
	for _, m := range r.Verification.Samples {
		if m.Check == check {
			fmt.Fprintf(&b, "key %s: %s; %s: %s; %s\n", values(m.Key), m.Kind, m.Confidence, word(m.Class), m.Evidence)
		}
	}
	return b.String()
}
