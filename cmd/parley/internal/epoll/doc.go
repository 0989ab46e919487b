// Package epoll waits for many sockets on one thread: what the load generator and the bare hub of parley bench stand on. It exists
// on Linux only.
package epoll
