package history

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// room is a small correct record: two producers, three messages, a reader that comes and goes, one that starts later.
func room() *Record {
	one, two := &Chain{Name: "one", Sender: "m1"}, &Chain{Name: "two", Sender: "m2"}
	entry := func(seq, prev uint64, c *Chain, n int) *Entry {
		return &Entry{Seq: seq, Prev: prev, ID: c.ID(n), Sender: c.Sender, Content: c.Content(n)}
	}
	a, b, c := entry(1, 0, one, 1), entry(2, 1, two, 1), entry(5, 2, one, 2)
	one.Conns = []Conn{{Gateway: "g1", Opened: sec(0), Ended: sec(4)}, {Gateway: "g2", Opened: sec(5)}}
	one.Attempts = []Attempt{
		{N: 1, Conn: 0, Asked: sec(1), Answered: sec(1.1), Outcome: Stored, Seq: 1},
		{N: 2, Conn: 0, Asked: sec(3), Outcome: Unanswered},
		{N: 2, Conn: 1, Asked: sec(5), Answered: sec(5.1), Outcome: Stored, Seq: 5},
		{N: 3, Conn: 1, Asked: sec(5.2), Answered: sec(5.3), Outcome: RefusedForGood, Code: "MUTED"},
	}
	two.Conns = []Conn{{Gateway: "g1"}}
	two.Attempts = []Attempt{{N: 1, Asked: sec(1.2), Answered: sec(2), Outcome: Stored, Seq: 2}}
	zero, two2 := uint64(0), uint64(2)
	return &Record{
		Room: "r", Chains: []*Chain{one, two}, Content: []*Entry{a, b, c},
		Rows: []Row{{1, 1, a}, {2, 1, b}, {4, 2, nil}, {5, 2, c}},
		Streams: []*Stream{
			{Member: "reader", Events: []Event{
				{At: sec(0), Kind: Joined, Place: &Place{After: &zero, Recovered: true, Incarnation: 7}},
				{At: sec(1), Kind: Received, Entry: a}, {At: sec(2), Kind: Received, Entry: b}, {At: sec(3), Kind: Away},
				{At: sec(4), Kind: Joined, Place: &Place{After: &two2, Seq: 4, Recovered: true, Incarnation: 7}},
				{At: sec(5), Kind: Received, Entry: c},
			}},
			{Member: "late", Events: []Event{
				{At: sec(2), Kind: Joined, Place: &Place{Seq: 2, Incarnation: 7}}, {At: sec(5), Kind: Received, Entry: c},
			}},
		},
		Claims:   []Claim{{sec(1), 1, "x"}, {sec(3), 2, "y"}, {sec(8), 2, "y"}, {sec(13), 2, "y"}},
		Healings: []Healing{{sec(4), sec(60)}},
	}
}

func sec(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func TestCorrectRecordHasNoViolation(t *testing.T) {
	t.Parallel()
	require.Empty(t, Check(room(), DefaultBounds()))
}

// Each broken history is caught, by its promise's name.
func TestCheckFindsBrokenHistories(t *testing.T) {
	t.Parallel()
	reader := func(r *Record) *Stream { return r.Streams[0] }
	at := func(r *Record, chain, attempt int) *Attempt { return &r.Chains[chain].Attempts[attempt] }
	for _, broken := range []struct {
		name, promise string
		by            func(*Record)
	}{
		{"acknowledged and lost", "S1", func(r *Record) { r.Content, r.Rows = r.Content[:2], r.Rows[:3] }},
		{"acknowledged elsewhere", "S1", func(r *Record) { at(r, 0, 0).Seq = 2 }},
		{"refused for good and stored", "S1", func(r *Record) { at(r, 1, 0).Outcome = RefusedForGood }},
		{"acknowledged at two numbers", "S2", func(r *Record) {
			r.Chains[0].Attempts = append(r.Chains[0].Attempts, Attempt{N: 1, Conn: 1, Asked: sec(6), Answered: sec(6), Outcome: Stored, Seq: 9})
		}},
		{"never sent", "S2", func(r *Record) { r.Chains[1].Attempts = nil }},
		{"of another member", "S2", func(r *Record) { r.Chains[1].Sender = "m3" }},
		{"other text", "S2", func(r *Record) { r.Content[1].Content = "x" }},
		{"journal lacks one", "S2", func(r *Record) { r.Rows = r.Rows[:3] }},
		{"journal has another", "S2", func(r *Record) { r.Rows[1].Entry = &Entry{Seq: 2} }},
		{"journal has one more", "S2", func(r *Record) { r.Rows = append(r.Rows, Row{9, 2, &Entry{Seq: 9}}) }},
		{"a stale writer wrote", "S2", func(r *Record) { r.Rows[3].Epoch = 1; r.Rows[1].Epoch = 2 }},
		{"journal number used twice", "S2", func(r *Record) { r.Rows[1].Seq = 1 }},
		{"acknowledged before, stored behind", "S2", func(r *Record) {
			at(r, 0, 2).Asked, at(r, 0, 2).Answered = sec(0), sec(0.1)
			at(r, 0, 1).Asked = sec(0)
		}},
		{"reader saw another message", "S2", func(r *Record) {
			other := *r.Content[1]
			other.Content = "y"
			reader(r).Events[2].Entry = &other
		}},
		{"stored twice", "S3", func(r *Record) {
			r.Content = append(r.Content, &Entry{Seq: 9, Prev: 5, ID: "one 1", Sender: "m1", Content: r.Content[0].Content})
		}},
		{"producer's order", "S4", func(r *Record) {
			r.Content[0].ID, r.Content[2].ID = r.Content[2].ID, r.Content[0].ID
		}},
		{"broken chain", "S5", func(r *Record) { r.Content[2].Prev = 1 }},
		{"reader's gap", "S5", func(r *Record) { reader(r).Events = slices.Delete(reader(r).Events, 1, 2) }},
		{"reader's repeat", "S5", func(r *Record) { reader(r).Events = slices.Insert(reader(r).Events, 3, reader(r).Events[2]) }},
		{"reader's order", "S5", func(r *Record) {
			e := reader(r).Events
			e[1].Entry, e[2].Entry = e[2].Entry, e[1].Entry
		}},
		{"delivered to nobody in the room", "S5", func(r *Record) {
			reader(r).Events = append(reader(r).Events, Event{Kind: Away}, Event{Kind: Received, Entry: &Entry{Seq: 9, Prev: 5}})
		}},
		{"not recovered and silent about it", "S5", func(r *Record) { reader(r).Events[4].Place.Recovered = false }},
		{"recovered and reset", "S5", func(r *Record) {
			reader(r).Events = slices.Insert(reader(r).Events, 5, Event{Kind: Reset, Place: &Place{Seq: 2, Reason: ReasonReplayLimit}})
		}},
		{"reset without need", "S5", func(r *Record) {
			reader(r).Events[4].Place.Recovered = false
			reader(r).Events = slices.Insert(reader(r).Events, 5, Event{Kind: Reset, Place: &Place{Seq: 2, Reason: ReasonReplayLimit}})
		}},
		{"trimmed", "S5", func(r *Record) {
			reader(r).Events[4].Place.Recovered = false
			reader(r).Events = slices.Insert(reader(r).Events, 5, Event{Kind: Reset, Place: &Place{Seq: 2, Reason: ReasonTrimmed}})
		}},
		{"rewound", "S7", func(r *Record) {
			reader(r).Events[4].Place.Recovered = false
			reader(r).Events = slices.Insert(reader(r).Events, 5, Event{Kind: Reset, Place: &Place{Seq: 2, Reason: ReasonRewound}})
		}},
		{"another incarnation", "S7", func(r *Record) { reader(r).Events[4].Place.Incarnation = 8 }},
		{"answered late", "L1", func(r *Record) { at(r, 1, 0).Answered = sec(8) }},
		{"not answered on a connection that lived", "L1", func(r *Record) { r.Chains[0].Conns[0].Ended = sec(12) }},
		{"never answered", "L1", func(r *Record) { r.Chains[0].Conns[0].Ended = 0 }},
		{"behind in the end", "L2", func(r *Record) { r.Streams[1].Events = r.Streams[1].Events[:1] }},
		{"slow to reach the head", "L2", func(r *Record) {
			r.Healings = []Healing{{sec(5.5), sec(60)}}
			reader(r).Events[5].At = sec(13)
		}},
		{"slow to come back", "L2", func(r *Record) {
			r.Healings = []Healing{{sec(5.5), sec(60)}}
			reader(r).Events[4].At, reader(r).Events[5].At = sec(20), sec(20)
		}},
		{"stays away", "L2", func(r *Record) { reader(r).Events = reader(r).Events[:4]; r.Healings = []Healing{{sec(5.5), sec(60)}} }},
		{"not delivered around a dead node", "L2", func(r *Record) {
			r.Healings, r.Prompt = nil, []Healing{{sec(1), sec(3)}}
			reader(r).Events[2].At = sec(13.5)
			reader(r).Events = slices.Delete(reader(r).Events, 3, 5)
		}},
		{"not writable", "L3", func(r *Record) { at(r, 0, 2).Outcome, at(r, 0, 2).Answered = Refused, sec(17) }},
		{"not writable, nobody is told", "L3", func(r *Record) {
			at(r, 0, 2).Outcome, at(r, 0, 2).Answered = Unanswered, 0
		}},
		{"duel", "L6", func(r *Record) {
			r.Claims = append(r.Claims[:3], Claim{sec(9.5), 3, "x"}, Claim{sec(11), 4, "y"}, Claim{sec(12), 5, "x"})
		}},
		{"noticed at once", "S9", func(r *Record) { r.Notes = []Violation{{"S9", "r", "x"}} }},
	} {
		r := room()
		broken.by(r)
		found := Check(r, DefaultBounds())
		require.True(t, slices.ContainsFunc(found, func(v Violation) bool { return v.Promise == broken.promise }),
			"%s: want %s, found %v", broken.name, broken.promise, found)
	}
}

// What looks like a violation and is none.
func TestCheckAcceptsWhatIsAllowed(t *testing.T) {
	t.Parallel()
	for name, by := range map[string]func(*Record){
		"a refused message is stored out of order": func(r *Record) {
			r.Content[0].ID, r.Content[0].Content, r.Content[2].ID, r.Content[2].Content = "one 2", r.Content[2].Content, "one 1", r.Content[0].Content
			one := r.Chains[0]
			one.Attempts = []Attempt{
				{N: 1, Asked: sec(1), Answered: sec(1.5), Outcome: Refused}, {N: 2, Asked: sec(1), Answered: sec(2), Outcome: Stored, Seq: 1},
				{N: 1, Conn: 1, Asked: sec(5), Answered: sec(5.5), Outcome: Stored, Seq: 5},
			}
		},
		"refused and stored": func(r *Record) { r.Chains[1].Attempts[0].Outcome = Refused },
		"an answer of a frozen gateway": func(r *Record) {
			r.Chains[1].Attempts[0].Answered = sec(21)
			r.Excused = []Excuse{{"g1", sec(2), sec(20)}}
		},
		"the journal was not read": func(r *Record) { r.Rows = nil },
		"whoever asked to leave is owed nothing": func(r *Record) {
			r.Healings = []Healing{{sec(5.5), sec(60)}}
			r.Prompt = []Healing{{sec(1), sec(6)}}
			e := r.Streams[0].Events
			r.Streams[0].Events = append(slices.Clone(e[:5]), Event{At: sec(4.5), Kind: Leaving})
			r.Streams[1].Events = append(r.Streams[1].Events, Event{At: sec(6), Kind: Leaving}, Event{At: sec(7), Kind: Away})
		},
		"the next fault came before the bound": func(r *Record) {
			r.Healings = []Healing{{sec(5.5), sec(10)}}
			r.Streams[0].Events[5].At = sec(13)
			r.Claims = append(r.Claims[:3], Claim{sec(11), 3, "x"}, Claim{sec(12), 4, "y"}, Claim{sec(13), 5, "x"})
		},
		"delivered in time, or to who came back": func(r *Record) {
			r.Prompt = []Healing{{sec(1), sec(3)}}
			reader := r.Streams[0]
			reader.Events[2].At, reader.Events[3].At, reader.Events[4].At, reader.Events[5].At = sec(11), sec(12), sec(12), sec(12)
			r.Healings = nil
		},
		"an SDK that had to connect again": func(r *Record) {
			r.Healings = []Healing{{sec(5.5), sec(60)}}
			r.Streams[0].Blind = true
			r.Streams[0].Events[5].At = sec(13)
		},
		"a planned move after the healing": func(r *Record) {
			r.Claims = append(r.Claims[:3], Claim{sec(12), 3, "x"})
		},
	} {
		r := room()
		by(r)
		require.Empty(t, Check(r, DefaultBounds()), name)
	}
}

// A lost tail that the run caused is no violation as long as it is told.
func TestLostTailMayBeRewound(t *testing.T) {
	t.Parallel()
	r := room()
	e := r.Streams[0].Events
	e[4].Place.Recovered, e[4].Place.Incarnation = false, 8
	r.Streams[0].Events = slices.Insert(e, 5, Event{Kind: Reset, Place: &Place{Seq: 2, Reason: ReasonRewound}})
	bounds := DefaultBounds()
	require.NotEmpty(t, Check(r, bounds))
	bounds.LostTail = true
	require.Empty(t, Check(r, bounds))
}

func TestDumpTellsTheStory(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	r := room()
	r.Streams[1].Events = append(r.Streams[1].Events, Event{At: sec(6), Kind: Leaving})
	require.NoError(t, r.Dump(&out))
	for _, text := range []string{
		"one connected (1) to g2", "one asked for 2 (0)", "one was told that 2 is stored  at 5", "reader is in the room from 2 on; head 4",
		"late got 5 (after 2): one 2", "reader is away", "late asks to leave", `the writer is "y" in epoch 2`, "the faults have ended",
	} {
		require.Contains(t, out.String(), text)
	}
}
