package bench

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// Progress is told which turn begins, and how long it lasts at least.
type Progress interface {
	Begin(what string, s Scenario)
	End()
}

// NewProgress draws a bar for all turns on a terminal, and prints a line for each elsewhere.
func NewProgress(w io.Writer, turns int) Progress {
	if f, ok := w.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			return &bar{bar: progressbar.NewOptions(turns, progressbar.OptionSetWriter(w), progressbar.OptionSetDescription("starting"),
				progressbar.OptionShowCount(), progressbar.OptionClearOnFinish(), progressbar.OptionSetElapsedTime(true))}
		}
	}
	return lines{w}
}

type lines struct{ w io.Writer }

func (l lines) Begin(what string, _ Scenario) { _, _ = fmt.Fprintln(l.w, what) }
func (lines) End()                            {}

// bar moves with every turn, and its clock every second.
type bar struct {
	bar   *progressbar.ProgressBar
	begun bool
	stop  chan struct{}
	ended sync.WaitGroup
}

func (b *bar) Begin(what string, _ Scenario) {
	b.rest()
	if b.begun {
		_ = b.bar.Add(1)
	}
	b.begun = true
	b.bar.Describe(what)
	b.stop = make(chan struct{})
	b.ended.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_ = b.bar.RenderBlank()
			case <-b.stop:
				return
			}
		}
	})
}

func (b *bar) rest() {
	if b.stop != nil {
		close(b.stop)
		b.ended.Wait()
		b.stop = nil
	}
}

func (b *bar) End() {
	b.rest()
	_ = b.bar.Finish()
}
