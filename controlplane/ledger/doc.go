// Package ledger is what the control plane writes down: the rows of its event log, the hash chain over them, and the
// views that follow from them.
//
// The log is the truth. Every event of an agent and every decision of the control plane is one [Row], linked to the
// row before it, so that a row changed, dropped, swapped or put in later is found by [Verify] and named. Everything
// else in a [Commit] is a view: it carries the seq of the row that caused it and can be derived again from the rows.
//
//	head := ledger.Head{}                 // of an empty log
//	head = head.Append(&row)              // gives row its seq, the hash before it and its own
//	err := ledger.Verify(prev, &row)      // the same row, read back
//	line := row.AppendLine(nil)           // one line of an export
//
// The package computes values only and does no I/O; its values may be read from any goroutine and belong to whoever
// made them. Implements docs/design/07-control-plane.md. Tests: golden rows, every kind of tampering, export lines
// read back.
package ledger
