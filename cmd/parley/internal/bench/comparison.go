package bench

// Comparison is a scenario run against the server and the bare hub, the median round of each.
type Comparison struct {
	Scenario    string  `json:"scenario"`
	Title       string  `json:"title"`
	Rooms       int     `json:"rooms"`
	Connections int     `json:"connections"`
	Payload     int     `json:"payload_bytes"`
	InFlight    int     `json:"in_flight,omitempty"`
	Rate        float64 `json:"rate,omitempty"`
	Unit        Unit    `json:"unit"`

	Parley  Result  `json:"parley"`
	BareHub *Result `json:"bare_hub,omitempty"`
	// Ratio is work per CPU second of the server and its database by that of the bare hub, or KiB of an idle connection by KiB.
	Ratio  float64 `json:"ratio,omitempty"`
	Budget Budget  `json:"budget"`
	// Met tells whether every part of the budget is; absent without one.
	Met *bool `json:"budget_met,omitempty"`
	// Faults are what makes the figures worthless, in any round: messages that were missing or came twice, publishes that were refused.
	Faults uint64 `json:"faults"`
}

func faults(rounds []Result) (sum uint64) {
	for _, r := range rounds {
		sum += r.Gaps + r.Refused
	}
	return sum
}

// weakHub says that the bare hub had too little of the machine for a comparison with it to say anything.
func (c *Comparison) weakHub() bool {
	return c.BareHub != nil && c.BareHub.PerCPU < c.Budget.BareHubPerCPU
}

func (c *Comparison) judge() {
	if c.Budget == (Budget{}) || c.Budget.Ratio > 0 && (c.BareHub == nil || c.weakHub()) {
		return
	}
	met := c.Faults == 0 &&
		(c.Budget.Ratio == 0 || c.Ratio >= c.Budget.Ratio) &&
		(c.Budget.PerCPU == 0 || c.Parley.PerCPU >= c.Budget.PerCPU) &&
		(c.Budget.KiB == 0 || c.Parley.KiBLater <= c.Budget.KiB)
	c.Met = &met
}
