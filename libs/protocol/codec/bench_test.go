package codec_test

import (
	"testing"

	"google.golang.org/protobuf/encoding/protojson"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codec"
)

func BenchmarkEncode(b *testing.B) {
	all := frames()
	for _, kind := range []string{"message", "ack", "signal", "room_joined"} {
		b.Run(kind+"/codec", func(b *testing.B) {
			b.ReportAllocs()
			var buf []byte
			for b.Loop() {
				buf, _ = codec.AppendJSON(buf[:0], all[kind])
			}
		})
		b.Run(kind+"/protojson", func(b *testing.B) {
			b.ReportAllocs()
			var buf []byte
			for b.Loop() {
				buf, _ = protojson.MarshalOptions{UseProtoNames: true}.MarshalAppend(buf[:0], all[kind])
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	inputs := map[string]string{
		"publish": `{"message":{"target":"room-1","content":"hello, how are you today? I am fine, thank you very much.","message_id":"0198c6e1-0000-7000-8000-000000000001"}}`,
	}
	for _, kind := range []string{"message", "ack", "join_room"} {
		frame, _ := codec.AppendJSON(nil, frames()[kind])
		inputs[kind] = string(frame)
	}
	for _, kind := range []string{"publish", "message", "ack", "join_room"} {
		frame := []byte(inputs[kind])
		b.Run(kind+"/codec", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := codec.DecodeJSON(frame); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(kind+"/protojson", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(frame, &clientv1.Envelope{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
