package account

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
	rows    []*Row
	running int
	named   chan struct{}
	done    chan struct{}
}

// NewBoard is an empty board, for one life of a producer.
func NewBoard() *Board {
	return &Board{instance: ulid.Make().String(), named: make(chan struct{}), done: make(chan struct{})}
}

// Row is one source on the board.
type Row struct {
	Account *Account // of its frames

	board   *Board
	mu      sync.Mutex
	status  flow.SourceStatus // but for the account, which Account keeps
	resumed uint64
	standby bool // another producer has the name
	later   bool // nobody named it beforehand
	note    func() string
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

// Instance is the name by which the producer's alive messages are known.
func (b *Board) Instance() string { return b.instance }

// Has says whether a source of a name is on the board.
func (b *Board) Has(source string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.ContainsFunc(b.rows, func(r *Row) bool { return r.status.Source == source })
}

// Statuses is every source as it is now, in the order they were given.
func (b *Board) Statuses() []flow.SourceStatus {
	b.mu.Lock()
	defer b.mu.Unlock()
	statuses := make([]flow.SourceStatus, len(b.rows))
	for i, r := range b.rows {
		statuses[i], _ = r.Snapshot()
	}
	return statuses
}

// reported are the statuses of the sources that are this producer's: of the others their owners tell.
func (b *Board) reported() []flow.SourceStatus {
	b.mu.Lock()
	defer b.mu.Unlock()
	var statuses []flow.SourceStatus
	for _, r := range b.rows {
		if status, _ := r.Snapshot(); !r.standsBy() {
			statuses = append(statuses, status)
		}
	}
	return statuses
}

// Summaries is Statuses with the sources' speed.
func (b *Board) Summaries() []Summary {
	b.mu.Lock()
	defer b.mu.Unlock()
	summaries := make([]Summary, len(b.rows))
	for i, r := range b.rows {
		summaries[i].SourceStatus, summaries[i].Resumed = r.Snapshot()
		r.Account.speed(&summaries[i])
	}
	return summaries
}

// Named is closed when every source is on the board with its session, before the first frame. It stays open when
// the producer ends before there are sources.
func (b *Board) Named() <-chan struct{} { return b.named }

// AllDone is closed when every source is complete, stopped or failed. It stays open when the producer
// ends before there are sources.
func (b *Board) AllDone() <-chan struct{} { return b.done }

// Add puts the sources on the board, once, each with its session: run, or, when that is empty, a new one. Of a status
// given Source, URI and Mode count.
func (b *Board) Add(sources []flow.SourceStatus, run string) []*Row {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rows, b.running = make([]*Row, len(sources)), len(sources)
	for i, s := range sources {
		b.rows[i] = &Row{board: b, Account: New(), status: flow.SourceStatus{
			Source: s.Source, Session: cmp.Or(run, ulid.Make().String()), URI: s.URI, Mode: s.Mode, State: flow.StateRunning,
		}}
	}
	close(b.named)
	if b.running == 0 {
		close(b.done)
	}
	return b.rows
}

// AddLater puts a source on the board that nobody named beforehand, with the session run, or, when that is empty, a new one; nil is
// returned when there is one of that name. Whether all sources are done does not depend on it.
func (b *Board) AddLater(s flow.SourceStatus, run string) *Row {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.rows {
		if r.status.Source == s.Source {
			return nil
		}
	}
	r := &Row{board: b, Account: New(), later: true, status: flow.SourceStatus{
		Source: s.Source, Session: cmp.Or(run, ulid.Make().String()), URI: s.URI, Mode: s.Mode, State: flow.StateRunning,
	}}
	b.rows = append(b.rows, r)
	return r
}

// Remove takes a source off the board.
func (b *Board) Remove(gone *Row) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rows = slices.DeleteFunc(b.rows, func(r *Row) bool { return r == gone })
}

// Snapshot is the source as it is now, and how many frames of its run were stored before this start.
func (r *Row) Snapshot() (flow.SourceStatus, uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	status := r.status
	status.Account = r.Account.Snapshot()
	if r.note != nil {
		status.Note = cut(r.note())
	}
	return status, r.resumed
}

func (r *Row) standsBy() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.standby
}

// Began tells that a session of a live source began.
func (r *Row) Began(session string, frames uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.Session, r.status.Frames = session, frames
}

// Opened tells what is known once the source is open; frames is 0 when that is not known.
func (r *Row) Opened(frames, resumed uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.Frames, r.resumed = frames, resumed
}

// Noted tells who says, at any time, what of the source is not carried; nil: nobody.
func (r *Row) Noted(note func() string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note = note
}

// Counted tells how many pictures the source turned out to have.
func (r *Row) Counted(frames uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.Frames = frames
}

// Corrupt tells of so many more packets that were broken.
func (r *Row) Corrupt(more uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.Corrupt += more
}

// Stopped tells that an ingested source takes no more.
func (r *Row) Stopped() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.State = flow.StateStopped
}

// StandBy tells that another producer has the source, or why it is not known who has.
func (r *Row) StandBy(reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.Reason, r.standby = cut(reason), true
}

// Owned tells that the source is this producer's.
func (r *Row) Owned() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.Reason, r.standby = "", false
}

// Waiting tells what a source that runs waits for; empty: nothing.
func (r *Row) Waiting(reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.status.State == flow.StateRunning {
		r.status.Reason = cut(reason)
	}
}

// Ended tells, once, how the source ended.
func (r *Row) Ended(state flow.State, reason string) {
	r.mu.Lock()
	r.status.State, r.status.Reason, r.standby = state, cut(reason), false
	r.mu.Unlock()

	if r.later {
		return
	}
	r.board.mu.Lock()
	defer r.board.mu.Unlock()
	if r.board.running--; r.board.running == 0 {
		close(r.board.done)
	}
}

func cut(reason string) string {
	if len(reason) <= maxReason {
		return reason
	}
	return strings.ToValidUTF8(reason[:maxReason-len("…")], "") + "…"
}
