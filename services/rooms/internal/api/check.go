package api

import (
	"encoding/base64"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/parley-rt/parley/libs/protocol/admin/v1"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/ids"

	"github.com/parley-rt/parley/libs/ratelimit"
)

// Limits of requests' fields.
const (
	maxMemberBytes    = 128
	maxOperationBytes = 128
	maxReasonBytes    = 256
	minLasting        = time.Second
	maxLasting        = 100 * 365 * 24 * time.Hour
	minRetentionAge   = time.Minute
	maxRetentionAge   = maxLasting
	maxPage           = 1000
	maxHistory        = 500
)

// invalidError names every field that is wrong.
type invalidError struct {
	fields []*errdetails.BadRequest_FieldViolation
	room   bool
}

func (e *invalidError) Error() string {
	texts := make([]string, len(e.fields))
	for i, f := range e.fields {
		texts[i] = f.Field + ": " + f.Description
	}
	return strings.Join(texts, "; ")
}

func (e *invalidError) reason() string {
	if e.room {
		return nameOf(clientv1.ErrorCode_ERROR_CODE_INVALID_ROOM)
	}
	return nameOf(clientv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT)
}

// check collects what is wrong with a request.
type check struct{ invalidError }

// begin checks the room id, which every request has: without a right one nothing else of it is looked at.
func begin(roomID string) *check {
	c := new(check)
	if err := ids.CheckRoom(roomID); err != nil {
		c.room = true
		c.fail("room_id", "%v", err)
	}
	return c
}

func (c *check) err() error {
	if len(c.fields) == 0 {
		return nil
	}
	return &c.invalidError
}

func (c *check) fail(field, format string, args ...any) {
	c.fields = append(c.fields, &errdetails.BadRequest_FieldViolation{Field: field, Description: fmt.Sprintf(format, args...)})
}

// text checks a string of up to limit bytes; UTF-8 is the decoder's business.
func (c *check) text(field, value string, least, limit int) {
	switch {
	case len(value) < least:
		c.fail(field, "is missing")
	case len(value) > limit:
		c.fail(field, "has %d bytes, at most %d are allowed", len(value), limit)
	case !utf8.ValidString(value):
		c.fail(field, "is not UTF-8")
	}
}

func (c *check) member(id string) { c.text("member_id", id, 1, maxMemberBytes) }

func (c *check) reasonText(reason string) { c.text("reason", reason, 0, maxReasonBytes) }

// operation fills a missing id in, so that this request's own retries are recognised.
func (c *check) operation(id string) string {
	if id == "" {
		return ids.NewMessageID()
	}
	c.text("operation_id", id, 1, maxOperationBytes)
	return id
}

func (c *check) lasting(d *durationpb.Duration) {
	if d != nil {
		c.between("lasting", d, minLasting, maxLasting)
	}
}

func (c *check) between(field string, d *durationpb.Duration, least, most time.Duration) {
	switch {
	case d.CheckValid() != nil:
		c.fail(field, "is no valid duration")
	case d.AsDuration() < least:
		c.fail(field, "is %s, at least %s is needed", d.AsDuration(), least)
	case d.AsDuration() > most:
		c.fail(field, "is longer than 100 years")
	}
}

func (c *check) retentionAge(d *durationpb.Duration) {
	if d != nil && (d.GetSeconds() != 0 || d.GetNanos() != 0) {
		c.between("retention_age", d, minRetentionAge, maxRetentionAge)
	}
}

func (c *check) rate(field string, r *adminv1.Rate) {
	if _, err := ratelimit.RateOf(r.GetPerSecond(), r.GetBurst()); err != nil {
		c.fail(field, "%v", err)
	}
}

func (c *check) level(field string, level *adminv1.Level) {
	if level == nil {
		return
	}
	if _, known := adminv1.Level_name[int32(*level)]; !known || *level == adminv1.Level_LEVEL_UNSPECIFIED {
		c.fail(field, "is none of LEVEL_ANYONE, LEVEL_INVITED, LEVEL_MODERATORS, LEVEL_NOBODY")
	}
}

func (c *check) time(field string, at *timestamppb.Timestamp) {
	if at != nil && !at.IsValid() {
		c.fail(field, "is no valid time")
	}
}

// page reads a token: the last member of the page before.
func (c *check) page(token string) string {
	after, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(after) > maxMemberBytes || !utf8.Valid(after) {
		c.fail("page_token", "is not one that was given out")
		return ""
	}
	return string(after)
}

func pageToken(after string) string { return base64.RawURLEncoding.EncodeToString([]byte(after)) }

// clamp gives a limit its default and its bound.
func clamp(limit, standard, most uint32) uint32 {
	if limit == 0 {
		return standard
	}
	return min(limit, most)
}
