package live

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/producer/account"
)

// saying is a producer's alive message: so many live sources, which have captured so many pictures, and lossless ones.
func saying(live, lossless int, pictures uint64) flow.Alive {
	alive := flow.Alive{Stage: account.Stage}
	for i := range live {
		alive.Sources = append(alive.Sources, flow.SourceStatus{
			Source: fmt.Sprintf("cam%d", i), Mode: flow.ModeLive, State: flow.StateRunning, Account: flow.Account{Captured: pictures},
		})
	}
	for i := range lossless {
		alive.Sources = append(alive.Sources, flow.SourceStatus{Source: fmt.Sprintf("film%d", i), Mode: flow.ModeLossless, State: flow.StateRunning})
	}
	return alive
}

// Credits are shared among live sources that run and have pictures, wherever they are, and among nobody else.
func TestLiveSourcesAreCounted(t *testing.T) {
	h, now := newHearing(), time.Unix(1000, 0)
	want := func(what string, mine, all int) {
		t.Helper()
		if m, a := h.liveSources("own", now); m != mine || a != all {
			t.Errorf("%s: %d of %d live sources are here, want %d of %d", what, m, a, mine, all)
		}
	}
	want("nobody is heard", 1, 1)
	h.hear("own", saying(3, 2, 1), now)
	for i := range 10 {
		h.hear(fmt.Sprintf("films%d", i), saying(0, 5, 0), now)
	}
	h.hear("worker", flow.Alive{Stage: "detect", Parallel: 8}, now)
	want("beside ten producers of films", 3, 3)
	h.hear("cameras", saying(63, 0, 1), now)
	stopped := saying(4, 0, 1)
	for i := range stopped.Sources {
		stopped.Sources[i].State = []flow.State{flow.StateStopped, flow.StateFailed, flow.StateComplete, flow.StateRunning}[i]
	}
	h.hear("ending", stopped, now)
	want("beside 63 cameras, and four sources of which one runs", 3, 67)
	if slots := h.slots(); slots["detect"] != 8 {
		t.Errorf("slots %v", slots)
	}
	for second := range uint64(7) { // cameras that are lost stay running, and are opened again and again
		now = now.Add(time.Second)
		h.hear("own", saying(3, 2, 2+second), now)
		h.hear("cameras", saying(63, 0, 1), now)
		h.forget(now)
	}
	want("63 cameras without a picture for 7 s, and a producer that is gone", 3, 3)
	h.hear("cameras", saying(63, 0, 2), now)
	want("they are back", 3, 66)
	h.forget(now.Add(time.Minute))
	want("all are gone", 1, 1)
}

// A producer knows its own alive messages from those of others: what it says of its sources is not counted twice.
func TestProducerKnowsItsOwnSources(t *testing.T) {
	board := account.NewBoard()
	board.Add([]flow.SourceStatus{{Source: "a", Mode: flow.ModeLive}, {Source: "b", Mode: flow.ModeLive}}, "")
	s := NewAdmission(Config{}, nil, slog.New(slog.DiscardHandler), flow.DefaultGroups(), flow.AliveSubject(account.Stage, board.Instance()))
	alive := account.Reporter(board)()
	data, err := json.Marshal(alive)
	if err != nil {
		t.Fatal(err)
	}
	s.onAlive(&nats.Msg{Subject: flow.AliveSubject(alive.Stage, alive.Instance), Data: data})
	if mine, all := s.hearing.liveSources(s.own, time.Now()); mine != 2 || all != 2 {
		t.Errorf("%d of %d live sources are here, want 2 of 2", mine, all)
	}
}

func TestHearingIsBounded(t *testing.T) {
	h := newHearing()
	for i := range 2 * maxHeard {
		h.hear(fmt.Sprint(i), saying(1, 0, 1), time.Unix(1000, 0))
	}
	if len(h) != maxHeard {
		t.Errorf("%d services are remembered, at most %d", len(h), maxHeard)
	}
}

// A producer with live sources has all credits to itself, however many others have none.
func TestProducersWithoutLiveSourcesTakeNoShare(t *testing.T) {
	for _, others := range []int{0, 1, 4, 9, 63} {
		h, now := newHearing(), time.Unix(1000, 0)
		h.hear("own", saying(1, 0, 1), now)
		for i := range others {
			h.hear(fmt.Sprint(i), saying(0, 1, 0), now)
		}
		if mine, all := h.liveSources("own", now); mine != 1 || all != 1 {
			t.Errorf("beside %d producers without live sources: %d of %d", others, mine, all)
		}
	}
}
