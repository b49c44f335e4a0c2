package live

import (
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus/bustest"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/producer/account"
	"github.com/spatial-flow/spatial-flow/producer/fleet"
	"github.com/spatial-flow/spatial-flow/producer/source"
)

func newTestAdmission(d flow.Deployment) *Admission {
	return NewAdmission(Config{}, slog.New(slog.DiscardHandler), bustest.Deployed(d), fleet.New("own"))
}

func newTestSource(t *testing.T, a *Admission, arg string) *Source {
	t.Helper()
	specs, err := source.Parse([]string{arg}, source.Settings{Quality: 90})
	if err != nil {
		t.Fatal(err)
	}
	row := account.NewBoard().Add([]flow.SourceStatus{specs[0].Status()}, "")[0]
	l := New(specs[0], row, Config{}, service.Env{Log: slog.New(slog.DiscardHandler)}, a, account.NewMetrics(prometheus.NewRegistry()), func() bool { return true })
	l.BeginSession(0)
	return l
}

// pixels count what becomes of them.
type pixels struct {
	encode   func()
	released *int
}

func (p pixels) Release() { *p.released++ }
func (p pixels) Encode() ([]byte, int, int, error) {
	p.encode()
	return []byte("jpeg"), 4, 4, nil
}

// Whoever encodes holds no lock: neither a done nor the pictures of other sources wait, and the next picture of the same
// source waits in the mailbox and overtakes none that is on its way.
func TestNothingWaitsForAnEncoder(t *testing.T) {
	t.Parallel()
	a := newTestAdmission(flow.DefaultDeployment())
	slow, quick := newTestSource(t, a, "slow=0"), newTestSource(t, a, "quick=1")
	a.join(slow)
	a.join(quick)
	encoding, encoded, released := make(chan struct{}), make(chan struct{}), 0
	slow.offer(source.Picture{Pixels: pixels{func() { close(encoding); <-encoded }, &released}})
	a.admitAll()
	var carrying sync.WaitGroup
	carrying.Go(func() {
		g := <-slow.grants
		g.picture.Finish()
	})
	<-encoding
	slow.offer(source.Picture{})
	quick.offer(source.Picture{})
	a.done("detect", flow.FrameID{Source: "slow", Session: slow.id.Session, Seq: 1}, flow.Done{Outcome: flow.OutcomeComplete}, time.Now())
	a.admitAll()
	select {
	case g := <-quick.grants:
		if g.id.Source != "quick" || len(g.plan) == 0 {
			t.Errorf("admitted %v for %v", g.id, g.plan)
		}
	default:
		t.Error("no other source's picture is admitted while one is encoded")
	}
	if len(slow.grants) != 0 || !slow.box.full() {
		t.Error("a source has two pictures on their way at once")
	}
	close(encoded)
	carrying.Wait()
	if released != 1 {
		t.Errorf("the pixels were released %d times", released)
	}
}

// A picture that is overtaken, or passed over for the camera's rate, is never encoded, and gives its memory back.
func TestSkippedPicturesAreReleased(t *testing.T) {
	t.Parallel()
	l := newTestSource(t, newTestAdmission(flow.DefaultDeployment()), "cam=0")
	released := 0
	for range 3 {
		l.offer(source.Picture{Pixels: pixels{func() { t.Error("a skipped picture is encoded") }, &released}})
	}
	l.SkipWaiting(0, SkippedEnded)
	if released != 3 {
		t.Errorf("%d of 3 pictures gave their memory back", released)
	}
	if sums := l.account.Snapshot(); sums.Skipped[skippedOvertaken] != 2 || sums.Skipped[SkippedEnded] != 1 {
		t.Errorf("account %+v", sums)
	}
}

// Another group takes part from the moment that the deployment says so; those that were there keep their credits, and one that
// is not required never leads.
func TestAdmissionFollowsTheDeployment(t *testing.T) {
	t.Parallel()
	d := flow.DefaultDeployment()
	a := newTestAdmission(d)
	l := newTestSource(t, a, "cam=0")
	a.join(l)
	next := func() []string {
		l.busy = false
		l.offer(source.Picture{})
		a.admitAll()
		select {
		case g := <-l.grants:
			return g.plan
		default:
			return nil
		}
	}
	if plan := next(); len(plan) != 2 {
		t.Fatalf("plan %v, want detect and depth", plan)
	}
	if plan := next(); plan != nil {
		t.Fatalf("a second frame for %v without a credit", plan)
	}
	d.Groups = append(flow.Groups{}, append(d.Groups, flow.Group{Name: "pose", Slot: 3, Need: flow.NeedShadow})...)
	a.deployed.Set(d)
	a.look(time.Now())
	if plan := next(); plan != nil {
		t.Errorf("a frame for %v: a group that came has given others new credits, or leads", plan)
	}
	a.done("detect", flow.FrameID{Source: "cam", Session: l.id.Session, Seq: 1}, flow.Done{Outcome: flow.OutcomeComplete}, time.Now())
	if plan := next(); len(plan) != 2 || plan[0] != "detect" || plan[1] != "pose" {
		t.Errorf("plan %v, want detect, which has its credit back, and pose", plan)
	}
}

// While all groups are off, or their moment has not come, nothing is admitted, and each source says why, also one that comes then.
func TestNothingIsAdmittedWithoutAGroup(t *testing.T) {
	t.Parallel()
	on := flow.DefaultDeployment()
	off, later := on.With(slices.Clone(on.Groups)), on.With(slices.Clone(on.Groups))
	for i := range on.Groups {
		off.Groups[i].Off = true
		later.Groups[i].From = time.Now().Add(time.Hour)
	}
	for name, without := range map[string]flow.Deployment{"off": off, "later": later} {
		a := newTestAdmission(on)
		first, second := newTestSource(t, a, "first=0"), newTestSource(t, a, "second=1")
		a.join(first)
		a.deployed.Set(without)
		a.look(time.Now())
		a.join(second)
		for _, l := range []*Source{first, second} {
			l.offer(source.Picture{})
			if a.admitAll(); len(l.grants) != 0 {
				t.Errorf("%s: %s is admitted", name, l.spec.Name)
			}
			if status, _ := l.row.Snapshot(); status.Reason != waitingForGroup {
				t.Errorf("%s: %s says %q", name, l.spec.Name, status.Reason)
			}
		}
		a.deployed.Set(on)
		a.look(time.Now())
		a.admitAll()
		if len(first.grants)+len(second.grants) != 1 { // a group has one credit
			t.Errorf("%s: nothing is admitted when the groups are on again", name)
		}
		for _, l := range []*Source{first, second} {
			if status, _ := l.row.Snapshot(); status.Reason != "" {
				t.Errorf("%s: %s says %q when the groups are on again", name, l.spec.Name, status.Reason)
			}
		}
	}
}

// While another may have the source's name, as when this process was held still for long, nothing of it is admitted.
func TestNothingIsAdmittedWithoutTheLease(t *testing.T) {
	t.Parallel()
	a := newTestAdmission(flow.DefaultDeployment())
	l := newTestSource(t, a, "cam=0")
	held := false
	l.held = func() bool { return held }
	a.join(l)
	l.offer(source.Picture{Data: []byte("jpeg")})
	if a.admitAll(); len(l.grants) != 0 {
		t.Error("a picture is admitted")
	}
	if _, err := l.publish(grant{waiting: &waiting{id: l.id}, plan: []string{"detect"}, deployment: a.now}); !errors.Is(err, errNotHeld) {
		t.Errorf("one that was admitted before is published: %v", err)
	}
	held = true
	if a.admitAll(); len(l.grants) != 1 {
		t.Error("with the lease it is not admitted")
	}
}
