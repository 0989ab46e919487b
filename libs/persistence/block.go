package persistence

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Block keeps a member out of everything, on all its sessions, until it ends.
type Block struct {
	Member string
	// Reason is for the member and the record; By is who decided. Both may be empty.
	Reason, By string
	At         time.Time
	// Until is when it ends; zero: never.
	Until time.Time
	// Revision rises with every block of the store.
	Revision uint64
}

// MaxBlockText bounds Block.Reason and Block.By, in bytes.
const MaxBlockText = 256

// BlockStore keeps the blocks of members. All times are by the backend's clock: a block is in force until its Until is
// reached. Implementations are safe for concurrent use.
type BlockStore interface {
	// BlockMember blocks a member, or replaces its block; the block is durable and seen by every later call when it returns.
	// lasting 0: for good. ErrInvalid for a negative one, a bad member id, and texts that are too long or not UTF-8. After
	// ErrUnknown it may be repeated.
	BlockMember(ctx context.Context, member string, lasting time.Duration, reason, by string) (Block, error)

	// UnblockMember ends the member's block and says whether one was in force. After ErrUnknown it may be repeated.
	UnblockMember(ctx context.Context, member string) (bool, error)

	// BlockOf returns the block that is in force for a member; nil: none.
	BlockOf(ctx context.Context, member string) (*Block, error)

	// ListBlocks returns up to limit (1 to MaxRead) blocks in force, by member, those behind after.
	ListBlocks(ctx context.Context, after string, limit int) ([]Block, error)

	// BlocksSince returns up to limit (1 to MaxRead) blocks in force with a higher revision, the lowest first, and the store's
	// newest revision. No block of a lower revision than one that was returned comes later. A newest revision below since says
	// that the store was restored from an older copy: begin again with 0.
	BlocksSince(ctx context.Context, since uint64, limit int) (blocks []Block, newest uint64, err error)
}

// ValidateBlock is what BlockMember refuses, ErrInvalid.
func ValidateBlock(member string, lasting time.Duration, reason, by string) error {
	if err := ValidateMember(member); err != nil {
		return err
	}
	if lasting < 0 {
		return fmt.Errorf("block lasts %s: %w", lasting, ErrInvalid)
	}
	for name, text := range map[string]string{"reason": reason, "by": by} {
		if len(text) > MaxBlockText || !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
			return fmt.Errorf("%s is not UTF-8 of up to %d bytes without NUL: %w", name, MaxBlockText, ErrInvalid)
		}
	}
	return nil
}
