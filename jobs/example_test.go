package jobs_test

import (
	"fmt"

	"github.com/pgbackfill/pgbackfill/jobs"
)

func ExampleParse() {
	list, err := jobs.Parse("users.yaml", []byte(`
name: users-display-name
table: public.users
where: t.display_name IS NULL
update:
  set:
    display_name: initcap(t.full_name)
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	job := list[0]
	fmt.Println(job.Name, "walks", job.Table.Name)
	for _, a := range job.Assignments() {
		fmt.Println(a.Column, "=", a.Value.SQL)
	}
	// Output:
	// users-display-name walks users
	// display_name = initcap(t.full_name)
}

// Everything that is wrong with a file is said at once, each with its place and a remedy.
func ExampleParse_errors() {
	_, err := jobs.Parse("users.yaml", []byte(`
name: users-display-name
table: public.users
update:
  set:
    display_name: initcap(t.full_name); DROP TABLE users
workers: many
`))
	fmt.Println(err)
	// Output:
	// users.yaml:6:39: a ; and a second statement after it; expected exactly one SQL expression
	//   → remove everything from the ; on
	// users.yaml:7:10: the text "many"; expected a whole number from 1
}
