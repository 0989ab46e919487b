// Package lite is the thinnest useful binding to SQLite's C interface, as translated to Go by modernc.org/sqlite.
//
// It exists because the journal binds ten values for each stored event: going through database/sql costs an interface
// value per parameter, a C allocation per text or blob and a result object per statement, together a third of the whole
// cost of an append. Here values go into a reused buffer and results are read in place.
//
// A Conn and its statements belong to one goroutine at a time; the caller sees to that. Nothing here starts a goroutine.
package lite
