// Package codes gives the protocol's error codes, close codes and reset reasons their names on the wire and their meaning.
//
// The enums of parley.client.v1 are the source: a value added there shows up here, in Markdown and in the tests, which
// fail until its meaning is written down. On the wire codes are strings with bare names ("RATE_LIMITED", "DRAIN") and
// reset reasons are bare names in lower case ("rewound"); close codes are also numbers in the WebSocket close frame.
//
// Everything here is a pure function, safe for concurrent use.
package codes
