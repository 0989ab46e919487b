// Package schedule publishes by schedules of the real server, asked for by curl's means, and kills it meanwhile.
package schedule

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/e2e/harness"
	"github.com/parley-rt/parley/e2e/wire"
)

// patience bounds every wait, on a machine that builds and tests other things at the same time.
const patience = time.Minute

// api posts an object and returns the answer.
func api(t *testing.T, server *harness.Server, service, method string, body map[string]any) (map[string]any, int) {
	t.Helper()
	encoded, err := json.Marshal(body)
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.APIURL()+"/parley.admin.v1."+service+"/"+method, bytes.NewReader(encoded))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	var answer map[string]any
	require.NoError(t, json.Unmarshal(text, &answer), "%s", text)
	return answer, res.StatusCode
}

func must(t *testing.T, server *harness.Server, service, method string, body map[string]any) map[string]any {
	t.Helper()
	answer, status := api(t, server, service, method, body)
	require.Equal(t, http.StatusOK, status, answer)
	return answer
}

func create(t *testing.T, server *harness.Server, key string, spec map[string]any) string {
	t.Helper()
	answer := must(t, server, "ScheduleService", "CreateSchedule", map[string]any{"spec": spec, "idempotency_key": key})
	return answer["schedule"].(map[string]any)["schedule_id"].(string) //nolint:forcetypeassert // a panic tells as much
}

// schedule is how a schedule is.
type schedule struct {
	fired, missed int
	state         string
	open          bool
	failed        int
}

func get(t *testing.T, server *harness.Server, id string) schedule {
	t.Helper()
	s, _ := must(t, server, "ScheduleService", "GetSchedule", map[string]any{"schedule_id": id})["schedule"].(map[string]any)
	number := func(field string) int {
		n, err := strconv.Atoi(fmt.Sprint(s[field]))
		require.NoError(t, err, field)
		return n
	}
	failed, _ := s["failed"].([]any)
	return schedule{fired: number("fired"), missed: number("missed"), state: fmt.Sprint(s["state"]), open: s["open"] != nil, failed: len(failed)}
}

// inRoom counts the messages of a room by their ids.
func inRoom(t *testing.T, server *harness.Server, room string) map[string]int {
	t.Helper()
	page := must(t, server, "RoomService", "History", map[string]any{"room_id": room, "after_seq": "0", "limit": 500})
	found := map[string]int{}
	messages, _ := page["messages"].([]any)
	for _, m := range messages {
		fields, _ := m.(map[string]any)
		found[fmt.Sprint(fields["message_id"])]++
	}
	return found
}

// onceEach requires that every firing of a schedule that has ended is in its room once.
func onceEach(t *testing.T, server *harness.Server, id, room string, firings int) {
	t.Helper()
	var s schedule
	require.Eventually(t, func() bool {
		s = get(t, server, id)
		return s.state == "SCHEDULE_STATE_ENDED"
	}, patience, 50*time.Millisecond, "%v", &s)
	require.Equal(t, schedule{fired: firings, state: s.state}, s)
	want := map[string]int{}
	for n := range firings {
		want[fmt.Sprintf("schedule:%s:%d", id, n+1)] = 1
	}
	require.Equal(t, want, inRoom(t, server, room))
}

// S6: the server kills itself where a firing has begun, is about to be sent, is in its room, or has ended: every firing is in its
// room once, none is missing.
func TestKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	for _, point := range []string{"scheduler.after-start", "scheduler.before-publish", "scheduler.after-publish", "scheduler.after-advance"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			const variable = "TEST_PARLEY_FAILPOINTS="
			server := harness.StartDevTagged(t, harness.SQLite, "failpoints", []string{variable + point + "=crash@2"})
			const firings = 4
			id := create(t, server, "k", map[string]any{"room_id": "lobby", "content": "tick", "cron": "@every 1s", "max_firings": firings})
			server.AwaitDeath(patience)
			require.Contains(t, server.Log(), "failpoint: "+point+": crash")
			server.SetEnv()
			server.Restart()
			require.Equal(t, id, create(t, server, "k", map[string]any{"room_id": "lobby", "content": "tick", "cron": "@every 1s", "max_firings": firings}), "a repeat makes no second schedule")
			onceEach(t, server, id, "lobby", firings)
		})
	}
}

// S6, L4: kill -9 again and again at any moment, with schedules of many kinds; and members of the room get what they publish.
func TestKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	server := harness.StartDev(t)
	const schedules, firings = 20, 5
	ids := make([]string, schedules)
	room := func(n int) string { return fmt.Sprint("room-", n) }
	for n := range ids {
		ids[n] = create(t, server, fmt.Sprint(n), map[string]any{
			"room_id": room(n), "content": "tick", "cron": "@every 1s", "max_firings": firings, "jitter": fmt.Sprintf("0.%ds", n%10),
		})
	}
	once := create(t, server, "once", map[string]any{"room_id": "once", "content": "hello", "after": "2s"})
	for kill := range 3 {
		require.Eventually(t, func() bool { return get(t, server, ids[kill]).fired > kill }, patience, 20*time.Millisecond)
		server.Kill9()
		server.Restart()
	}
	reader := wire.MustDial(t, server.WebSocket())
	reader.Send(`{"hello":{}}`)
	reader.Expect("session")
	reader.Send(`{"join_room":{"room_id":"last","after_seq":"0"}}`)
	reader.Expect("room_joined")
	last := create(t, server, "last", map[string]any{"room_id": "last", "content": "in time", "sender": "bot", "after": "0s"})
	message := reader.Expect("message")
	require.Equal(t, "in time", message.String("content"))
	require.Equal(t, "bot", message.String("sender"))
	for n, id := range ids {
		onceEach(t, server, id, room(n), firings)
	}
	onceEach(t, server, once, "once", 1)
	onceEach(t, server, last, "last", 1)
}
