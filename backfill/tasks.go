package backfill

import (
	"context"
	"fmt"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// TaskPart is which part of a job a task comes from.
type TaskPart string

// The parts of a job that are done once: prepare and then the helpers before the first chunk, finish after the last.
const (
	PartPrepare TaskPart = "prepare"
	PartHelper  TaskPart = "helper"
	PartFinish  TaskPart = "finish"
)

// Task is one thing that a run does once: a script that is one transaction, a statement that is sent alone, or the
// building of a helper.
type Task struct {
	Part TaskPart `json:"part"`
	// No counts the tasks of a part from 1.
	No int `json:"no"`
	// Relation is the helper's table, in the schema pgbackfill; "" for others.
	Relation string `json:"relation,omitempty"`
	// Found is, for a statement that builds an index alone, the OID of the index of that name that was there before; 0 is none.
	Found uint32 `json:"found,omitempty"`
}

// Tasks is the record of what a run does once. It is needed where a job has prepare, helpers or finish.
type Tasks interface {
	// Begin records a task. Where it is the first statement of the transaction that does the task, the record's
	// primary key is the fence: it waits for another process that is at it, answers with a row where the task
	// is ours to do, and with none where it is recorded already.
	Begin(t Task) pgsql.Statement
	// Done says that the task is done. It answers with no row where the run is over: then nothing may be committed.
	Done(t Task) pgsql.Statement
	// Recorded asks for what is recorded of a task: a row with Found and whether it is done, or no row.
	Recorded(t Task) pgsql.Statement
	// Planned records the segments of a plan that was made again when the tasks before the first chunk were done.
	// It returns false where another process has done so: the plan then walks as that one recorded.
	Planned(ctx context.Context, plan *Plan) (bool, error)
	// Complete proves what [Control.Finish] proves, and ends nothing. It returns false where the run is not in that pass.
	Complete(ctx context.Context, pass Pass) (bool, error)
}

// task is a task with what is sent for it.
type task struct {
	Task
	// name is for people: "prepare", "helper dupes", "finish, statement 2".
	name string
	// line is its place in the job file; 0 is unknown.
	line       int
	statements []pgsql.Statement
	// alone is set where its one statement cannot be in a transaction, and index where that builds one.
	alone bool
	index *pgsql.IndexBuild
}

// tasks are those of a part, in order.
func (s statements) tasks(p *Plan, part TaskPart) ([]task, error) {
	switch part {
	case PartHelper:
		return s.helperTasks(p)
	case PartPrepare:
		return s.scriptTasks(part, p.Job.Prepare)
	}
	return s.scriptTasks(part, p.Job.Finish)
}

func (s statements) helperTasks(p *Plan) ([]task, error) {
	var list []task
	for i, h := range p.Job.Helpers {
		table := p.helperTable(h.Name)
		made, err := s.scope.Helper(h.Name, table, h.Query.SQL, h.Key)
		if err != nil {
			return nil, Inputf(p.Job.at(h.Query.Line), "write a SELECT", "helper %s: %v", h.Name, err)
		}
		list = append(list, task{Task: Task{Part: PartHelper, No: i + 1, Relation: table}, name: "helper " + h.Name, line: h.Query.Line, statements: made})
	}
	return list, nil
}

func (s statements) scriptTasks(part TaskPart, script *Script) ([]task, error) {
	if script == nil {
		return nil, nil
	}
	one := task{Task: Task{Part: part, No: 1}, name: string(part)}
	var list []task
	for i, e := range script.Statements {
		st, err := s.scope.Once(fmt.Sprintf("%s, statement %d", part, i+1), e.SQL)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", part, err)
		}
		if !script.Alone {
			if i == 0 {
				one.line = e.Line
			}
			one.statements = append(one.statements, st)
			continue
		}
		t := task{Task: Task{Part: part, No: i + 1}, name: st.Name, line: e.Line, statements: []pgsql.Statement{st}, alone: true}
		if build, ok := pgsql.ConcurrentIndex(e.SQL); ok {
			t.index = &build
		}
		list = append(list, t)
	}
	if len(one.statements) > 0 {
		list = append(list, one)
	}
	return list, nil
}

// helperTable is the table of a helper, without its schema.
func (p *Plan) helperTable(name string) string {
	run := "<run>"
	if p.run != 0 {
		run = fmt.Sprint(int64(p.run))
	}
	return pgsql.HelperTable(run, name)
}

// helperTables are what {{helper x}} stands for.
func (p *Plan) helperTables() map[string]string {
	if p.helpers != nil {
		return p.helpers
	}
	tables := map[string]string{}
	for _, h := range p.Job.Helpers {
		tables[h.Name] = pgsql.Ident("pgbackfill", p.helperTable(h.Name))
	}
	return tables
}

// at is a place in the job file.
func (j Job) at(line int) string {
	switch {
	case j.Origin == "":
		return "job " + j.Name
	case line == 0:
		return j.Origin
	}
	return fmt.Sprintf("%s:%d", j.Origin, line)
}

// taskSettings are those of the transactions of tasks: the job's, and no bound on how long a statement may take. It
// may be hours, while locks are waited for no longer than a chunk would, and then again.
func (s statements) taskSettings(p Pace) []pgsql.Setting {
	limits := pgsql.Limits{Lock: p.LockTimeout, Idle: p.IdleTimeout}.Settings()
	return append(append(append([]pgsql.Setting{}, s.pins...), limits...),
		pgsql.Setting{Name: "statement_timeout", Value: "0"}, pgsql.Setting{Name: "application_name", Value: applicationName(s.job, 0)})
}

// aloneSettings are those of the session that sends a statement alone. What is done concurrently waits for the end of
// other transactions, and nobody queues behind it: so it is not bounded.
func (s statements) aloneSettings(t task, p Pace) pgsql.Statement {
	settings := s.taskSettings(p)
	if pgsql.OutsideOnly(t.statements[0].SQL) {
		settings = append(settings, pgsql.Setting{Name: "lock_timeout", Value: "0"})
	}
	return pgsql.Set(settings...)
}

// plannedTasks adds the statements of a part to those that plan prints.
func (s statements) plannedTasks(p *Plan, part TaskPart, add func(string, ...pgsql.Statement)) error {
	list, err := s.tasks(p, part)
	if err != nil {
		return err
	}
	when := "once, before the first chunk"
	if part == PartFinish {
		when = "once, after the last chunk"
	}
	for i, t := range list {
		if !t.alone {
			add("in the transaction of "+t.name, pgsql.SetLocal(s.taskSettings(p.Pace)...))
			add(when+"; the statements of "+t.name+" and the record of it are one transaction", t.statements...)
			continue
		}
		if i == 0 {
			add("so that one process at a time sends the statements of "+string(part), pgsql.SetLocal(s.holderSettings(p.Pace)...), pgsql.TryAlone(int64(p.run), string(part)), pgsql.LetGo)
		}
		add("in the session that sends "+t.name, s.aloneSettings(t, p.Pace))
		add("in the transactions that record it", pgsql.SetLocal(s.taskSettings(p.Pace)...))
		if t.index != nil {
			add("before and after it: whether its index is there", t.index.Look())
			add("where an interrupted build left an invalid index", pgsql.DropIndex(pgsql.Ident(t.index.Index)))
		}
		add(when+", alone, outside of a transaction", t.statements...)
	}
	return nil
}

// holderSettings are those of the transaction that holds the lock of a script.
func (s statements) holderSettings(p Pace) []pgsql.Setting {
	return []pgsql.Setting{
		{Name: "idle_in_transaction_session_timeout", Value: "0"},
		{Name: "application_name", Value: applicationName(s.job, 0)},
	}
}

type (
	// TaskStarted says that the run begins something that it does once.
	TaskStarted struct {
		Task Task
		// Name is for people: "prepare", "helper dupes".
		Name string
	}
	// TaskDone says that it is done, and recorded.
	TaskDone struct {
		Task Task
		Name string
		Took time.Duration
	}
	// Replanned says that the plan was made again after the tasks before the first chunk, and is what is run.
	Replanned struct {
		Segments      int
		EstimatedRows int64
		Findings      []Finding
	}
)

func (TaskStarted) event() {}
func (TaskDone) event()    {}
func (Replanned) event()   {}
