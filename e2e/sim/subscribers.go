package sim

import "slices"

// subscribe starts a gateway's deliveries. The answer goes first and through the same Link, so the deliveries continue it.
func (a *activation) subscribe(in *inbound) {
	f := &frame{kind: subscribedFrame, room: a.room, conn: in.frame.conn, request: in.frame.request, epoch: a.epoch, head: a.head, last: a.last}
	if a.n.links.send(in.from, f) != nil {
		a.dropSubscriber(in.from) // the hub has heard nothing and asks again
		a.owed = without(a.owed, in.from)
		return
	}
	a.owed = without(a.owed, in.from)
	if !slices.Contains(a.subscribers, in.from) {
		a.subscribers = append(a.subscribers, in.from)
	}
}

func (a *activation) dropSubscriber(node *process) { a.subscribers = without(a.subscribers, node) }

// deliver sends what was not delivered yet to every subscribed gateway.
func (a *activation) deliver() {
	if a.told == a.last {
		return
	}
	var fresh []message
	for _, r := range a.rows[a.told:] {
		if !r.setting {
			fresh = append(fresh, message{r.seq, r.prev, r.id})
		}
	}
	a.told = a.last
	for _, node := range slices.Clone(a.subscribers) {
		if a.n.links.send(node, &frame{kind: deliverFrame, room: a.room, epoch: a.epoch, messages: fresh}) != nil {
			a.lose(node)
		}
	}
	a.settleOwed()
}

// lose ends the subscription of a node that could not be sent to. It is told as soon as that is possible.
func (a *activation) lose(node *process) {
	a.dropSubscriber(node)
	if !slices.Contains(a.owed, node) && !a.w.without.Owed {
		a.owed = append(a.owed, node)
	}
}

// dropNode: a node is gone, or frames of it are missing.
func (a *activation) dropNode(node *process) {
	if slices.Contains(a.subscribers, node) {
		a.lose(node)
	}
	a.settleOwed()
}

func (a *activation) settleOwed() {
	if len(a.owed) == 0 || a.dead != nil {
		return
	}
	for _, node := range slices.Clone(a.owed) {
		l := a.n.links.find(node)
		if l == nil || l.state == up && l.send(&frame{kind: closedFrame, room: a.room, epoch: a.epoch, owner: &a.n.process}) == nil {
			a.owed = without(a.owed, node)
		}
	}
}

// closeAll tells everybody that the subscription has ended, and where to look.
func (a *activation) closeAll(owner *process) {
	told := slices.Clone(a.owed)
	for _, node := range a.subscribers {
		if !slices.Contains(told, node) {
			told = append(told, node)
		}
	}
	for _, node := range told {
		_ = a.n.links.send(node, &frame{kind: closedFrame, room: a.room, epoch: a.epoch, owner: owner})
	}
	a.subscribers, a.owed = nil, nil
}
