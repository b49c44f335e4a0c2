package producer

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/spatial-flow/spatial-flow/flow"
)

// maxReason bounds the reason in a status, in bytes: alive messages hold the status of every source.
const maxReason = 256

// Board shows how the sources of a producer are doing. Its methods may be called from many goroutines.
type Board struct {
	instance string // by which the producer's alive messages are known

	mu      sync.Mutex
	rows    []*row
	running int
	named   chan struct{}
	done    chan struct{}
}

// NewBoard is an empty board, for one [Run].
func NewBoard() *Board {
	return &Board{instance: ulid.Make().String(), named: make(chan struct{}), done: make(chan struct{})}
}

// row is one source on the board.
type row struct {
	board   *Board
	ledger  *ledger
	mu      sync.Mutex
	status  flow.SourceStatus // but for the account, which the ledger keeps
	resumed uint64
}

// Summary is what there is to say of a source in the end.
type Summary struct {
	flow.SourceStatus
	Resumed uint64        // frames of the run whose scene was stored before this start
	Elapsed time.Duration // from the first frame admitted to the last one whose scene was seen
	Rate    float64       // scenes per second over Elapsed

	// From a frame's capture to its scene being seen stored, by this host's clock: to 1 %; 0 when there was none.
	P50, P95, P99 time.Duration
}

// Statuses is every source as it is now, in the order they were given.
func (b *Board) Statuses() []flow.SourceStatus {
	b.mu.Lock()
	defer b.mu.Unlock()
	statuses := make([]flow.SourceStatus, len(b.rows))
	for i, r := range b.rows {
		statuses[i], _ = r.snapshot()
	}
	return statuses
}

// Summaries is Statuses with the sources' speed.
func (b *Board) Summaries() []Summary {
	b.mu.Lock()
	defer b.mu.Unlock()
	summaries := make([]Summary, len(b.rows))
	for i, r := range b.rows {
		summaries[i].SourceStatus, summaries[i].Resumed = r.snapshot()
		r.ledger.speed(&summaries[i])
	}
	return summaries
}

// Named is closed when every source is on the board with its session, before the first frame. It stays open when Run
// returns an error before there are sources.
func (b *Board) Named() <-chan struct{} { return b.named }

// AllDone is closed when every source is complete, stopped or failed. It stays open when Run returns an error
// before there are sources.
func (b *Board) AllDone() <-chan struct{} { return b.done }

// add puts the sources on the board, each with its session: run, or, when that is empty, a new one.
func (b *Board) add(specs []spec, run string) []*row {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rows, b.running = make([]*row, len(specs)), len(specs)
	for i, s := range specs {
		b.rows[i] = &row{board: b, ledger: newLedger(), status: flow.SourceStatus{
			Source: s.name, Session: cmp.Or(run, ulid.Make().String()), URI: s.uri, Mode: s.mode(), State: flow.StateRunning,
		}}
	}
	close(b.named)
	if b.running == 0 {
		close(b.done)
	}
	return b.rows
}

// addIngested puts a source on the board that nobody named beforehand; nil is returned when there is one of that name.
// Whether all sources are done does not depend on it.
func (b *Board) addIngested(s spec) *row {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.rows {
		if r.status.Source == s.name {
			return nil
		}
	}
	r := &row{board: b, ledger: newLedger(), status: flow.SourceStatus{
		Source: s.name, Session: ulid.Make().String(), URI: s.uri, Mode: s.mode(), State: flow.StateRunning,
	}}
	b.rows = append(b.rows, r)
	return r
}

// remove takes an ingested source off the board.
func (b *Board) remove(gone *row) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rows = slices.DeleteFunc(b.rows, func(r *row) bool { return r == gone })
}

func (r *row) snapshot() (flow.SourceStatus, uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	status := r.status
	status.Account = r.ledger.snapshot()
	return status, r.resumed
}

// began tells that a session of a live source began.
func (r *row) began(session string, frames uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.Session, r.status.Frames = session, frames
}

// opened tells what is known once the source is open; frames is 0 when that is not known.
func (r *row) opened(frames, resumed uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.Frames, r.resumed = frames, resumed
}

// counted tells how many pictures the source turned out to have.
func (r *row) counted(frames uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.Frames = frames
}

// stopped tells that an ingested source takes no more.
func (r *row) stopped() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.State = flow.StateStopped
}

// ended tells, once, how the source ended.
func (r *row) ended(state flow.State, reason string) {
	if len(reason) > maxReason {
		reason = strings.ToValidUTF8(reason[:maxReason-len("…")], "") + "…"
	}
	r.mu.Lock()
	r.status.State, r.status.Reason = state, reason
	r.mu.Unlock()

	r.board.mu.Lock()
	defer r.board.mu.Unlock()
	if r.board.running--; r.board.running == 0 {
		close(r.board.done)
	}
}
