package sim

import "time"

// What the services wait for, as they are built. The simulation is about these rules, so the numbers are theirs.
const (
	// Links.
	heartbeat    = 500 * time.Millisecond
	askTimeout   = 2 * time.Second
	firstBackoff = 50 * time.Millisecond
	lastBackoff  = time.Second

	// The directory.
	lease      = 4 * time.Second
	renewEvery = time.Second

	// Rooms nodes.
	leastHold       = time.Second
	longestHold     = 5 * time.Second
	firstRetry      = 100 * time.Millisecond
	lastRetry       = 5 * time.Second
	journalRetry    = time.Second
	queueTimeout    = 4 * time.Second
	startTimeout    = 15 * time.Second
	commitTimeout   = 4 * time.Second
	readTimeout     = 4 * time.Second
	stopTimeout     = 5 * time.Second
	handOverTimeout = 2 * time.Second
	takeoverEvery   = time.Second
	blindAfter      = 3 * time.Second
	owedRetry       = 500 * time.Millisecond
	hostTick        = 500 * time.Millisecond
	guardRetries    = 3
	knownAfter      = 2 * time.Second
	busyRetry       = 250 * time.Millisecond
	awayRetry       = 500 * time.Millisecond

	// Gateways.
	gatewayTick  = 100 * time.Millisecond
	silenceAfter = 2 * time.Second
	retryFirst   = 100 * time.Millisecond
	maxBackoff   = 3
	maxHops      = 3
	maxStrikes   = 5
	answerWithin = 4500 * time.Millisecond
	checkEvery   = 5 * time.Second
	openWithin   = 4 * time.Second
	storeTimeout = 3 * time.Second
	compareEvery = 3 * time.Second
	blindEvery   = 2 * time.Second

	// The client library. Tests give it short pauses between attempts to connect.
	clientWindow   = 64
	clientAnswer   = 10 * time.Second
	firstReconnect = 50 * time.Millisecond
	lastReconnect  = 800 * time.Millisecond
	handshakeTime  = 6 * time.Second
)

// Bounds that are large in the services and small here, so that a short run meets them.
const (
	linkBatch     = 64  // frames
	roomQueue     = 64  // publish batches
	startQueue    = 256 // frames
	ringMessages  = 24
	pageMessages  = 16
	topicReads    = 4
	tailMessages  = 32
	batchMessages = 4
	snapshotEvery = 40
	// A room without subscribers and frames is given back after this; the services wait two minutes.
	idleAfter = 4 * time.Second
	// A room is handed over to the node that ranks best once the directory was stable for so long; the services wait 10 s.
	stableFor = 3 * time.Second
	// A node that let a hand-over hang is given nothing for this long; the services wait 10 s.
	distrustFor    = 5 * time.Second
	preloadTimeout = 5 * time.Second
	// A room stays for this long where it came to or could not be moved from; the services wait two minutes.
	restFor = 3 * time.Second
)

// Bounds of what is promised.
const (
	// answerBound is L1's: every publish is answered within it.
	answerBound = 5 * time.Second
	// headBound is L2's: members reach the head within it.
	headBound = 5 * time.Second
	// writerBound is L3's, for an owner that is frozen or cut off.
	writerBound = 10 * time.Second
	// duelBound is L6's.
	duelBound = 5 * time.Second
	// handOverBound is how long a planned hand-over may hold a publish up.
	handOverBound = 250 * time.Millisecond
)

// Without names the protections that a run goes without. The zero value is the protocol as it is built.
type Without struct {
	// Fence: an append is not checked against the room's epoch. ExpectedSeq: nor against its head.
	Fence, ExpectedSeq bool
	// Guard: a claim is not bound to the epoch that was looked at.
	Guard bool
	// Dedupe: the room does not look for ids it knows. Backfill: an activation knows only those since the snapshot.
	Dedupe, Backfill bool
	// CommitFirst: the room acknowledges and delivers before the commit.
	CommitFirst bool
	// FinishCommit: a hand-over does not wait for the commit in flight.
	FinishCommit bool
	// LiveOwner: whoever is asked for a room takes it, whoever owns it.
	LiveOwner bool
	// FencedHold: a host that lost a room may claim it again at once.
	FencedHold bool
	// TakeoverPoll: rooms nodes do not ask the journal what they lost.
	TakeoverPoll bool
	// Blind: a node that cannot ask does not say so.
	Blind bool
	// CompareHeads: hubs do not compare heads with the writers.
	CompareHeads bool
	// Contiguity: hubs take what comes, whatever it says it follows.
	Contiguity bool
	// LinkEvents: hubs do not subscribe anew when a Link goes down or lost batches.
	LinkEvents bool
	// LinkGap: a Link that was down leaves no gap in its numbers, unless it dropped something.
	LinkGap bool
	// Owed: a room that could not send a delivery does not tell the hub later.
	Owed bool
	// LowerEpoch: hubs take answers and deliveries of an epoch below the one they know.
	LowerEpoch bool
	// Cursor: a member that comes back goes on at the head, as if nothing was missed.
	Cursor bool
	// Deadline: a gateway waits for a room's answer as long as it takes.
	Deadline bool
	// SureReset: a room tells a member that its history is gone without looking whether it is still the room's writer.
	SureReset bool
	// ResendOrder: an unanswered batch is sent again in another order. OneBatch: the next batch does not wait for it.
	ResendOrder, OneBatch bool
	// BatchNumbers: a door hands a batch over as often as it comes. OldNews: it believes one that was overtaken.
	BatchNumbers, OldNews bool
	// PreviousToken: only the newest token of a session is good. Attempts: one that was given up may come late and take the
	// session from a later one.
	PreviousToken, Attempts bool
}
