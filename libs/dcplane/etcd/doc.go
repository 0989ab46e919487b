// Package etcd keeps the node directory in etcd v3.
//
// # Layout
//
// Below a prefix, /parley/ by default, are the keys nodes/<dc>/<service>/<node> with the same JSON documents as in every
// control plane, and plane, which holds a random number: whoever finds it missing writes it, and when it is another one, the
// control plane has lost its content.
//
// Each record is attached to a lease of its own with a TTL of the directory's lease. A renewal keeps that alive and reads
// whether the record is still the registration's; it writes nothing, since etcd keeps every written revision until it is
// compacted, and a write per node and second would fill it up. Only a new state or load is a write. A node that deregisters
// leaves a tombstone, which its lease removes: so readers tell it from a node whose lease has run out.
//
// # Following
//
// A reader lists everything in one transaction and watches from the revision after it. All watches of a directory share one
// stream, which asks for progress twice a second: an answer says that nothing was missed, and is what keeps the directory
// fresh while nothing changes. When the stream breaks, is silent for a second, or the server loses its leader, the directory
// lists everything again on a new one; it never resumes a watch by itself, for after a server has lost its data the numbers
// of old and new revisions mean nothing to each other.
//
// A record that etcd removes because its lease ran out is confirmed by a new listing and then gone, except within a lease
// after an outage: leases also run out while nodes cannot reach etcd or etcd stands still, and then every node gets a whole
// lease to come back (package dcplane).
//
// # Connection
//
// The client connects in the background and for ever, to whichever endpoints answer. Every call has its own deadline and says
// at once why there is no connection. With a user and a password a token is asked for once, and again when it is refused.
package etcd
