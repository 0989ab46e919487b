package ws

import (
	"net"
	"time"
)

// write sends frames in order with as few system calls as merging them up to 64 KiB allows.
func (o *outbox) write(frames [][]byte) error {
	if len(frames) == 1 {
		return o.writeAll(frames[0])
	}
	total := 0
	for _, f := range frames {
		total += len(f)
	}
	size := largeBuffer
	if o.s.backlog.Full() { // more writes cost less than more memory then
		size = smallBuffer
	}
	merged := o.s.buffers.get(min(total, size))
	held := int64(cap(merged.b))
	o.s.backlog.Add(held)
	defer func() {
		o.s.buffers.put(merged)
		o.s.backlog.Add(-held)
	}()
	for _, f := range frames {
		switch {
		case len(merged.b)+len(f) <= cap(merged.b):
			merged.b = append(merged.b, f...)
		case len(f) < mediumBuffer && len(f) <= cap(merged.b):
			if err := o.writeAll(merged.b); err != nil {
				return err
			}
			merged.b = append(merged.b[:0], f...)
		default: // too large to be worth a copy
			o.arm()
			first := min(len(f), largeBuffer)
			both := net.Buffers{merged.b, f[:first]}
			for {
				if _, err := both.WriteTo(o.nc); err == nil {
					break
				} else if !o.late(err) {
					return err
				}
			}
			merged.b = merged.b[:0]
			if err := o.writeAll(f[first:]); err != nil {
				return err
			}
		}
	}
	return o.writeAll(merged.b)
}

// writeAll writes in pieces that each have a deadline of their own, so that a large page gets the time its size needs.
func (o *outbox) writeAll(b []byte) error {
	for len(b) > 0 {
		o.arm()
		n, err := o.nc.Write(b[:min(len(b), largeBuffer)])
		if err != nil && !o.late(err) {
			return err
		}
		b = b[n:]
	}
	return nil
}

// arm moves the write deadline, but not for every write: a timer per write costs more than a tenth of a small one. What
// is left of the last one is always more than three quarters of WriteTimeout.
func (o *outbox) arm() {
	now := time.Now()
	o.writing.Store(now.UnixNano())
	o.s.metrics.flushers.writes.Add(1)
	if now.Sub(o.armed) < o.s.cfg.WriteTimeout/4 || o.slow.Load() {
		return
	}
	o.armed = now
	_ = o.nc.SetWriteDeadline(now.Add(o.s.cfg.WriteTimeout))
	if o.slow.Load() { // an overflow came in between: its shorter deadline holds
		_ = o.nc.SetWriteDeadline(now.Add(o.s.cfg.CloseTimeout))
	}
}
