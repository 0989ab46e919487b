package memory_test

import (
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parley-rt/parley/libs/persistence/memory"
	"github.com/parley-rt/parley/libs/persistence/persistencetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	t.Parallel()
	for _, lanes := range []int{1, 4} {
		t.Run(fmt.Sprintf("lanes=%d", lanes), func(t *testing.T) {
			t.Parallel()
			persistencetest.Exercise(t, persistencetest.Options{
				Volatile: true,
				Lanes:    lanes,
				Open: func(_ testing.TB, now func() time.Time) persistencetest.Store {
					return persistencetest.Store{Backend: memory.New(memory.Options{Now: now, Lanes: lanes})}
				},
			})
		})
	}
}
