package memory

import (
	"bytes"
	"iter"
	"slices"

	"github.com/parley-rt/parley/libs/persistence"
)

// copyPage copies events until they are MaxReadBytes, at least one.
func copyPage(events iter.Seq[persistence.Event]) (page []persistence.Event) {
	size := 0
	for e := range events {
		if size += len(e.Payload) + len(e.Meta); size > persistence.MaxReadBytes && len(page) > 0 {
			break
		}
		page = append(page, copyEvent(e))
	}
	return page
}

func backwards(events []persistence.Event) iter.Seq[persistence.Event] {
	return func(yield func(persistence.Event) bool) {
		for _, e := range slices.Backward(events) {
			if !yield(e) {
				return
			}
		}
	}
}

func copyEvent(e persistence.Event) persistence.Event {
	e.Payload, e.Meta = bytes.Clone(e.Payload), copyMeta(e.Meta)
	return e
}

func copySnapshot(s persistence.Snapshot) persistence.Snapshot {
	s.Payload, s.Meta = bytes.Clone(s.Payload), copyMeta(s.Meta)
	return s
}

// copyMeta makes an empty meta nil, as databases do.
func copyMeta(meta []byte) []byte {
	if len(meta) == 0 {
		return nil
	}
	return bytes.Clone(meta)
}
