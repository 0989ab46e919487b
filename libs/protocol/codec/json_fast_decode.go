package codec

import clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"

// decodeFrequent reads a `message` or `ack` frame as clients and servers usually write it. It returns nil for everything
// else and for everything unusual (other kinds and fields, null, \u escapes, fractions, errors of any sort): protojson
// decides those. What it does return is what protojson would; a differential fuzz test holds it to that.
func decodeFrequent(frame []byte) *clientv1.Envelope {
	r := reader{in: frame}
	if !r.delim('{') {
		return nil
	}
	var env *clientv1.Envelope
	var id uint32
	seenID := false
	for {
		name, ok := r.name()
		if !ok {
			return nil
		}
		switch string(name) {
		case "id":
			if seenID || !r.uint32(&id) {
				return nil
			}
			seenID = true
		case "message":
			if env != nil {
				return nil
			}
			env = r.messageFrame()
		case "ack":
			if env != nil {
				return nil
			}
			env = r.ackFrame()
		default:
			return nil
		}
		if env == nil && !seenID {
			return nil
		}
		if r.delim(',') {
			continue
		}
		if env == nil || !r.delim('}') || !r.end() {
			return nil
		}
		env.Id = id
		return env
	}
}

// messageFrame and ackFrame make one allocation for what lives and dies together.
func (r *reader) messageFrame() *clientv1.Envelope {
	f := &struct {
		env  clientv1.Envelope
		kind clientv1.Envelope_Message
		body clientv1.Message
	}{}
	if !r.message(&f.body) {
		return nil
	}
	f.kind.Message = &f.body
	f.env.Kind = &f.kind
	return &f.env
}

func (r *reader) ackFrame() *clientv1.Envelope {
	f := &struct {
		env  clientv1.Envelope
		kind clientv1.Envelope_Ack
		body clientv1.Ack
	}{}
	if !r.ack(&f.body) {
		return nil
	}
	f.kind.Ack = &f.body
	f.env.Kind = &f.kind
	return &f.env
}

func (r *reader) message(m *clientv1.Message) bool {
	return r.object(func(name []byte) (bit uint16, ok bool) {
		switch string(name) {
		case "target":
			return 1, r.str(&m.Target)
		case "content":
			return 2, r.str(&m.Content)
		case "message_id":
			return 4, r.str(&m.MessageId)
		case "sent_at":
			return 8, r.time(&m.SentAt)
		case "traceparent":
			return 16, r.str(&m.Traceparent)
		case "tracestate":
			return 32, r.str(&m.Tracestate)
		case "sender":
			return 64, r.str(&m.Sender)
		case "seq":
			return 128, r.uint64(&m.Seq)
		case "prev_seq":
			return 256, r.uint64(&m.PrevSeq)
		default:
			return 0, false
		}
	})
}

func (r *reader) ack(m *clientv1.Ack) bool {
	return r.object(func(name []byte) (bit uint16, ok bool) {
		switch string(name) {
		case "target":
			return 1, r.str(&m.Target)
		case "message_id":
			return 2, r.str(&m.MessageId)
		case "seq":
			return 4, r.uint64(&m.Seq)
		case "duplicate":
			return 8, r.bool(&m.Duplicate)
		default:
			return 0, false
		}
	})
}
