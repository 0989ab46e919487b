package parley_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/parley-rt/parley/sdk/go"
)

// A bot that answers.
func Example() {
	ctx := context.Background()
	client, err := parley.Dial(ctx, "ws://localhost:8080", parley.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close(ctx)
	room, err := client.Join(ctx, "lobby", parley.JoinOptions{})
	if err != nil {
		log.Fatal(err)
	}
	for message, err := range room.Messages(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		if message.Content == "ping" {
			if _, err := room.Publish(ctx, "pong, "+message.Sender, parley.PublishOptions{}); err != nil {
				log.Print(err)
			}
		}
	}
}

// A reader that continues after its own restart, and notices where history was lost or skipped.
func ExampleRoom_Messages() {
	ctx := context.Background()
	var stored parley.Cursor // what the program wrote down last time
	client, err := parley.Dial(ctx, "ws://localhost:8080", parley.Config{})
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
		fmt.Println(message.Seq, message.Content)
		stored = message.Cursor()
	}
}

// Many publishes at once, in order.
func ExampleRoom_PublishAsync() {
	ctx := context.Background()
	client, err := parley.Dial(ctx, "ws://localhost:8080", parley.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close(ctx)
	room, err := client.Join(ctx, "metrics", parley.JoinOptions{})
	if err != nil {
		log.Fatal(err)
	}
	var pending []*parley.Pending
	for i := range 100 {
		p, err := room.PublishAsync(ctx, fmt.Sprint(i), parley.PublishOptions{})
		if err != nil {
			log.Fatal(err)
		}
		pending = append(pending, p)
	}
	for _, p := range pending {
		if _, err := p.Wait(); err != nil {
			log.Print(err)
		}
	}
}
