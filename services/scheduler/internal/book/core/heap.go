package core

import (
	"container/heap"

	journalv1 "github.com/parley-rt/parley/libs/protocol/journal/v1"
)

// entry is a schedule in the state.
type entry struct {
	record *journalv1.ScheduleRecord
	weight int
	// wake is when something is to be done, index where it is in the queue; -1: nothing is.
	wake  int64
	index int
}

// queue is a heap of the entries about which something is to be done, the earliest first.
type queue []*entry

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].wake < q[j].wake }
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push implements heap.Interface.
func (q *queue) Push(x any) {
	e := x.(*entry) //nolint:forcetypeassert // container/heap gives back what it got
	e.index = len(*q)
	*q = append(*q, e)
}

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	old := *q
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	e.index = -1
	return e
}

// place puts an entry where its wake time belongs.
func (q *queue) place(e *entry, wake int64) {
	e.wake = wake
	switch {
	case wake == 0 && e.index >= 0:
		heap.Remove(q, e.index)
	case wake == 0:
	case e.index >= 0:
		heap.Fix(q, e.index)
	default:
		heap.Push(q, e)
	}
}

// due lists at most limit entries whose time has come, in no order, at a cost that follows their number.
func (q queue) due(now int64, limit int) (found []*entry, more bool) {
	var walk func(i int)
	walk = func(i int) {
		if i >= len(q) || q[i].wake > now || more {
			return
		}
		if len(found) == limit {
			more = true
			return
		}
		found = append(found, q[i])
		walk(2*i + 1)
		walk(2*i + 2)
	}
	walk(0)
	return found, more
}
