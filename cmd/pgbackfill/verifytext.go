package main

import (
	"fmt"
	"strings"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/backfill/verify"
	"github.com/pgbackfill/pgbackfill/internal/human"
)

// verdictText is a verdict for people: the first line is the answer.
func verdictText(v verify.Verdict) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", v.Job, verdictLine(v))
	say := func(word string, lines ...string) {
		for _, line := range lines {
			fmt.Fprintf(&b, "  %-10s %s\n", word, line)
			word = ""
		}
	}
	var checks []string
	for _, c := range v.Checks {
		checks = append(checks, checkLine(c))
	}
	say("checked", checks...)
	if line := scopeLine(v.Scope()); line != "" {
		say("scope", line)
	}
	if line := classesLine(v.Classes()); line != "" {
		say("likely", line)
	}
	say("residual", v.Residual...)
	say("incomplete", v.Incomplete...)
	for _, u := range v.Unverifiable {
		say("", fmt.Sprintf("%s, %s: %s", u.Check, rangeText(backfill.Segment{Nulls: u.Nulls, Range: u.Range}), u.Reason))
	}
	for _, c := range v.Checks {
		var wrong []string
		for _, m := range c.Samples {
			wrong = append(wrong, mismatchLine(m))
		}
		if n := c.Mismatches(); n > 0 && int64(len(wrong)) < n && len(wrong) > 0 {
			wrong = append(wrong, "… and others; --samples N names more")
		}
		if len(v.Checks) > 1 && len(wrong) > 0 {
			wrong[0] = c.Name + ": " + wrong[0]
		}
		say("wrong", wrong...)
	}
	say("note", v.Notes...)
	if v.NotRecorded != "" {
		say("note", "this verification is not recorded: "+v.NotRecorded)
	}
	if v.ID != 0 && v.NotRecorded == "" {
		say("recorded", fmt.Sprintf("as verification %d", v.ID))
	}
	return b.String()
}

// verdictLine is the answer.
func verdictLine(v verify.Verdict) string {
	where := ""
	if v.Run != nil {
		where = fmt.Sprintf(" (run %d)", v.Run.ID)
	}
	rows := human.Plural(v.Rows(), "row")
	switch v.Result {
	case verify.Proven:
		if len(v.Residual) > 0 {
			return fmt.Sprintf("proven, residual: nothing is left to do in %s that were checked; what was written before is not proven%s", rows, where)
		}
		return fmt.Sprintf("proven: %s checked in %s, nothing is wrong%s%s", rows, human.Duration(v.Elapsed), unmet(v), where)
	case verify.Mismatched:
		if r := v.Run; r != nil && !r.State.Over() && r.State != backfill.StateFinishing {
			return fmt.Sprintf("mismatched, and unfinished: run %d is %s; %s not reached yet or wrong, of %s checked", r.ID, r.State, isOrAre(v.Mismatches()), rows)
		}
		also := ""
		if len(v.Incomplete) > 0 {
			also = ", and incomplete"
		}
		return fmt.Sprintf("mismatched%s: %s wrong, of %s checked%s", also, isOrAre(v.Mismatches()), rows, where)
	}
	if len(v.Checks) == 0 {
		return "incomplete: " + strings.Join(v.Incomplete, "; ")
	}
	return fmt.Sprintf("incomplete: %s; nothing wrong in %s that were checked%s", strings.Join(v.Incomplete, "; "), rows, where)
}

// unmet says that a proof has rows in it that nothing was computed for: they hold what they held, and whether they may is
// not for us to say. It counts those of the check with most of them.
func unmet(v verify.Verdict) string {
	var most int64
	for _, c := range v.Checks {
		most = max(most, c.Unmatched)
	}
	if most == 0 {
		return ""
	}
	return fmt.Sprintf("; %s matched by nothing in `from` and kept as before", isOrAre(most))
}

// scopeLine says what part of the table the job is about; "" is all of it.
func scopeLine(s *verify.ScopeCounts) string {
	if s == nil {
		return ""
	}
	line := fmt.Sprintf("%s of %s are in scope", human.Count(s.Inside), human.Plural(s.Rows, "row"))
	if s.Alone > 0 {
		line += fmt.Sprintf("; of the others %s in %s the only copy of what will be dropped", hasOrHave(s.Alone), strings.Join(s.Dropped, ", "))
	}
	if s.Beside > 0 {
		line += fmt.Sprintf("; of the others %s a value in %s and in what replaces it, which are not compared", hasOrHave(s.Beside), strings.Join(s.Dropped, ", "))
	}
	return line
}

func hasOrHave(n int64) string {
	if n == 1 {
		return "1 row has"
	}
	return human.Plural(n, "row") + " have"
}

func isOrAre(n int64) string {
	if n == 1 {
		return "1 row is"
	}
	return human.Plural(n, "row") + " are"
}

// checkLine is what one check came to.
func checkLine(c verify.CheckResult) string {
	parts := []string{fmt.Sprintf("%s: %s in %s", c.Name, human.Plural(c.Rows, "row"), human.Plural(c.Ranges, "range"))}
	if c.Kind == verify.KindBags {
		parts = append(parts, fmt.Sprintf("%s expected, %s there", human.Count(c.Expected), human.Count(c.Actual)))
	}
	for _, n := range []struct {
		count int64
		what  string
	}{
		{c.Missing, "missing"},
		{c.Extra, "that should not be there"},
		{c.Different, "with wrong values"},
		{c.Since, "among them that others have changed since the run"},
		{c.Unjudged, "that the run wrote and others have taken out of its scope since: they are not judged"},
		{c.Unmatched, "in scope matched by nothing in `from`: they keep what they hold"},
		{c.Multiple, "matched more than once in `from`: any of the values is taken for right"},
	} {
		if n.count > 0 {
			parts = append(parts, human.Plural(n.count, "row")+" "+n.what)
		}
	}
	return strings.Join(parts, "; ")
}

// mismatchLine names a row that is wrong.
func mismatchLine(m verify.Mismatch) string {
	line := string(m.Kind) + " " + tuple(m.Key)
	if m.Rows > 1 {
		line += fmt.Sprintf(", %d times", m.Rows)
	}
	if len(m.Columns) > 0 {
		line += ": " + strings.Join(m.Columns, ", ")
	}
	if m.Since {
		line += "; changed since by others"
	}
	if m.Confidence == verify.Likely {
		line += "; likely " + classTexts[m.Class]
	}
	if m.Expected != nil || m.Actual != nil {
		line += fmt.Sprintf("; expected %s, found %s", tuple(m.Expected), tuple(m.Actual))
	}
	return strings.ReplaceAll(line, "\n", " ")
}

func tuple(values []*string) string {
	if values == nil {
		return "no row"
	}
	texts := make([]string, len(values))
	for i, v := range values {
		if texts[i] = "NULL"; v != nil {
			texts[i] = *v
		}
	}
	return "(" + strings.Join(texts, ", ") + ")"
}

// classTexts are what the classes say of a row, for people.
var classTexts = map[verify.Class]string{
	verify.NeverBackfilled: "never backfilled",
	verify.BackfillWrong:   "written so by the backfill",
	verify.DualWriteMissed: "a dual write that was missed",
	verify.DualWriteWrong:  "a dual write that is wrong",
}

// classesLine counts what is likely to have happened; "" is where nothing is known of any row.
func classesLine(classes map[verify.Class]int64) string {
	var parts []string
	for _, c := range []verify.Class{verify.NeverBackfilled, verify.BackfillWrong, verify.DualWriteMissed, verify.DualWriteWrong} {
		if n := classes[c]; n > 0 {
			parts = append(parts, human.Count(n)+" "+classTexts[c])
		}
	}
	if n := classes[verify.Unknown]; n > 0 && len(parts) > 0 {
		parts = append(parts, human.Count(n)+" of which nothing is known")
	}
	return strings.Join(parts, ", ")
}
