package sim

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// ablation is the protocol without something, and the promises of which one must then break.
type ablation struct {
	name    string
	without Without
	breaks  []Kind
}

// Each of these is needed for itself.
var needed = []ablation{
	{"the epoch is not checked by appends", Without{Fence: true}, []Kind{kindS2}},
	{"a claim is not bound to the epoch that was looked at", Without{Guard: true}, []Kind{kindL6}},
	{"ids are not looked for", Without{Dedupe: true}, []Kind{kindS3}},
	{"recovery does not read ids of before the snapshot", Without{Backfill: true}, []Kind{kindS3}},
	{"acknowledged and delivered before the commit", Without{CommitFirst: true}, []Kind{kindS1, kindS2}},
	{"a hand-over does not wait for the commit", Without{FinishCommit: true}, []Kind{kindHandOver}},
	{"whoever is asked takes the room", Without{LiveOwner: true}, []Kind{kindL6}},
	{"a host that was fenced claims again at once", Without{FencedHold: true}, []Kind{kindL6}},
	{"nobody asks the journal for lost rooms", Without{TakeoverPoll: true}, []Kind{kindL2}},
	{"a blind node does not say so", Without{Blind: true}, []Kind{kindL3}},
	{"hubs do not hear of Links", Without{LinkEvents: true}, []Kind{kindL2}},
	{"hubs listen to former owners", Without{LowerEpoch: true}, []Kind{kindS5}},
	{"a writer tells of a lost history without being sure to be the writer", Without{SureReset: true}, []Kind{kindS5}},
	{"a member that comes back goes on at the head", Without{Cursor: true}, []Kind{kindS5}},
	{"a batch is sent again in another order", Without{ResendOrder: true}, []Kind{kindS4}},
	{"the next batch does not wait", Without{OneBatch: true}, []Kind{kindS4}},
	{"a gateway waits for answers without end", Without{Deadline: true}, []Kind{kindL1}},
	{"only the newest session token is good", Without{PreviousToken: true}, []Kind{kindSession}},
	{"attempts to resume are not numbered", Without{Attempts: true}, []Kind{kindSession}},
}

// Belt and braces: without one of these alone nothing, or hardly ever anything, breaks, because something else catches it. Of
// 3,000 runs each (-sim.seeds=3000 -sim.without=ExpectedSeq) broke:
//
//   - ExpectedSeq: none. The fence keeps old writers out, and a writer has one append in flight. The other way round it keeps
//     one history, too, but an old writer stores messages behind the back of the new one, so Fence is needed.
//   - BatchNumbers: none. Requests are idempotent, and what follows a cursor is checked. Contiguity: 7 (S5).
//   - LinkGap and Owed: none; CompareHeads: 1 (L2). Each finds a hub that waits for deliveries that will not come. Comparing
//     does so within 5 s, which alone is a moment too late for L2.
//   - OldNews: none. It takes a node that was blind, a long cut, and a connection that still held what it said then.
var beltAndBraces = []ablation{
	{"neither epoch nor expected seq are checked by appends", Without{Fence: true, ExpectedSeq: true}, []Kind{kindS1}},
	{"neither batch numbers nor contiguity are looked at", Without{BatchNumbers: true, Contiguity: true}, []Kind{kindS5}},
	{"heads are not compared, Links leave no gap", Without{CompareHeads: true, LinkGap: true}, []Kind{kindL2}},
	{"heads are not compared, a room owes nobody anything", Without{CompareHeads: true, Owed: true}, []Kind{kindL2}},
}

// Without a protection the simulation must find what it is there for: else either is worth nothing.
func TestAblations(t *testing.T) {
	for _, a := range slices.Concat(needed, beltAndBraces) {
		t.Run(a.name, func(t *testing.T) {
			breaks := func(r Result) bool {
				return slices.ContainsFunc(r.Violations, func(v Violation) bool { return slices.Contains(a.breaks, v.Kind) })
			}
			results := runSeeds(1, ablationSeeds, a.without, breaks)
			i := slices.IndexFunc(results, breaks)
			require.GreaterOrEqual(t, i, 0, "none of %d runs broke any of %v", len(results), a.breaks)
			for _, v := range results[i].Violations {
				if slices.Contains(a.breaks, v.Kind) {
					t.Logf("seed %d: %s", i+1, v)
					break
				}
			}
		})
	}
}
