package charts_test

import (
	"net/url"
	"path"
	"slices"
	"strings"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
)

// Whoever is told of a name for the gateway is answered by it: the chart's own test, and callers from outside.
func TestGatewayKnowsItsNames(t *testing.T) {
	forEach(t, func(t *testing.T, _ matrixCase, objects []object) {
		var patterns, called []string
		for _, w := range workloads(objects) {
			for _, c := range w.all() {
				for _, argument := range c.Args {
					if hosts, ok := strings.CutPrefix(argument, "--hosts="); ok {
						patterns = strings.Split(hosts, ",")
					}
					if address, ok := strings.CutPrefix(argument, "--gateway="); ok {
						u, err := url.Parse(address)
						if err != nil {
							t.Fatal(err)
						}
						called = append(called, u.Hostname())
					}
				}
			}
		}
		for _, o := range objects {
			if ingress, ok := o.typed.(*networkingv1.Ingress); ok {
				for _, rule := range ingress.Spec.Rules {
					called = append(called, strings.Replace(rule.Host, "*", "any", 1))
				}
			}
		}
		if len(patterns) == 0 {
			t.Error("the gateway is told no names")
		}
		for _, name := range called {
			if !slices.ContainsFunc(patterns, func(pattern string) bool { ok, err := path.Match(pattern, name); return ok && err == nil }) {
				t.Errorf("%q is not among %v", name, patterns)
			}
		}
	})
}
