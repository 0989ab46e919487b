// Package nats keeps the node directory in a NATS JetStream key-value bucket.
//
// # Layout
//
// One bucket, parley_nodes, in memory, one value per key. Keys are nodes/<dc>/<service>/<node>, values JSON documents, as in
// every control plane.
//
// The bucket's time-to-live only collects garbage: JetStream announces no expiry to watchers, so liveness is decided by
// every reader from the renewals it sees (package dcplane). Since the content is rebuilt from the nodes' own renewals
// within a second, it is not worth a disk: a server that restarts empty costs nothing.
//
// # Following the bucket
//
// A reader opens a watch, which lists everything and then tells of each write. Every refresh opens a new watch and drops
// the old one once the listing is complete, so whatever a watch lost is repaired by the same code that starts one. The
// stream's creation time tells an emptied bucket from a continued one, whose numbers would otherwise look like the past.
//
// # Connection
//
// Connect makes a connection that reconnects for ever, also after authorization errors, and never buffers writes while
// disconnected: a write that arrives minutes late would be worse than a failed one. A connection passed in should be
// made the same way (MaxReconnects(-1), ReconnectBufSize(-1), IgnoreAuthErrorAbort); it is not closed.
package nats
