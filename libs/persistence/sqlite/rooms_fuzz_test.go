package sqlite

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
)

// The rooms of a session are read as they were written, and whatever else lies there is reported, not obeyed.
func FuzzRooms(f *testing.F) {
	f.Add(encodeRooms(nil))
	f.Add(encodeRooms([]string{"lobby", "", "a.b:c"}))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Add([]byte{5, 'a'})
	f.Fuzz(func(t *testing.T, data []byte) {
		rooms, err := decodeRooms(data)
		if err != nil {
			require.ErrorIs(t, err, persistence.ErrCorrupt)
			return
		}
		again, err := decodeRooms(encodeRooms(rooms))
		require.NoError(t, err)
		require.Equal(t, rooms, again)
	})
}
