package member

import (
	"crypto/rand"
	"encoding/binary"
)

// guestAlphabet has no letters and digits that look alike.
const guestAlphabet = "abcdefghjkmnpqrstuvwxyz23456789a"

// adjectives and animals are 64 each.
var (
	adjectives = [64]string{
		"able", "airy", "amber", "bold", "brave", "brisk", "bright", "calm", "candid", "cheery", "civil", "clever", "coral",
		"cosy", "crisp", "curious", "dapper", "daring", "eager", "early", "fair", "fancy", "fleet", "fond", "frank", "fresh",
		"gentle", "glad", "golden", "grand", "happy", "hardy", "honest", "humble", "jolly", "keen", "kind", "lively", "loyal",
		"lucky", "mellow", "merry", "mild", "misty", "modest", "neat", "nimble", "noble", "patient", "plucky", "polite",
		"proud", "quick", "quiet", "rapid", "rosy", "shy", "silver", "sunny", "swift", "tidy", "warm", "wise", "witty",
	}
	animals = [64]string{
		"alpaca", "badger", "bat", "bear", "beaver", "bee", "bison", "camel", "cat", "cobra", "crab", "crane", "crow", "deer",
		"dingo", "dolphin", "dove", "duck", "eagle", "falcon", "ferret", "finch", "fox", "frog", "gecko", "goat", "goose",
		"hare", "hawk", "heron", "horse", "ibex", "jackal", "jay", "koala", "lark", "lemur", "lion", "llama", "lynx", "mole",
		"moose", "moth", "mouse", "newt", "otter", "owl", "panda", "pony", "puffin", "quail", "rabbit", "raven", "robin",
		"seal", "sloth", "snail", "stork", "swan", "tiger", "toad", "trout", "wolf", "wren",
	}
)

// NewGuest makes a member id for somebody who did not authenticate: readable, and one of 10^11, so that among 10,000
// guests two of the same name come up once in thousands of times.
func NewGuest() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	n := binary.LittleEndian.Uint64(b[:])
	take := func(bits uint) uint64 {
		v := n & (1<<bits - 1)
		n >>= bits
		return v
	}
	name := adjectives[take(6)] + "-" + animals[take(6)] + "-"
	for range 5 {
		name += string(guestAlphabet[take(5)])
	}
	return name
}
