package jobs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/pgbackfill/pgbackfill/backfill"
)

// ReadFile reads the jobs of a file. Errors in the file are [Errors].
//
// Whoever wrote the file is not trusted with others: a symbolic link that leads out of the directory that it stands in, what is no
// ordinary file, and more than [MaxSize] bytes are an error, which says nothing of what is in there.
func ReadFile(path string) ([]backfill.Job, error) {
	src, err := readOwn(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, src)
}

// Parse reads the jobs in src, in order: one for each YAML document. filename is for
// messages only. All errors are given at once, as [Errors] in the order of the file; of more than
// a hundred, as many as were found when there were enough. More than [MaxSize] bytes are an error.
func Parse(filename string, src []byte) ([]backfill.Job, error) { return parse(filename, src, false) }

// parse is Parse; with everything also of what this version does not carry out.
func parse(filename string, src []byte, everything bool) ([]backfill.Job, error) {
	src = bytes.TrimPrefix(src, []byte("\xef\xbb\xbf"))
	if len(src) > MaxSize {
		return nil, tooLarge(filename)
	}
	r := &reader{name: filename, source: newSource(src), everything: everything}
	if !r.readable(src) {
		return nil, r.err()
	}
	jobs := r.until(src)
	if err := r.err(); err != nil {
		return nil, err
	}
	return jobs, nil
}

// readable refuses what is no text at all.
func (r *reader) readable(src []byte) bool {
	for i := 0; i < len(src); {
		c, size := utf8.DecodeRune(src[i:])
		if c == utf8.RuneError && size == 1 {
			// The runes before it are those of the source, which has one for each bad byte.
			r.refuse(r.source.place(utf8.RuneCount(src[:i])), "a byte that is not UTF-8", "a text file in UTF-8", "save the file as UTF-8")
			return false
		}
		// What YAML calls a control character; its own message does not say where.
		if unicode.IsControl(c) && c != '\t' && c != '\n' && c != '\r' && c != '\u0085' {
			r.refuse(r.source.place(utf8.RuneCount(src[:i])), fmt.Sprintf("the control character %U", c), "text", "remove it")
			return false
		}
		i += size
	}
	return true
}

// documents reads each YAML document as a job.
func (r *reader) documents(src []byte) []backfill.Job {
	var jobs []backfill.Job
	first := map[string]int{}
	dec := yaml.NewDecoder(bytes.NewReader(src))
	for number := 1; ; number++ {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			if number == 1 {
				r.refuse(place{1, 1}, "no job", "at least one YAML document with a job", "`pgbackfill init TABLE` writes a first one")
			}
			return jobs
		}
		if err != nil {
			r.syntax(err)
			return nil
		}
		if number > mostJobs {
			r.refuse(placeOf(&doc), fmt.Sprintf("more than %d jobs", mostJobs), "fewer", "put them into files of their own")
			return nil
		}
		root := doc.Content[0]
		if root.Tag == "!!null" && root.Value == "" {
			r.refuse(r.within(placeOf(&doc)), "an empty document", "a job in each document", "remove the --- that begins it")
			continue
		}
		if !r.simple(root) {
			continue
		}
		var f file
		if root.Kind == yaml.MappingNode {
			f.take(root)
		}
		r.mapping(root, reflect.ValueOf(&f).Elem(), "")
		job := r.job(f)
		job.Origin = r.name
		if number > 1 {
			job.Origin = fmt.Sprintf("%s#%d", r.name, number)
		}
		if line, twice := first[job.Name]; twice && job.Name != "" {
			r.refuse(placeOf(f.Name.node), fmt.Sprintf("the name %q again", job.Name), "a name of its own for each job", fmt.Sprintf("line %d has it already", line))
		} else if f.Name.given() {
			first[job.Name] = f.Name.node.Line
		}
		jobs = append(jobs, job)
	}
}

// within moves a place into the file.
func (r *reader) within(p place) place {
	p.line = min(max(p.line, 1), len(r.source.starts))
	return place{p.line, min(max(p.column, 1), utf8.RuneCountInString(r.source.line(p.line))+1)}
}
