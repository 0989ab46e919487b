package document

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/dcplane"
	"github.com/parley-rt/parley/libs/dcplane/internal/engine"
)

func sample() dcplane.Node {
	return dcplane.Node{
		Service: "rooms", DC: "dc-a", Region: "eu", Name: "rooms-1", Incarnation: "7f", Host: "10.0.0.1", RemotingPort: 4001,
		State: dcplane.StateReady, Load: 0.25, Version: "v1.2.3",
	}
}

// goldenRecord must stay readable by every later version.
const goldenRecord = `{"v":1,"claim":1700000000000,"incarnation":"7f","dc":"dc-a","service":"rooms","node":"rooms-1",` +
	`"region":"eu","host":"10.0.0.1","remoting_port":4001,"state":"ready","load":0.25,"version":"v1.2.3"}`

func TestRecordGolden(t *testing.T) {
	t.Parallel()
	r := engine.Record{Node: sample(), Claim: 1700000000000}
	value, err := Encode(r)
	require.NoError(t, err)
	require.Equal(t, goldenRecord, string(value))
	got, err := Decode(r.Node.Key(), value)
	require.NoError(t, err)
	require.Equal(t, r, got)
	got, err = Decode(r.Node.Key(), []byte(strings.Replace(goldenRecord, `"v":1`, `"v":1,"later":{"a":[1]}`, 1)))
	require.NoError(t, err, "unknown fields are ignored")
	require.Equal(t, r, got)
}

func TestRecordRefused(t *testing.T) {
	t.Parallel()
	key := sample().Key()
	for name, c := range map[string]struct {
		value, want string
		owner       engine.Record
	}{
		"not json":         {"hello", "invalid character", engine.Record{}},
		"empty":            {"", "unexpected end", engine.Record{}},
		"a later version":  {`{"v":2,"claim":9,"incarnation":"x","load":"heavy"}`, "decode record", engine.Record{}},
		"version 2":        {`{"v":2,"claim":9,"incarnation":"x"}`, "version 2 is not 1", owner("x", 9)},
		"no version":       {`{"claim":9,"incarnation":"x"}`, "version 0 is not 1", owner("x", 9)},
		"another's record": {strings.Replace(goldenRecord, "dc-a", "dc-b", 1), "it describes dc-b/rooms/rooms-1", owner("7f", 1700000000000)},
		"a bad port":       {strings.Replace(goldenRecord, "4001", "0", 1), "remoting port 0", owner("7f", 1700000000000)},
		"a bad state":      {strings.Replace(goldenRecord, "ready", "READY", 1), `state "READY"`, owner("7f", 1700000000000)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := Decode(key, []byte(c.value))
			require.ErrorContains(t, err, c.want)
			require.Equal(t, c.owner, got)
		})
	}
}

func owner(incarnation string, claim uint64) engine.Record {
	return engine.Record{Node: dcplane.Node{Incarnation: incarnation}, Claim: claim}
}

func TestLargestRecordFits(t *testing.T) {
	t.Parallel()
	n := sample()
	worst := strings.Repeat("\x01", dcplane.MaxNameBytes)
	n.DC, n.Service, n.Name, n.Region, n.Incarnation, n.Version = worst, worst, worst, worst, worst, worst
	n.Host = strings.Repeat("\x01", dcplane.MaxHostBytes)
	require.NoError(t, n.Validate())
	value, err := Encode(engine.Record{Node: n, Claim: 1})
	require.NoError(t, err)
	require.Less(t, len(value), MaxBytes)
}

// FuzzDecode: no bytes in the bucket make a node that Register would refuse.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(goldenRecord))
	f.Add([]byte(`{"v":1,"load":1e999}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		r, err := Decode(sample().Key(), value)
		if err == nil {
			require.NoError(t, r.Node.Validate())
			require.Equal(t, sample().Key(), r.Node.Key())
		}
	})
}
