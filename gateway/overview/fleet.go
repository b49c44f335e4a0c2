package overview

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
)

const (
	// silentAfter is how long a service, which tells every second that it is alive, is not heard before it counts as gone:
	// two tellings, so that a killed one is seen within 3 s.
	silentAfter = 2300 * time.Millisecond
	// forgetAfter is how long a service that is gone is still listed.
	forgetAfter = time.Minute
	maxServices = 1024 // that are listed
)

// fleet is every service that was heard lately.
type fleet struct {
	mu       sync.Mutex
	services map[string]*heard // by stage and instance
}

// heard is what a service said last.
type heard struct {
	alive flow.Alive
	at    time.Time
}

func newFleet() *fleet { return &fleet{services: map[string]*heard{}} }

// add notes that a service is alive. False is returned when there is no room for another one.
func (f *fleet) add(alive flow.Alive) bool {
	key := alive.Stage + " " + alive.Instance
	alive.Sources = nil // the hub's
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.services[key] == nil && len(f.services) >= maxServices {
		f.forget(now, silentAfter)
		if len(f.services) >= maxServices {
			return false
		}
	}
	f.services[key] = &heard{alive, now}
	return true
}

// forget drops what is silent for longer than that, under f.mu.
func (f *fleet) forget(now time.Time, silent time.Duration) {
	for key, h := range f.services {
		if now.Sub(h.at) > silent {
			delete(f.services, key)
		}
	}
}

// list is every service, by stage, then host and instance; the groups' stages come in the order of the deployment.
func (f *fleet) list(groups flow.Groups) []ServiceInfo {
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forget(now, forgetAfter)
	list := make([]ServiceInfo, 0, len(f.services))
	for _, h := range f.services {
		state := ServiceAlive
		if now.Sub(h.at) > silentAfter {
			state = ServiceGone
		}
		list = append(list, ServiceInfo{
			Stage: h.alive.Stage, Instance: h.alive.Instance, Host: h.alive.Host, State: state, HeardMS: now.Sub(h.at).Milliseconds(), Note: h.alive.Note,
			Model: h.alive.Model, Family: h.alive.Family, Provider: h.alive.Provider, Understood: h.alive.Understood, Parallel: h.alive.Parallel,
			Rate: h.alive.Rate, WaitMS: h.alive.WaitMS, Busy: h.alive.Busy,
		})
	}
	order := stageOrder(groups)
	slices.SortFunc(list, func(a, b ServiceInfo) int {
		return cmp.Or(cmp.Compare(order(a.Stage), order(b.Stage)), strings.Compare(a.Stage, b.Stage), strings.Compare(a.Host, b.Host), strings.Compare(a.Instance, b.Instance))
	})
	return list
}

// stageOrder ranks stages as a frame passes them; groups that are not in the deployment come after those that are.
func stageOrder(groups flow.Groups) func(stage string) int {
	return func(stage string) int {
		switch stage {
		case "producer":
			return 0
		case "fuser":
			return len(groups) + 2
		case "gateway":
			return len(groups) + 3
		}
		if i := slices.IndexFunc(groups, func(g flow.Group) bool { return g.Name == stage }); i >= 0 {
			return i + 1
		}
		return len(groups) + 1
	}
}

// groupInfos sums the workers that are alive up by group.
func groupInfos(groups flow.Groups, services []ServiceInfo) []GroupInfo {
	infos := make([]GroupInfo, 0, len(groups))
	for _, g := range groups {
		info := GroupInfo{Group: g.Name, Slot: g.Slot, On: !g.Off, Task: string(g.Does()), Need: string(cmp.Or(g.Need, flow.NeedRequired))}
		waited := 0.
		for _, s := range services {
			if s.Stage != g.Name || s.State != ServiceAlive {
				continue
			}
			info.Workers++
			info.Parallel += s.Parallel
			info.Rate += s.Rate
			waited += s.WaitMS * s.Rate
			info.Busy += s.Busy * float64(s.Parallel)
		}
		if info.Rate > 0 {
			info.WaitMS = waited / info.Rate
		}
		if info.Parallel > 0 {
			info.Busy /= float64(info.Parallel)
		}
		infos = append(infos, info)
	}
	return infos
}
