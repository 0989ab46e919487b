package history

// content: the history that a new client reads is one chain without repeats, of messages that somebody sent.
func (c *checker) content() {
	chains := make(map[string]*Chain, len(c.record.Chains))
	asked := make(map[string]int, len(c.record.Chains))
	for _, chain := range c.record.Chains {
		chains[chain.Name] = chain
		for _, a := range chain.Attempts {
			asked[chain.Name] = max(asked[chain.Name], a.N)
		}
	}
	first := make(map[string]uint64, len(c.record.Content))
	var cursor uint64
	for _, e := range c.record.Content {
		if e.Prev != cursor || e.Seq <= cursor {
			c.report("S5", "history has %d, which says it follows %d, behind %d", e.Seq, e.Prev, cursor)
		}
		cursor = e.Seq
		key := e.Sender + "\x00" + e.ID
		if seq, ok := first[key]; ok {
			c.report("S3", "%q of %s is stored at %d and at %d", e.ID, e.Sender, seq, e.Seq)
		} else {
			first[key] = e.Seq
		}
		c.bySeq[e.Seq] = e
		name, n, ok := ParseID(e.ID)
		chain := chains[name]
		switch {
		case !ok || chain == nil || n < 1 || n > asked[name]:
			c.report("S2", "%q at %d was never sent", e.ID, e.Seq)
		case chain.Sender != e.Sender || chain.Content(n) != e.Content:
			c.report("S2", "%q at %d is stored as %q of %s, it was sent by %s", e.ID, e.Seq, e.Content, e.Sender, chain.Sender)
		}
	}
}

// rows: the journal has exactly what the history shows, and every later event comes from the same or a later writer.
func (c *checker) rows() {
	if c.record.Rows == nil {
		return
	}
	var seq, epoch uint64
	messages := 0
	for _, row := range c.record.Rows {
		if row.Seq <= seq {
			c.report("S2", "the journal has %d behind %d", row.Seq, seq)
		}
		if row.Epoch < epoch {
			c.report("S2", "%d was written in epoch %d, after an event of epoch %d", row.Seq, row.Epoch, epoch)
		}
		seq, epoch = row.Seq, max(epoch, row.Epoch)
		if row.Entry == nil {
			continue
		}
		messages++
		if shown := c.bySeq[row.Seq]; shown == nil || *shown != *row.Entry {
			c.report("S2", "the journal has %+v at %d, the history shows %+v", *row.Entry, row.Seq, shown)
		}
	}
	if messages != len(c.record.Content) {
		c.report("S2", "the journal has %d messages, the history shows %d", messages, len(c.record.Content))
	}
}
