// Package etcdtest starts private etcd servers, each a process of its own that can be killed, frozen and wiped.
//
// The server is built from the Go module in tools/etcd, so nothing has to be installed and nothing of it is linked into what
// uses this package. PARLEY_TEST_ETCD names another binary, to test with another release.
package etcdtest
