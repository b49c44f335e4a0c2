// Package join joins the results of the worker groups by frame ID, of lossless and of live frames, and fuses those of
// one frame into its scene. It is pure: it knows no NATS, and is told the time.
package join

import (
	"slices"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
)

// Joined is one frame on its way out.
type Joined struct {
	Plan    []string       // the groups that had to answer
	Results []*flow.Result // in the order of the plan; without those that are missing
}

// maxPlans bounds the plans that are told apart in one frame: a frame that is sent again carries its first.
const maxPlans = 4

// answers are the results of one frame, one of each group, and the plans that they name.
type answers struct {
	plans   [][]string
	results map[string]*flow.Result
	first   time.Time // when the first of them came
}

func newAnswers(now time.Time) answers {
	return answers{results: map[string]*flow.Result{}, first: now}
}

// add keeps a result, unless its group has answered before.
func (a *answers) add(r *flow.Result) {
	if a.results[r.Group] == nil {
		a.results[r.Group] = r
	}
	if len(a.plans) < maxPlans && !slices.ContainsFunc(a.plans, func(plan []string) bool { return slices.Equal(plan, r.Plan) }) {
		a.plans = append(a.plans, r.Plan)
	}
}

// joined is what there is of a plan.
func (a *answers) joined(plan []string) Joined {
	j := Joined{Plan: plan}
	for _, group := range plan {
		if r := a.results[group]; r != nil {
			j.Results = append(j.Results, r)
		}
	}
	return j
}
