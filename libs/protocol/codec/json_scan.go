package codec

import (
	"bytes"
	"encoding/json"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
)

// jsonTop is what the top level of a refused frame shows.
type jsonTop struct {
	id    uint32 // 0: none, or unreadable
	other string // name of the first unknown field; "": none
}

// scanJSON looks for the id of a frame that cannot be decoded. It reads the top level of the object up to the first
// syntax error, so `{"id":7,"message":` still has an id. Only refused frames come here.
func scanJSON(frame []byte) jsonTop {
	var top jsonTop
	seenID := false
	fields := (*clientv1.Envelope)(nil).ProtoReflect().Descriptor().Fields()
	dec := json.NewDecoder(bytes.NewReader(frame))
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return top
	}
	for dec.More() {
		tok, err := dec.Token()
		name, ok := tok.(string)
		if err != nil || !ok {
			return top
		}
		if top.other == "" && fields.ByTextName(name) == nil && fields.ByJSONName(name) == nil {
			top.other = name
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return top
		}
		if name == "id" && !seenID {
			seenID = true
			top.id = idOf(value)
		}
	}
	return top
}

// idOf reads the value of an id field as protojson does.
func idOf(value []byte) uint32 {
	var env clientv1.Envelope
	if protojsonDecode(append(append([]byte(`{"id":`), value...), '}'), &env) != nil {
		return 0
	}
	return env.GetId()
}
