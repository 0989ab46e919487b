// Package gather fills batches of a group commit without waiting for anything.
package gather

import (
	"runtime"
	"time"
)

// What is runnable has run when giving way took no longer than idle, and after most it is not waited for any more.
const (
	idle = 5 * time.Microsecond
	most = time.Millisecond
)

// Runnable lets what is runnable run before a batch is closed: callers that were just answered come back with their next
// request, over several goroutines. On a machine that has nothing else to do it returns at once, on a busy one a commit is
// shared by more.
func Runnable() {
	began := time.Now()
	for at := began; ; {
		runtime.Gosched()
		now := time.Now()
		if now.Sub(at) < idle || now.Sub(began) > most {
			return
		}
		at = now
	}
}
