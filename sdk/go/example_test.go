package parley_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strings"
	"time"

	"github.com/parley-rt/parley/sdk/go"
)

// The examples run against a real server, at gateway(): see example_server_test.go. Yours may be "ws://localhost:8080", or
// several gateways of one Parley: "ws://a:8080,ws://b:8080".

// Two members talk.
func Example() {
	ctx := context.Background()
	bob, err := parley.Dial(ctx, gateway(), parley.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer bob.Close(ctx)
	heard, err := bob.Join(ctx, "lobby", parley.JoinOptions{})
	if err != nil {
		log.Fatal(err)
	}

	alice, err := parley.Dial(ctx, gateway(), parley.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer alice.Close(ctx)
	room, err := alice.Join(ctx, "lobby", parley.JoinOptions{})
	if err != nil {
		log.Fatal(err)
	}
	for _, text := range []string{"hello", "is anybody here?", "bye"} {
		if _, err := room.Publish(ctx, text, parley.PublishOptions{}); err != nil { // durable when it returns
			log.Fatal(err)
		}
	}

	for message, err := range heard.Messages(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(message.Content)
		if message.Content == "bye" {
			break
		}
	}
	// Output:
	// hello
	// is anybody here?
	// bye
}

// A reader that continues after its own restart: it keeps the session's token and the cursor of the last message that it
// dealt with, and notices where history was lost or skipped.
func ExampleRoom_Messages() {
	ctx := context.Background()
	orders := publisher(ctx, "orders")
	first := say(ctx, orders, "order 1")

	var token string                            // what the program writes down
	stored := parley.Cursor{Seq: first.Seq - 1} // the position before the first order
	work := func(last string) {
		client, err := parley.Dial(ctx, gateway(), parley.Config{
			SessionToken: token,
			OnSession:    func(s parley.Session) { token = s.Token },
		})
		if err != nil {
			log.Fatal(err)
		}
		defer client.Close(ctx)
		room, err := client.Join(ctx, "orders", parley.JoinOptions{Cursor: &stored})
		if err != nil {
			log.Fatal(err)
		}
		for message, err := range room.Messages(ctx) {
			if reset, ok := errors.AsType[*parley.ResetError](err); ok {
				log.Print("not everything can be continued: ", reset)
				continue
			} else if err != nil {
				log.Fatal(err)
			}
			fmt.Println("dealt with", message.Content)
			stored = message.Cursor()
			if message.Content == last {
				return
			}
		}
	}

	work("order 1")
	say(ctx, orders, "order 2") // while the reader is away
	say(ctx, orders, "order 3")
	work("order 3")
	// Output:
	// dealt with order 1
	// dealt with order 2
	// dealt with order 3
}

// Many publishes at once, stored in the order in which they were started.
func ExampleRoom_PublishAsync() {
	ctx := context.Background()
	room := publisher(ctx, "metrics")
	var pending []*parley.Pending
	for i := range 100 {
		p, err := room.PublishAsync(ctx, fmt.Sprint(i), parley.PublishOptions{})
		if err != nil {
			log.Fatal(err)
		}
		pending = append(pending, p)
	}
	ordered, last := true, uint64(0)
	for _, p := range pending {
		ack, err := p.Wait()
		if err != nil {
			log.Fatal(err)
		}
		ordered, last = ordered && ack.Seq > last, ack.Seq
	}
	fmt.Println(len(pending), "durable, in order:", ordered)
	// Output: 100 durable, in order: true
}

// Publishing the same id again stores nothing twice, so a program that does not know whether it has published before its
// crash just does it again, within two minutes.
func ExampleRoom_Publish() {
	ctx := context.Background()
	room := publisher(ctx, "payments")
	once, err := room.Publish(ctx, "pay 10", parley.PublishOptions{MessageID: "payment-4711"})
	if err != nil {
		log.Fatal(err)
	}
	again, err := room.Publish(ctx, "pay 10", parley.PublishOptions{MessageID: "payment-4711"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("stored once:", again.Seq == once.Seq)
	// Output: stored once: true
}

// What went wrong can be asked for by code, by sentinel, and with its data.
func ExamplePublishError() {
	ctx := context.Background()
	room := publisher(ctx, "errors")
	_, err := room.Publish(ctx, strings.Repeat("x", 1<<20), parley.PublishOptions{})
	switch failed, _ := errors.AsType[*parley.PublishError](err); {
	case errors.Is(err, parley.CodeTooLarge):
		fmt.Println("too large; may it be stored?", failed.MaybeStored)
	case errors.Is(err, parley.CodeMuted), errors.Is(err, parley.CodeBanned):
		fmt.Println("not allowed to speak")
	case errors.Is(err, parley.ErrOutcomeUnknown):
		fmt.Println("nobody knows whether it is stored")
	case errors.Is(err, context.DeadlineExceeded):
		fmt.Println("out of time; may it be stored?", failed.MaybeStored)
	default:
		fmt.Println(err)
	}
	// Output: too large; may it be stored? false
}

// Older messages are read by pages, newest first.
func ExampleRoom_History() {
	ctx := context.Background()
	room := publisher(ctx, "archive")
	for i := range 5 {
		say(ctx, room, fmt.Sprint("entry ", i+1))
	}
	var before uint64
	for {
		page, err := room.History(ctx, parley.HistoryOptions{BeforeSeq: before, Limit: 2})
		if err != nil {
			log.Fatal(err)
		}
		for _, message := range page.Messages { // ascending
			fmt.Print(message.Content, "; ")
		}
		fmt.Println("more:", page.More)
		if !page.More {
			return
		}
		before = page.Messages[0].Seq
	}
	// Output:
	// entry 4; entry 5; more: true
	// entry 2; entry 3; more: true
	// entry 1; more: false
}

// publisher joins a room with a client that lives as long as the examples.
func publisher(ctx context.Context, room string) *parley.Room {
	client, err := parley.Dial(ctx, gateway(), parley.Config{})
	if err != nil {
		panic(err)
	}
	closeLater(client)
	joined, err := client.Join(ctx, room, parley.JoinOptions{})
	if err != nil {
		panic(err)
	}
	return joined
}

func say(ctx context.Context, room *parley.Room, content string) parley.Ack {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	ack, err := room.Publish(ctx, content, parley.PublishOptions{})
	if err != nil {
		panic(err)
	}
	return ack
}
