// Package parley is the Go client of Parley: durable, ordered rooms over WebSocket.
//
//	client, err := parley.Dial(ctx, "ws://localhost:8080", parley.Config{})
//	room, err := client.Join(ctx, "lobby", parley.JoinOptions{})
//	ack, err := room.Publish(ctx, "hello", parley.PublishOptions{})
//	for message, err := range room.Messages(ctx) { … }
//
// What it promises: Publish returns without an error only when the message is durable at the returned seq, and a message
// is stored at most once however often the SDK has to send it. Messages yields a room's messages in order, none missing
// and none twice, across reconnects; where the server cannot continue the stream it yields a *ResetError first.
//
// A Client keeps one connection and replaces it by itself: it backs off, resumes its session, joins its rooms again from
// where they were, and sends again what was not answered. Only Close and a refusal for good (an invalid token, a ban, a
// session taken over by another connection) end it; Done and Err tell.
//
// A Client and its Rooms are safe for concurrent use. Callbacks (Config.OnState, Config.OnSession, JoinOptions.OnSignal,
// JoinOptions.OnMember) run on the Client's own goroutines: they must return quickly and must not call methods that wait
// for the server (Join, Publish, History, Presence, Leave, Close).
package parley
