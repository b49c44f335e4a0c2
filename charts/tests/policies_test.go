package charts_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// actor is who may send, or be sent to: a pod, or an address outside of the cluster.
type actor struct {
	name      string
	namespace string // of a pod
	labels    map[string]string
	address   netip.Addr
}

// Who is in a cluster besides the release. Pods have addresses too, and some network plugins let a rule about addresses
// apply to them; so it does here.
var outsiders = []actor{
	{name: "dns", namespace: "kube-system", labels: map[string]string{"k8s-app": "kube-dns"}, address: netip.MustParseAddr("10.244.0.2")},
	{name: "prometheus", namespace: "monitoring", address: netip.MustParseAddr("10.244.0.3")},
	{name: "keda", namespace: "keda", address: netip.MustParseAddr("10.244.0.4")},
	{name: "publisher", namespace: "publishers", address: netip.MustParseAddr("10.244.0.5")},
	{name: "ingress", namespace: "ingress", address: netip.MustParseAddr("10.244.0.6")},
	{name: "neighbour", namespace: namespace, labels: map[string]string{"app": "another"}, address: netip.MustParseAddr("10.244.0.7")},
	{name: "camera", address: netip.MustParseAddr("10.0.0.5")},
	{name: "models", address: netip.MustParseAddr("10.0.0.9")},
	{name: "metadata", address: netip.MustParseAddr("169.254.169.254")},
	{name: "metadata of IPv6", address: netip.MustParseAddr("fd00:ec2::254")},
	{name: "internet of IPv6", address: netip.MustParseAddr("2001:db8::1")},
	{name: "internet", address: netip.MustParseAddr("203.0.113.1")},
}

type portOf struct {
	number   int32
	protocol corev1.Protocol
}

// ports are all that somebody listens at, and one where nobody does.
var ports = []portOf{
	{53, corev1.ProtocolUDP}, {80, corev1.ProtocolTCP}, {443, corev1.ProtocolTCP}, {554, corev1.ProtocolTCP}, {4222, corev1.ProtocolTCP}, {6222, corev1.ProtocolTCP},
	{7777, corev1.ProtocolTCP}, {8000, corev1.ProtocolTCP}, {8001, corev1.ProtocolTCP}, {8222, corev1.ProtocolTCP}, {9999, corev1.ProtocolTCP},
}

// network is what policies make of a cluster.
type network struct {
	policies []*networkingv1.NetworkPolicy
}

func matches(t *testing.T, selector *metav1.LabelSelector, set map[string]string) bool {
	t.Helper()
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		t.Fatal(err)
	}
	return s.Matches(labels.Set(set))
}

func (n network) peer(t *testing.T, p networkingv1.NetworkPolicyPeer, a actor) bool {
	t.Helper()
	if block := p.IPBlock; block != nil {
		inside := func(cidr string) bool { return netip.MustParsePrefix(cidr).Contains(a.address) }
		return inside(block.CIDR) && !slices.ContainsFunc(block.Except, inside)
	}
	if a.namespace == "" {
		return false
	}
	if p.NamespaceSelector == nil && a.namespace != namespace {
		return false
	}
	if p.NamespaceSelector != nil && !matches(t, p.NamespaceSelector, map[string]string{"kubernetes.io/metadata.name": a.namespace}) {
		return false
	}
	return p.PodSelector == nil || matches(t, p.PodSelector, a.labels)
}

func covers(allowed []networkingv1.NetworkPolicyPort, p portOf) bool {
	return len(allowed) == 0 || slices.ContainsFunc(allowed, func(a networkingv1.NetworkPolicyPort) bool {
		protocol := corev1.ProtocolTCP
		if a.Protocol != nil {
			protocol = *a.Protocol
		}
		return protocol == p.protocol && (a.Port == nil || a.Port.IntVal == p.number)
	})
}

// lets says whether a side lets the other in (or out to it). Who no policy is about, lets everybody.
func (n network) lets(t *testing.T, of networkingv1.PolicyType, a, other actor, p portOf) bool {
	t.Helper()
	isolated := false
	for _, policy := range n.policies {
		if a.namespace != namespace || !slices.Contains(policy.Spec.PolicyTypes, of) || !matches(t, &policy.Spec.PodSelector, a.labels) {
			continue
		}
		isolated = true
		check := func(peers []networkingv1.NetworkPolicyPeer, allowed []networkingv1.NetworkPolicyPort) bool {
			return covers(allowed, p) && (len(peers) == 0 || slices.ContainsFunc(peers, func(peer networkingv1.NetworkPolicyPeer) bool { return n.peer(t, peer, other) }))
		}
		if of == networkingv1.PolicyTypeIngress {
			for _, rule := range policy.Spec.Ingress {
				if check(rule.From, rule.Ports) {
					return true
				}
			}
		} else {
			for _, rule := range policy.Spec.Egress {
				if check(rule.To, rule.Ports) {
					return true
				}
			}
		}
	}
	return !isolated
}

// reach is a line for each pair of which one may reach the other, with the ports.
func reach(t *testing.T, objects []object) []string {
	t.Helper()
	n := network{policies: of[*networkingv1.NetworkPolicy](objects)}
	actors := map[string]actor{}
	for i, w := range workloads(objects) {
		name := strings.TrimPrefix(w.meta.Labels["app.kubernetes.io/component"]+" "+w.meta.Labels["spatial-flow/name"], " ")
		actors[strings.TrimSpace(name)] = actor{namespace: namespace, labels: w.meta.Labels, address: netip.AddrFrom4([4]byte{10, 244, 1, byte(i + 1)})}
	}
	ours := len(actors)
	for _, o := range outsiders {
		actors[o.name] = o
	}
	if ours+len(outsiders) != len(actors) {
		t.Fatal("two actors have one name")
	}
	var lines []string
	for _, from := range slices.Sorted(maps.Keys(actors)) {
		for _, to := range slices.Sorted(maps.Keys(actors)) {
			a, b := actors[from], actors[to]
			release := func(x actor) bool { return x.labels["app.kubernetes.io/instance"] == "demo" }
			if from == to && from != "nats" || !release(a) && !release(b) {
				continue
			}
			var open []string
			for _, p := range ports {
				if n.lets(t, networkingv1.PolicyTypeEgress, a, b, p) && n.lets(t, networkingv1.PolicyTypeIngress, b, a, p) {
					open = append(open, fmt.Sprint(p.number))
				}
			}
			switch {
			case len(open) == len(ports):
				lines = append(lines, fmt.Sprintf("%s → %s: all", from, to))
			case len(open) > 0:
				lines = append(lines, fmt.Sprintf("%s → %s: %s", from, to, strings.Join(open, " ")))
			}
		}
	}
	return lines
}

func TestWhoMayReachWhom(t *testing.T) {
	for _, c := range policyCases {
		t.Run(c.name, func(t *testing.T) {
			objects, err := c.objects(t)
			if err != nil {
				t.Fatal(err)
			}
			got := reach(t, objects)
			want := strings.Split(strings.TrimSpace(c.table), "\n")
			for _, line := range want {
				if !slices.Contains(got, line) {
					t.Errorf("may not any more: %s", line)
				}
			}
			for _, line := range got {
				if !slices.Contains(want, line) {
					t.Errorf("may, and should not: %s", line)
				}
			}
			if t.Failed() {
				t.Logf("all:\n%s", strings.Join(got, "\n"))
			}
		})
	}
}

// A policy lets services reach NATS elsewhere at the port of each of its addresses.
func TestPortsOfNATSElsewhere(t *testing.T) {
	for url, want := range map[string][]int32{
		"nats://nats.messaging":                            {4222},
		"nats://nats.messaging:4333":                       {4333},
		"nats://a,nats://b:4223":                           {4222, 4223},
		"nats://a:4222,tls://b:4222,":                      {4222},
		"nats://[fd00::12]":                                {4222},
		"nats://[fd00::12:4444]:4333,nats://[2001:db8::1]": {4222, 4333},
	} {
		objects, err := rendering{values: "nats: {enabled: false, url: '" + url + "', auth: {existingSecret: passwords}}"}.objects(t)
		if err != nil {
			t.Fatalf("%s: %v", url, err)
		}
		var got []int32
		for _, policy := range of[*networkingv1.NetworkPolicy](objects) {
			if strings.HasSuffix(policy.Name, "-to-nats") {
				for _, p := range policy.Spec.Egress[0].Ports {
					got = append(got, p.Port.IntVal)
				}
			}
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("%s: ports %v, want %v", url, got, want)
		}
	}
}

// Whoever reaches the cloud's metadata has the node's rights, so no rule about everywhere is about that.
func TestNobodyReachesMetadata(t *testing.T) {
	objects, err := rendering{values: `
nats: {enabled: false, url: "nats://nats.example.org", auth: {existingSecret: passwords}}
producers: {street: {sources: ["street:"]}}
workers: {detect: {model: {kind: url, url: "https://h/a.onnx", sha256: "` + digest + `"}}}`}.objects(t)
	if err != nil {
		t.Fatal(err)
	}
	rules := 0
	for _, policy := range of[*networkingv1.NetworkPolicy](objects) {
		for _, rule := range policy.Spec.Egress {
			for _, peer := range rule.To {
				if peer.IPBlock == nil {
					continue
				}
				rules++
				for _, address := range []string{"169.254.169.254", "fd00:ec2::254"} {
					if (network{}).peer(t, peer, actor{address: netip.MustParseAddr(address)}) {
						t.Errorf("%s lets through to %s", policy.Name, address)
					}
				}
			}
		}
	}
	if rules != 6 {
		t.Errorf("%d rules about addresses, want two each for cameras, a model and NATS", rules)
	}
}
