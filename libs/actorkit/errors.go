package actorkit

import "errors"

// Sentinels. Wrapped ones carry detail; test with errors.Is.
var (
	// ErrUnknownPeer: SetPeers did not name that node.
	ErrUnknownPeer = errors.New("no such peer")
	// ErrLinkDown: the peer does not answer, or not yet. Nothing was queued.
	ErrLinkDown = errors.New("link is down")
	// ErrLinkFull: the peer takes less than is sent to it and the queue's bound is reached. Nothing was queued.
	ErrLinkFull = errors.New("link is full")
	// ErrFrameTooLarge: the frame is larger than any queue takes (12 MiB, or QueueBytes if less).
	ErrFrameTooLarge = errors.New("frame too large")
	// ErrRefused: the peer's door answered and did not take the batch.
	ErrRefused = errors.New("refused by the peer")
	// ErrSilent: the peer has sent nothing for the node's AskTimeout.
	ErrSilent = errors.New("nothing heard from the peer")
	// ErrDeaf: the node's door was stopped by somebody else, and it hears nothing any more. Without TLS between nodes whoever
	// reaches the remoting port can do that.
	ErrDeaf = errors.New("the node's door was stopped from outside")
	// ErrStopped: the node or the stream was stopped.
	ErrStopped = errors.New("stopped")
	// ErrQueueFull: more commands wait for a stream than it may hold.
	ErrQueueFull = errors.New("command queue is full")
	// ErrTermOver: this node does not hold the singleton any more.
	ErrTermOver = errors.New("term is over")
	// ErrInvalidConfig: a configuration or an argument breaks its contract.
	ErrInvalidConfig = errors.New("invalid configuration")
)
