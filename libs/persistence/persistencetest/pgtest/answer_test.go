package pgtest

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func message(kind byte, body string) string {
	return string(kind) + string(binary.BigEndian.AppendUint32(nil, uint32(len(body)+4))) + body
}

// The ends of answers are found wherever the network cuts the stream.
func TestAnswersAreFoundInAnyChunks(t *testing.T) {
	t.Parallel()
	answers := []string{
		message('R', "\x00\x00\x00\x00") + message('S', "TimeZone\x00UTC\x00") + message('Z', "I"),
		message('1', "") + message('2', "") + message('n', "") + message('C', "INSERT 0 1\x00") + message('Z', "I"),
		message('T', "Z") + message('D', strings.Repeat("C", 300)) + message('C', "SELECT 1\x00") + message('C', strings.Repeat("x", 100)+"\x00") + message('Z', "T"),
		message('E', "SFATAL\x00\x00") + message('Z', "E"),
	}
	tags := [][]string{nil, {"INSERT 0 1"}, {"SELECT 1", strings.Repeat("x", maxTag)}, nil}
	stream := []byte(strings.Join(answers, ""))
	for size := 1; size <= len(stream); size++ {
		var a answer
		found, at, begin := 0, 0, 0
		for rest := stream; len(rest) > 0; {
			chunk := rest[:min(size, len(rest))]
			rest = rest[len(chunk):]
			for len(chunk) > 0 {
				used, done := a.next(chunk)
				require.NotZero(t, used)
				chunk, at = chunk[used:], at+used
				if done {
					require.Equal(t, answers[found], string(stream[begin:at]), "chunks of %d", size)
					require.ElementsMatch(t, tags[found], a.tags)
					found, begin = found+1, at
				}
			}
		}
		require.Len(t, answers, found)
	}
}

func TestAnswerThatWaitsForTheClientSaysSo(t *testing.T) {
	t.Parallel()
	var a answer
	_, done := a.next([]byte(message('G', "\x00\x00\x00")))
	require.False(t, done)
	require.True(t, a.copying)
	_, done = a.next([]byte(message('C', "COPY 1\x00") + message('Z', "I")))
	require.True(t, done)
	_, _ = a.next([]byte(message('1', "")))
	require.False(t, a.copying, "the next answer is another")
}

// What is no protocol at all, like an answer of another server, is passed on and breaks nothing.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(message('C', "INSERT 0 1\x00")+message('Z', "I")), 3)
	f.Add([]byte("C\x00\x00\x00\x00Z\xff\xff\xff\xff"), 1)
	f.Fuzz(func(t *testing.T, stream []byte, size int) {
		var a answer
		for size = max(1, size); len(stream) > 0; {
			used, _ := a.next(stream[:min(size, len(stream))])
			require.NotZero(t, used)
			stream = stream[used:]
			require.LessOrEqual(t, len(a.tag), maxTag)
			require.LessOrEqual(t, len(a.tags), maxTags)
		}
	})
}
