// Package document is the form in which node records are stored, the same in every control plane.
//
// Keys are nodes/<dc>/<service>/<node> with every part encoded (=XX for each byte outside [A-Za-z0-9_-]), so a name cannot
// leave its place whatever is in it. Values are JSON documents. The fields v, claim and incarnation mean the same in every
// version; a reader that does not know v ignores the record.
package document
