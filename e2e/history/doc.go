// Package history records what the clients of a room were told and checks it against Parley's promises.
//
// A Recorder is what clients of a test write to while they run; its Record is plain data, and Check is a pure function of
// it. What it checks, by the names that the documentation gives the promises:
//
//	S1  what was acknowledged is stored, at its seq, as it was sent; what was refused for good is not
//	S2  there is one history: everybody saw the same message at a seq, an acknowledged publish comes before all that were
//	    asked for later, epochs never fall along the seqs, and nothing is stored that nobody sent
//	S3  no message is stored twice
//	S4  a producer's messages are stored in its order, but for those of which an attempt was refused
//	S5  every stream is a contiguous run of the room's messages, or openly begins again
//	S7  a stream is rewound, and an incarnation changes, only where the run expects a lost tail
//	L1  every publish is answered in time
//	L2  every member reaches the head soon after faults have ended
//	L3  every room takes publishes soon after faults have ended
//	L6  no two writers of a room go on taking it from each other
//
// The checker is tested with handmade broken histories and with mutations of correct ones.
package history
