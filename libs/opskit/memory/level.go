package memory

// Level says what a service does about the memory it uses.
type Level int

// Levels, from good to bad.
const (
	// Open: everybody comes in.
	Open Level = iota
	// Refusing: nobody new comes in.
	Refusing
	// Shedding: some who are in have to go.
	Shedding
)

// String is the level's name in logs and metrics.
func (l Level) String() string {
	switch l {
	case Refusing:
		return "refusing"
	case Shedding:
		return "shedding"
	default:
		return "open"
	}
}

// Shares of the limit at which levels begin and end. Between the end of one and its beginning nothing changes, so that a service
// does not waver.
const (
	refuseAt, openAt = 0.80, 0.75
	shedAt, keepAt   = 0.92, 0.85
)

// Next is the level that follows this one when that share of the limit is used.
//
//	open ──80 %──► refusing ──92 %──► shedding
//	     ◄──75 %──          ◄──85 %──
func (l Level) Next(share float64) Level {
	switch {
	case share >= shedAt:
		return Shedding
	case l == Shedding && share >= keepAt:
		return Shedding
	case share >= refuseAt:
		return Refusing
	case l != Open && share >= openAt:
		return Refusing
	default:
		return Open
	}
}
