package chaostest

import (
	"fmt"
	"strings"
	"time"

	"github.com/parley-rt/parley/libs/persistence"
)

// keptAnswers is how many of a stream's are kept.
const keptAnswers = 10

// answer is what a writer was told.
type answer struct {
	at   time.Time
	who  uint64 // the number of the activation
	node string
	what string
	err  error
}

// told notes what a writer was told.
func (w *witness) told(a *activation, what string, err error) {
	t := w.stream(a.key)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.latest = append(t.latest[max(0, len(t.latest)-keptAnswers+1):], answer{time.Now(), a.number, a.node.name, what, err})
}

func (w *witness) latest(key persistence.StreamKey) string {
	t := w.stream(key)
	t.mu.Lock()
	defer t.mu.Unlock()
	var text strings.Builder
	for _, a := range t.latest {
		fmt.Fprintf(&text, "\n%s %s of activation %d on %s: %v", a.at.Format("05.000"), a.what, a.who, a.node, a.err)
	}
	return text.String()
}
