package api

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBlocksOfMembers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, member := range []string{"eve", "bob", "mallory"} {
		a := b.call("BlockMember", `{"member_id":"`+member+`","lasting":"600s","reason":"sp\u00e4m"}`)
		require.Equal(t, http.StatusOK, a.status, "%s", a.text)
		block := a.body["block"].(map[string]any)
		require.Equal(t, member, block["member_id"])
		require.Equal(t, "späm", block["reason"])
		require.NotEmpty(t, block["actor"])
		require.NotEmpty(t, block["expires_at"])
	}
	a := b.call("UnblockMember", `{"member_id":"eve"}`)
	require.Equal(t, true, a.body["changed"], "%s", a.text)
	a = b.call("UnblockMember", `{"member_id":"eve"}`)
	require.Equal(t, false, a.body["changed"], "%s", a.text)
	require.Equal(t, int64(3), b.counted("parley.member.rulings", "kind", "block"))
	require.Equal(t, int64(2), b.counted("parley.member.rulings", "kind", "unblock"))
	require.Equal(t, int64(1), b.counted("parley.member.rulings", "outcome", "unchanged"))

	a = b.call("ListBlockedMembers", `{"page_size":1}`)
	require.Len(t, a.body["blocks"], 1, "%s", a.text)
	require.Equal(t, "bob", a.body["blocks"].([]any)[0].(map[string]any)["member_id"])
	a = b.call("ListBlockedMembers", `{"page_size":1,"page_token":"`+a.body["next_page_token"].(string)+`"}`)
	require.Equal(t, "mallory", a.body["blocks"].([]any)[0].(map[string]any)["member_id"])
	require.Empty(t, a.body["next_page_token"])
	require.Contains(t, b.logs.String(), `"msg":"member blocked"`)
	require.NotContains(t, b.logs.String(), "späm", "a reason is content")
}
