package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	adminv1 "github.com/parley-rt/parley/libs/protocol/admin/v1"
	"github.com/parley-rt/parley/libs/protocol/ids"
)

type roomPublishCommand struct {
	roomArg
	Content   string `arg:"" help:"The message."`
	As        string `help:"Member in whose name it is posted; it need not be in the room." required:"" placeholder:"MEMBER" env:"-"`
	MessageID string `name:"message-id" help:"Id of the message: published again by the same member within two minutes it is stored once." placeholder:"ID" env:"-"`
}

// Run executes the command. It returns once the message is durable.
func (c *roomPublishCommand) Run(ctx context.Context, streams Streams) error {
	req := &adminv1.PublishRequest{RoomId: c.Room, Sender: c.As, Content: c.Content, MessageId: c.MessageID}
	if req.GetMessageId() == "" {
		req.MessageId = ids.NewMessageID()
	}
	return c.withAPI(ctx, streams, func(ctx context.Context, a admin) error {
		res, err := call(ctx, req, a.Publish)
		if err != nil {
			return err
		}
		return a.print(res, func(w io.Writer) error {
			_, err := fmt.Fprintln(w, res.GetSeq())
			return err
		})
	})
}

type roomHistoryCommand struct {
	roomArg
	Limit  int     `short:"n" help:"Print at most so many messages." default:"20" env:"-"`
	After  *uint64 `help:"Those after this seq, oldest first; 0 is from the oldest kept." placeholder:"SEQ" xor:"bound" env:"-"`
	Before *uint64 `help:"The newest before this seq." placeholder:"SEQ" xor:"bound" env:"-"`
}

// Validate refuses a limit that means nothing.
func (c *roomHistoryCommand) Validate() error {
	if c.Limit < 1 {
		return errors.New("--limit: give at least 1")
	}
	return c.roomArg.Validate()
}

const historyPage = 500

// Run executes the command. Pages are read until there are as many messages as were asked for, or no more.
func (c *roomHistoryCommand) Run(ctx context.Context, streams Streams) error {
	return c.withAPI(ctx, streams, func(ctx context.Context, a admin) error {
		var all []*adminv1.Message
		req := &adminv1.HistoryRequest{RoomId: c.Room, AfterSeq: c.After, BeforeSeq: c.Before}
		for {
			req.Limit = uint32(min(historyPage, c.Limit-len(all)))
			res, err := call(ctx, req, a.History)
			if err != nil {
				return err
			}
			page := res.GetMessages()
			if c.After != nil {
				all = append(all, page...)
			} else {
				all = append(page, all...)
			}
			if !res.GetMore() || len(page) == 0 || len(all) >= c.Limit {
				return a.printMessages(all)
			}
			if c.After != nil {
				req.AfterSeq = &page[len(page)-1].Seq
			} else {
				req.BeforeSeq = &page[0].Seq
			}
		}
	})
}

func (a admin) printMessages(messages []*adminv1.Message) error {
	for _, m := range messages {
		err := a.print(m, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "%s  #%-4d %s: %s\n", m.GetSentAt().AsTime().Local().Format(time.DateTime), m.GetSeq(),
				visible(m.GetSender()), visible(m.GetContent()))
			return err
		})
		if err != nil {
			return fmt.Errorf("print: %w", err)
		}
	}
	return nil
}
