package bus

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow/clock"
)

const (
	codeNoPeers             jetstream.ErrorCode = 10005 // fewer servers have joined than replicas are asked for, or none has room
	codeStreamOffline       jetstream.ErrorCode = 10118
	codeNoAccountRoom       jetstream.ErrorCode = 10002
	codeNoMemory            jetstream.ErrorCode = 10028
	codeNoStorage           jetstream.ErrorCode = 10047
	codeReplicasUnclustered jetstream.ErrorCode = 10074
)

// roomError names the setting that keeps a server from taking a stream.
func roomError(err error) error {
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return err
	}
	mends := ""
	switch {
	case api.ErrorCode == codeNoStorage, api.ErrorCode == codeNoPeers && strings.Contains(api.Description, "storage"):
		mends = "it sets aside what each stream may hold at most: raise max_file_store in its jetstream section (and the volume of store_dir), or ask for less (--guard-bytes, --live-frame-bytes, --live-result-bytes)"
	case api.ErrorCode == codeNoMemory:
		mends = "it sets aside what each live stream may hold at most: raise max_memory_store in its jetstream section, or ask for less (--live-frame-bytes, --live-result-bytes, --live-storage=file)"
	case api.ErrorCode == codeNoAccountRoom:
		mends = "raise the account's jetstream limits (max_file, max_mem), or ask for less (--guard-bytes, --live-frame-bytes, --live-result-bytes)"
	case api.ErrorCode == codeReplicasUnclustered:
		mends = "it is alone: ask for --replicas=1, or give it a cluster section"
	case api.ErrorCode == codeNoPeers:
		mends = "fewer servers of its cluster can take the stream than --replicas asks for"
	default:
		return err
	}
	return fmt.Errorf("%w: %w: %s", ErrServer, err, mends)
}

const (
	checkTries = 3
	leastRoom  = 64 << 10 // bytes of a message: less is no picture
)

// CheckServer asks the server for what the services need of its settings. [ErrServer], naming the setting that mends it, is returned
// when it has no JetStream for this account, or takes no message of a picture's size. That it takes smaller messages than the
// streams do is logged: larger ones are made smaller. A server that does not answer is no error: who uses it waits.
func (b *Bus) CheckServer(ctx context.Context) error {
	switch payload := b.conn.MaxPayload(); {
	case payload < leastRoom+headerRoom:
		return fmt.Errorf("%w: max_payload is %d bytes, too few for a picture: set max_payload: 4MB", ErrServer, payload)
	case payload < MaxPayload:
		b.log.Warn("the nats server's max_payload is small: pictures and maps that are larger are made smaller, set max_payload: 4MB", "max_payload", payload, "wanted", MaxPayload)
	}
	var err error
	for try := range checkTries { // a server that starts may not say yet what it has
		if try > 0 && !clock.Sleep(ctx, callWaitMax) {
			break
		}
		call, cancel := context.WithTimeout(ctx, firstCall)
		_, err = b.js.AccountInfo(call)
		cancel()
		if err == nil {
			return nil
		}
	}
	switch {
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled):
		return fmt.Errorf("%w: it has no JetStream: give its configuration a jetstream section (jetstream { store_dir: \"…\" })", ErrServer)
	case errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return fmt.Errorf("%w: this user's account has no JetStream: set jetstream: enabled in the account", ErrServer)
	case ctx.Err() == nil:
		b.log.Warn("jetstream does not answer", "error", err)
	}
	return nil
}

// A call to JetStream has a short time, for a stream whose leader is gone does not answer at all and what was sent to one that
// is elected may be lost; the next one has more, for a slow server.
const (
	firstCall   = 2 * time.Second
	longestCall = 10 * time.Second
	callWait    = 100 * time.Millisecond
	callWaitMax = time.Second
)

// repeated calls until the answer is one that stays, or ctx ends: then the last answer is returned. call must be harmless when it
// is repeated.
func (b *Bus) repeated(ctx context.Context, call func(context.Context) error) error {
	return b.repeatedWithin(ctx, firstCall, call)
}

// repeatedWithin is repeated with another time for the first call.
func (b *Bus) repeatedWithin(ctx context.Context, within time.Duration, call func(context.Context) error) error {
	for wait := callWait; ; within, wait = min(2*within, longestCall), min(2*wait, callWaitMax) {
		try, cancel := context.WithTimeout(ctx, within)
		err := call(try)
		cancel()
		if err == nil || ctx.Err() != nil || !passing(err) {
			return err
		}
		if wait > callWait {
			b.log.Warn("waiting for jetstream", "error", err)
		}
		if !clock.Sleep(ctx, clock.Jitter(wait)) {
			return err
		}
	}
}

// passing says whether JetStream may answer otherwise in a moment, as while the servers of a cluster find each other.
func passing(err error) bool {
	var refused *jetstream.APIError
	if errors.As(err, &refused) {
		return refused.Code == http.StatusServiceUnavailable || refused.ErrorCode == codeNoPeers || refused.ErrorCode == codeStreamOffline
	}
	for _, reason := range []error{
		context.DeadlineExceeded, nats.ErrTimeout, nats.ErrNoResponders, jetstream.ErrNoStreamResponse, errNotListed,
		nats.ErrConnectionReconnecting, nats.ErrDisconnected, nats.ErrReconnectBufExceeded,
	} {
		if errors.Is(err, reason) {
			return true
		}
	}
	return false
}
