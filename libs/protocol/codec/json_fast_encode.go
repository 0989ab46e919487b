package codec

import (
	"strconv"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/timestamppb"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
)

// appendFrequent writes the frequent kinds. false: another kind, or something protojson would refuse; dst is to be used
// as it was.
func appendFrequent(dst []byte, env *clientv1.Envelope) ([]byte, bool) {
	w := writer{out: dst, ok: true}
	switch k := env.GetKind().(type) {
	case *clientv1.Envelope_Message:
		if k == nil {
			return dst, false
		}
		w.open(env.GetId(), `"message":{`)
		w.message(k.Message)
	case *clientv1.Envelope_Ack:
		if k == nil {
			return dst, false
		}
		w.open(env.GetId(), `"ack":{`)
		w.str(`"target":`, k.Ack.GetTarget())
		w.str(`"message_id":`, k.Ack.GetMessageId())
		w.uint64(`"seq":`, k.Ack.GetSeq())
		w.bool(`"duplicate":`, k.Ack.GetDuplicate())
	case *clientv1.Envelope_Signal:
		if k == nil {
			return dst, false
		}
		w.open(env.GetId(), `"signal":{`)
		w.str(`"target":`, k.Signal.GetTarget())
		w.str(`"type":`, k.Signal.GetType())
		w.str(`"content":`, k.Signal.GetContent())
		w.str(`"sender":`, k.Signal.GetSender())
	case *clientv1.Envelope_HistoryPage:
		if k == nil {
			return dst, false
		}
		w.open(env.GetId(), `"history_page":{`)
		w.str(`"room_id":`, k.HistoryPage.GetRoomId())
		w.messages(k.HistoryPage.GetMessages())
		w.bool(`"more":`, k.HistoryPage.GetMore())
	default:
		return dst, false
	}
	if !w.ok {
		return dst, false
	}
	return append(w.out, '}', '}'), true
}

// writer appends the fields of one object after the other. Names come with quotes and colon; defaults are left out.
type writer struct {
	out  []byte
	some bool // the object has a field already
	ok   bool
}

func (w *writer) open(id uint32, kind string) {
	w.out = append(w.out, '{')
	if id != 0 {
		w.out = append(w.out, `"id":`...)
		w.out = strconv.AppendUint(w.out, uint64(id), 10)
		w.out = append(w.out, ',')
	}
	w.out = append(w.out, kind...)
}

func (w *writer) message(m *clientv1.Message) {
	w.str(`"target":`, m.GetTarget())
	w.str(`"content":`, m.GetContent())
	w.str(`"message_id":`, m.GetMessageId())
	w.time(`"sent_at":`, m.GetSentAt())
	w.str(`"traceparent":`, m.GetTraceparent())
	w.str(`"tracestate":`, m.GetTracestate())
	w.str(`"sender":`, m.GetSender())
	w.uint64(`"seq":`, m.GetSeq())
	w.uint64(`"prev_seq":`, m.GetPrevSeq())
}

func (w *writer) messages(ms []*clientv1.Message) {
	if len(ms) == 0 {
		return
	}
	w.name(`"messages":`)
	for i, m := range ms {
		c := byte(',')
		if i == 0 {
			c = '['
		}
		w.out = append(w.out, c, '{')
		w.some = false
		w.message(m)
		w.out = append(w.out, '}')
	}
	w.out = append(w.out, ']')
	w.some = true
}

func (w *writer) name(name string) {
	if w.some {
		w.out = append(w.out, ',')
	}
	w.some = true
	w.out = append(w.out, name...)
}

func (w *writer) bool(name string, v bool) {
	if v {
		w.name(name)
		w.out = append(w.out, "true"...)
	}
}

func (w *writer) uint64(name string, v uint64) {
	if v != 0 {
		w.name(name)
		w.out = append(w.out, '"')
		w.out = strconv.AppendUint(w.out, v, 10)
		w.out = append(w.out, '"')
	}
}

func (w *writer) str(name, v string) {
	if v == "" {
		return
	}
	w.name(name)
	w.out = append(w.out, '"')
	from := 0
	for i := 0; i < len(v); {
		c := v[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(v[i:])
			if r == utf8.RuneError && n == 1 {
				w.ok = false
				return
			}
			i += n
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		w.out = append(w.out, v[from:i]...)
		w.escape(c)
		i++
		from = i
	}
	w.out = append(w.out, v[from:]...)
	w.out = append(w.out, '"')
}

func (w *writer) escape(c byte) {
	const hex = "0123456789abcdef"
	switch c {
	case '"', '\\':
		w.out = append(w.out, '\\', c)
	case '\b':
		w.out = append(w.out, `\b`...)
	case '\f':
		w.out = append(w.out, `\f`...)
	case '\n':
		w.out = append(w.out, `\n`...)
	case '\r':
		w.out = append(w.out, `\r`...)
	case '\t':
		w.out = append(w.out, `\t`...)
	default:
		w.out = append(w.out, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
	}
}

// Seconds of 0001-01-01 and of the end of 9999, the range of a Timestamp.
const (
	minSeconds = -62135596800
	maxSeconds = 253402300799
)

// time writes RFC 3339 in UTC with 0, 3, 6 or 9 digits of fraction.
func (w *writer) time(name string, ts *timestamppb.Timestamp) {
	if ts == nil {
		return
	}
	sec, ns := ts.GetSeconds(), ts.GetNanos()
	if sec < minSeconds || sec > maxSeconds || ns < 0 || ns >= 1e9 {
		w.ok = false
		return
	}
	w.name(name)
	w.out = append(w.out, '"')
	w.out = time.Unix(sec, 0).UTC().AppendFormat(w.out, "2006-01-02T15:04:05")
	if ns != 0 {
		digits, v := 9, int64(ns)
		for v%1000 == 0 {
			digits, v = digits-3, v/1000
		}
		w.out = append(w.out, ".000000000"[:1+digits]...)
		for i := len(w.out) - 1; v > 0; i, v = i-1, v/10 {
			w.out[i] = byte('0' + v%10)
		}
	}
	w.out = append(w.out, 'Z', '"')
}
