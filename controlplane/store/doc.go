// Package store keeps the control plane's event log and views in a database.
//
//	db, err := store.OpenSQLite(ctx, "/var/lib/nixfleet-cp/cp.db", logger)
//	image, err := db.Load(ctx)      // everything to start from
//	err = db.Commit(ctx, &commit)   // one transaction, durable when it returns nil
//	err = db.Rows(ctx, 0, visit)    // the log, in order
//
// [Store] is the interface; the only implementation is [SQLite]: write-ahead log, synchronous=FULL, one writing
// connection. A Commit that fails wrote nothing. Commit belongs to one goroutine, the reducer; everything else may be
// called from any.
//
// A lock file beside the database keeps a second writer out. Opening creates the file with mode 0600 and brings its
// tables up to date; a database of a newer program is refused.
//
// Implements docs/design/07-control-plane.md. Tests run against real files: one suite for every implementation,
// a writer process killed in mid-load, and a chain checked after every kind of tampering.
package store
