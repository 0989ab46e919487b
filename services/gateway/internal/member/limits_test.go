package member

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
	"github.com/parley-rt/parley/libs/ratelimit"
)

// rates of a test's Limits; zero: none.
type rates struct{ messages, bytes, signals, requests, refusals, member ratelimit.Rate }

func limited(t testing.TB, r rates) Config {
	t.Helper()
	l, err := ratelimit.New(ratelimit.Config{}, nil)
	require.NoError(t, err)
	return Config{Limits: &Limits{
		Messages: l.Own("connection", ratelimit.Limit{Pieces: r.messages, Bytes: r.bytes}),
		Signals:  l.Own("signal", ratelimit.Limit{Pieces: r.signals}),
		Requests: l.Own("request", ratelimit.Limit{Pieces: r.requests}),
		Member:   l.Shared("member", ratelimit.Limit{Pieces: r.member}),
		Refusals: l.Own("refusal", ratelimit.Limit{Pieces: r.refusals}),
	}}
}

// told takes the refusals since the last look: after how long each message passes.
func (w *world) told() map[string]time.Duration {
	w.t.Helper()
	all := map[string]time.Duration{}
	for _, env := range w.replies[w.taken:] {
		if e := env.GetError(); e != nil {
			require.Equal(w.t, "RATE_LIMITED", e.GetCode(), "%v", e)
			require.True(w.t, e.GetRetryable())
			require.NotZero(w.t, e.GetRetryAfterMs())
			all[e.GetMessageId()] = time.Duration(e.GetRetryAfterMs()) * time.Millisecond
		}
	}
	w.taken = len(w.replies)
	return all
}

// answerAll stores every batch that is out.
func (w *world) answerAll() (stored []string) {
	for done := 0; ; {
		s := w.last()
		if s.frame.GetPublish() == nil || w.core.requests[s.frame.GetRequest()] == nil {
			return stored
		}
		for _, d := range s.frame.GetPublish().GetDrafts() {
			stored = append(stored, d.GetMessageId())
		}
		w.stored(s, 100)
		if done++; done > 1000 {
			w.t.Fatal("batches without end")
		}
	}
}

// What is too much is refused and told when it passes: each behind those before it. Who heeds that loses nothing, sends each once
// more, and keeps its order (S4).
func TestTooManyMessagesAreToldWhenTheyPass(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]rates{
		"connection": {messages: ratelimit.Rate{PerSecond: 20, Burst: 10}},
		"member":     {member: ratelimit.Rate{PerSecond: 20, Burst: 10}},
		"bytes":      {bytes: ratelimit.Rate{PerSecond: 20, Burst: 10}}, // a message has one
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := joined(t, limited(t, r))
			for i := range 40 {
				w.publish(fmt.Sprintf("m%02d", i))
			}
			stored := w.answerAll()
			refused := w.told()
			require.Len(t, stored, 10)
			require.Len(t, refused, 30)
			begin := w.now
			for i := 10; i < 40; i++ {
				after := refused[fmt.Sprintf("m%02d", i)]
				want := time.Duration(i-9) * 50 * time.Millisecond
				require.InDelta(t, min(want, 500*time.Millisecond), after, float64(2*time.Millisecond), "a burst ahead at most")
				if want > 500*time.Millisecond {
					continue
				}
				w.now = begin.Add(after)
				w.publish(fmt.Sprintf("m%02d", i))
				stored = append(stored, w.answerAll()...)
				require.Empty(t, w.told(), "message %d was told %s", i, after)
			}
			require.True(t, slices.IsSorted(stored), "%v", stored)
			require.Len(t, stored, 20)
			require.Zero(t, w.closed)
		})
	}
}

// S4: what comes before the first refused one may pass does not pass either, however little there is of it.
func TestNothingOvertakesWhatWasRefused(t *testing.T) {
	t.Parallel()
	w := joined(t, limited(t, rates{bytes: ratelimit.Rate{PerSecond: 100, Burst: 100}}))
	large := fmt.Sprintf("%090d", 0)
	w.client(`{"message":{"target":"a","content":%q,"message_id":"m1"}}`, large)
	w.client(`{"message":{"target":"a","content":%q,"message_id":"m2"}}`, large)
	w.client(`{"message":{"target":"a","content":"s","message_id":"m3"}}`)
	require.Equal(t, []string{"m1"}, w.answerAll())
	told := w.told()
	require.InDelta(t, 800*time.Millisecond, told["m2"], float64(2*time.Millisecond))
	require.Greater(t, told["m3"], told["m2"])
	w.now = w.now.Add(told["m2"])
	w.client(`{"message":{"target":"a","content":%q,"message_id":"m2"}}`, large)
	require.Equal(t, []string{"m2"}, w.answerAll())
}

// S4: at a high rate there is room again at once, and what the client sent before it heard of the refusal must not take it.
func TestWhatIsOnItsWayDoesNotOvertake(t *testing.T) {
	t.Parallel()
	cfg := limited(t, rates{messages: ratelimit.Rate{PerSecond: 1000, Burst: 1}})
	cfg.Limits.Hold = 500 * time.Millisecond
	w := joined(t, cfg)
	w.publish("m1")
	w.publish("m2")
	require.Equal(t, []string{"m1"}, w.answerAll())
	require.Equal(t, map[string]time.Duration{"m2": cfg.Limits.Hold}, w.told())
	begin := w.now
	w.now = begin.Add(cfg.Limits.Hold - time.Millisecond)
	w.publish("m3")
	require.Empty(t, w.answerAll())
	require.Contains(t, w.told(), "m3")
	w.now = begin.Add(cfg.Limits.Hold)
	w.publish("m2")
	require.Equal(t, []string{"m2"}, w.answerAll())
}

// The same when the room refuses: what waits here for its batch does not overtake what was in it.
func TestNothingOvertakesWhatTheRoomRefused(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]Config{"with limits here": limited(t, rates{}), "without": {}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := joined(t, cfg)
			w.publish("m1")
			w.publish("m2")
			w.publish("m3")
			require.Equal(t, "m1", drafts(w.last()))
			full := refused(clientv1.ErrorCode_ERROR_CODE_RATE_LIMITED)
			full.RetryAfterMs = 300
			w.answer(w.last(), &roomv1.Published{Outcomes: []*roomv1.Outcome{{Refused: full}}})
			require.Equal(t, map[string]time.Duration{"m1": 300 * time.Millisecond, "m2": 300 * time.Millisecond, "m3": 300 * time.Millisecond}, w.told())
			w.now = w.now.Add(299 * time.Millisecond)
			w.publish("m4")
			require.Len(t, w.told(), 1)
			w.now = w.now.Add(time.Millisecond)
			w.publish("m1")
			require.Equal(t, []string{"m1"}, w.answerAll())
			require.Zero(t, w.window)
		})
	}
}

// Who goes on without heeding is closed with 4505, and not for what was on its way when it was told.
func TestWhoDoesNotHeedIsClosed(t *testing.T) {
	t.Parallel()
	w := joined(t, limited(t, rates{messages: ratelimit.Rate{PerSecond: 1, Burst: 1}, refusals: ratelimit.Rate{PerSecond: 1, Burst: 50}}))
	for i := range 1 + forgiveness + 50 { // the first passes
		require.Zero(t, w.closed, "message %d", i)
		w.publish(fmt.Sprint("m", i))
		w.answerAll()
	}
	require.Zero(t, w.closed)
	w.publish("one more")
	require.Equal(t, clientv1.CloseCode_CLOSE_CODE_ABUSE, w.closed)
	require.Zero(t, w.window)
}

// Who has more than its rate for a long time, as sdk/go sends it: 64 at once, those that are refused again when they pass, and so on.
func TestWhoHeedsIsNeverClosed(t *testing.T) {
	t.Parallel()
	w := joined(t, limited(t, rates{messages: ratelimit.Rate{PerSecond: 100, Burst: 100}, refusals: ratelimit.Rate{PerSecond: 1, Burst: 50}}))
	begin, sent := w.now, 0
	for range 100 {
		var window []string
		for range 64 {
			window = append(window, fmt.Sprintf("m%05d", sent))
			sent++
		}
		for _, id := range window {
			w.publish(id)
		}
		w.answerAll()
		told := w.told()
		at := w.now
		for _, id := range window {
			if after, refused := told[id]; refused {
				w.now = at.Add(after)
				w.publish(id)
				require.Equal(t, []string{id}, w.answerAll())
			}
		}
		require.Zero(t, w.closed, "after %d messages", sent)
	}
	require.InDelta(t, sent-100, w.now.Sub(begin).Seconds()*100, 2, "at its rate")
}

func TestSignalsAndRequestsAreLimited(t *testing.T) {
	t.Parallel()
	w := joined(t, limited(t, rates{signals: ratelimit.Rate{PerSecond: 10, Burst: 2}, requests: ratelimit.Rate{PerSecond: 10, Burst: 4}}))
	for range 2 {
		w.client(`{"signal":{"target":"a","type":"typing"}}`)
	}
	require.Empty(t, w.told())
	w.client(`{"id":9,"signal":{"target":"a","type":"typing"}}`)
	e := w.expectError("RATE_LIMITED", "a", "")
	require.Equal(t, uint32(100), e.GetRetryAfterMs())
	w.now = w.now.Add(100 * time.Millisecond)
	w.client(`{"signal":{"target":"a","type":"typing"}}`)
	require.Empty(t, w.told())

	// Joining took one, and 100 ms gave it back.
	for range 2 {
		w.client(`{"join_room":{"room_id":"a"}}`) // joined already: it is answered at once
		w.taken = len(w.replies)
	}
	w.client(`{"history":{"room_id":"a"}}`)
	w.client(`{"presence":{"room_id":"a"}}`)
	require.Empty(t, w.told())
	w.client(`{"id":4,"join_room":{"room_id":"b"}}`)
	w.expectError("RATE_LIMITED", "b", "")
	w.client(`{"presence":{"room_id":"a"}}`)
	w.expectError("RATE_LIMITED", "a", "")
	w.client(`{"leave_room":{"room_id":"a"}}`)
	require.NotNil(t, w.last().frame.GetLeave(), "leaving is never too much")
	w.publish("m")
	require.Empty(t, w.told())
}

// The rooms of a session are joined whatever the limit: a resume is not to fail for it.
func TestResumingIsNotLimited(t *testing.T) {
	t.Parallel()
	w := newWorld(t, limited(t, rates{requests: ratelimit.Rate{PerSecond: 1, Burst: 1}}))
	w.core.Silence(w.now)
	w.opened("a", "b", "c")
	joins := 0
	for _, s := range w.sent {
		if s.frame.GetJoin() != nil {
			joins++
		}
	}
	require.Equal(t, 3, joins)
	require.Empty(t, w.told())
}

// Nothing that a client may send is answered without an end: neither what never is any good, nor what costs nothing by itself.
func TestFloodsOfAnyKindEnd(t *testing.T) {
	t.Parallel()
	for name, frame := range map[string]string{
		"nonsense":                   `{`,
		"unknown kinds":              `{"fly":{}}`,
		"kinds of the server":        `{"pong":{}}`,
		"late hellos":                `{"hello":{}}`,
		"rooms that are none":        `{"leave_room":{"room_id":"/"}}`,
		"unusable arguments":         `{"history":{"room_id":"a","before_seq":"0"}}`,
		"messages to other rooms":    `{"message":{"target":"b","content":"x"}}`,
		"signals to other rooms":     `{"signal":{"target":"b"}}`,
		"pages of other rooms":       `{"history":{"room_id":"b"}}`,
		"leaves of other rooms":      `{"leave_room":{"room_id":"b"}}`,
		"pings":                      `{"ping":{}}`,
		"new tokens, with none used": `{"renew":{"token":"jwt"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := joined(t, limited(t, rates{
				requests: ratelimit.Rate{PerSecond: 20, Burst: 20}, refusals: ratelimit.Rate{PerSecond: 10, Burst: 50},
			}))
			for range 20 {
				w.client("%s", frame)
			}
			require.Zero(t, w.closed, "a few are no harm")
			for range 80 {
				if w.closed == 0 {
					w.client("%s", frame)
				}
			}
			require.Equal(t, clientv1.CloseCode_CLOSE_CODE_ABUSE, w.closed)
		})
	}
}
