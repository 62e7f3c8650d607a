package checkpoint

import (
	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// Statements lists every statement that a run sends through a store, as it is sent, for plan to
// print. Those of [Install] are in [InstallStatements] and [SQL].
func Statements() []backfill.PlannedStatement {
	var list []backfill.PlannedStatement
	add := func(name, when, sql string) {
		list = append(list, backfill.PlannedStatement{Name: name, When: when, SQL: sql})
	}
	add("store: begin", "before each of the store's transactions", pgsql.Begin.SQL)
	add("store: settings", "at the beginning of each of the store's transactions", settings.SQL)
	add("store: settings with commit", "at the beginning of each heartbeat and of the finish", beatSettings.SQL)
	add("store: commit", "after each of the store's transactions", pgsql.Commit.SQL)
	add("store: rollback", "where one of them failed", pgsql.Rollback.SQL)
	add("store: schema", "at the start", readPresent)
	add("store: migrations", "at the start", readMigrations)
	add("store: find run", "at the start", readUnfinished)
	add("store: run that is at work", "on pause, resume, set and cancel", readSteered)
	add("store: runs", "on cancel, which leaves an undo alone", readRuns)
	add("store: newest run", "at the start", readNewest)
	add("store: processes", "with each reading of a run", readProcesses)
	add("store: new run", "at the start of a new run", insertRun)
	add("store: other runs", "at the start of a new run", newestOther)
	add("store: undoing", "at the start of a new run", countUndoing)
	add("store: new segment", "once a segment that is planned", insertSegment)
	add("store: event", "when something happens to the run", insertEvent)
	add("store: heartbeat", "once a second", beat)
	add("store: lock run", "before each change of the run", lockRun)
	add("store: other processes", "before the run becomes paused", otherLive)
	add("store: state", "when the run's state changes", updateState)
	add("store: desired", "when the run pauses by itself, and on pause, resume and cancel", updateDesired)
	add("store: overrides", "on set", updateOverrides)
	add("store: segments", "at the start of a pass, after a lost connection and at the end", listSegments)
	add("store: identity", "with each reading of the segments", readIdentity)
	add("store: mark", "when a worker takes a segment, and after a refused chunk or a lost connection", readMark)
	add("store: ledger", "each chunk, and each split", appendChunk)
	add("store: quarantine turn", "where a row cannot be changed, in the transaction that sets it aside", quarantineTurn)
	add("store: quarantine", "where a row cannot be changed, in the transaction that sets it aside", quarantineRow)
	add("store: quarantined", "at the start and the end, and where a row cannot be changed", countQuarantined)
	add("store: quarantined rows", "in retry-quarantined", readQuarantined)
	add("store: takes work", "in each transaction of retry-quarantined", takesWork)
	add("store: resolve", "in each transaction of retry-quarantined", resolveQuarantined)
	add("store: failed again", "in retry-quarantined, where a row still cannot be changed", failQuarantined)
	add("store: children", "each split", insertChildren)
	add("store: open segments", "at the end of a pass, and on cancel", openSegments)
	add("store: last segment", "at the end of a pass", lastSegment)
	add("store: cuts", "before the closing sweep", readCuts)
	add("store: pass", "at the end of a pass", updatePass)
	add("store: broken chain", "once, before the run is finished", brokenChain)
	add("store: finished", "once", updateFinished)
	add("store: task", "in the transaction of prepare, of each helper and of finish, and before what is sent alone", beginTask)
	add("store: task recorded", "before what is sent alone", readTask)
	add("store: task done", "at the end of the transaction of prepare, of each helper and of finish, and after what is sent alone", taskDone)
	add("store: planned", "once, after prepare and helpers", updatePlanned)
	add("store: older helpers", "at the start of a new run of a job with helpers", olderHelpers)
	add("store: drop helper", "for each of them", "DROP TABLE IF EXISTS "+pgsql.Ident("pgbackfill", pgsql.HelperTable("<run>", "<name>")))
	add("store: helper dropped", "for each of them", helperDropped)
	add("store: fences", "on cancel", fenceOpen)
	add("store: holders", "where cancel waits too long", holders)
	add("store: cancelled", "on cancel", updateCancelled)
	add("store: captures", "with undo: capture, before the first chunk and when the run is over", readCaptures)
	add("store: any chunk", "with undo: capture, before the first chunk", anyChunk)
	add("store: capture", "with undo: capture, once a table whose rows are kept", insertCapture)
	add("store: released", "with undo: capture, when the run is over", removeCaptures)
	add("store: leave", "when a process ends", leave)
	return list
}

// UndoStatements lists what an undo sends through a store besides [Statements]; tables are what the run kept, none
// where it is taken back by assignments.
func UndoStatements(tables []pgsql.Capture) []backfill.PlannedStatement {
	var list []backfill.PlannedStatement
	add := func(name, when, sql string) {
		list = append(list, backfill.PlannedStatement{Name: name, When: when, SQL: sql})
	}
	add("store: undo begun", "in the transaction that closes the run's segments", insertUndo)
	add("store: undo ended", "when all is taken back", endUndo)
	add("store: undone", "when all is taken back", updateUndone)
	add("store: how", "before the run is undone", readUndo)
	add("store: undo low", "before the run is undone", readUndoLow)
	if len(tables) == 0 {
		add("store: covered", "before it is planned: which keys the run came to", coveredRanges)
		return list
	}
	add("store: all kept", "in the transaction that closes the run's segments", pgsql.GreatestKept(tables).SQL)
	add("store: more kept", "before the run is undone", pgsql.AnyKept(tables, 0).SQL)
	add("store: replaced", "with the mark: whether the tables are those whose rows were kept", readReplaced)
	add("store: undo mark", "at the start, and after a refused chunk or a lost connection", readUndoMark)
	add("store: undo ledger", "each chunk", appendUndo)
	add("store: left", "at the end, where rows are left", readLeft)
	add("store: count left", "at the end, where rows are left", countLeft)
	return list
}

// InstallStatements lists what [Install] sends besides what [SQL] writes, for plan to print: a run
// first makes sure that the schema is there.
func InstallStatements() []backfill.PlannedStatement {
	var list []backfill.PlannedStatement
	add := func(name, when, sql string) {
		list = append(list, backfill.PlannedStatement{Name: name, When: when, SQL: sql})
	}
	add("schema: patience", "before a run is made", patience.SQL)
	add("schema: one installer at a time", "before a run is made", installLock)
	add("schema: may it be created", "where it is missing", mayCreate)
	add("schema: server version", "where it is missing or older", serverVersion)
	add("schema: publications", "where it is missing or older", publications)
	add("schema: publications of the schema", "where it is missing or older, from PostgreSQL 15", schemaPublications)
	return list
}
