// Package gateway is the service that clients connect to: WebSockets on one side, rooms nodes of the own datacenter on
// the other.
//
//	client ──ws──► internal/ws ──► internal/member ──► internal/route ──► Link ──► rooms node
//	client ◄─────── outbox ◄─────── internal/hub ◄──────────────────────── Link ◄──┘
//
// A Service is an opskit.Component. It is given an open session store and directory and owns neither.
package gateway
