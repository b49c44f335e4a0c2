// Package roles is the table of who may do what at NATS: for each role the subjects that it publishes and subscribes to. What it does
// not name is refused. The configuration of servers is made from it.
package roles

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spatial-flow/spatial-flow/flow"
)

// Kind is what a role is for.
type Kind string

const (
	Provisioner Kind = "provisioner" // provision, and whoever mends or forgets something: the only one that makes streams and durable consumers
	Producer    Kind = "producer"
	Worker      Kind = "worker" // of the group that it is called after
	Fuser       Kind = "fuser"
	Gateway     Kind = "gateway"
	Monitor     Kind = "monitor"   // looks at JetStream's state, never into messages
	Publisher   Kind = "publisher" // from outside: pictures of its sources
	Reader      Kind = "reader"    // from outside: scenes of its sources
)

// AnySource stands for every source.
const AnySource = "*"

// Role is one row of the table.
type Role struct {
	Kind    Kind
	Name    string   // of the role: inboxes begin with _INBOX_<name>. A worker's is its group
	Sources []string // of a publisher or a reader, [AnySource] for all
}

// Permissions are the subjects of a role, with NATS's wildcards. One that is in none of the lists is refused.
type Permissions struct {
	Publish   []string
	Subscribe []string
	// Answers is whether it may publish one message to the reply subject of each that it receives.
	Answers bool
}

// Table is the roles of a deployment.
type Table struct {
	Prefix string   // of all names and subjects
	Groups []string // names of all worker groups, those that are off too
}

// Services are the roles of a deployment's own programs, and the monitor.
func (t Table) Services() []Role {
	all := []Role{{Kind: Provisioner}, {Kind: Producer}}
	for i := range all {
		all[i].Name = string(all[i].Kind)
	}
	for _, group := range t.Groups {
		all = append(all, Role{Kind: Worker, Name: group})
	}
	for _, kind := range []Kind{Fuser, Gateway, Monitor} {
		all = append(all, Role{Kind: kind, Name: string(kind)})
	}
	return all
}

// Validate returns [ErrRole], [flow.ErrName] or [flow.ErrGroups] when the roles can't be told apart, or one of them is none.
func (t Table) Validate(roles []Role) error {
	if err := flow.ValidPrefix(t.Prefix); err != nil {
		return err
	}
	if len(t.Groups) == 0 || len(t.Groups) > flow.MaxGroups {
		return fmt.Errorf("%w: %d groups, want 1 to %d", flow.ErrGroups, len(t.Groups), flow.MaxGroups)
	}
	names := map[string]bool{}
	for _, role := range roles {
		if err := flow.ValidToken("role", role.Name); err != nil {
			return err
		}
		if names[role.Name] {
			return fmt.Errorf("%w: %s is the name of two", ErrRole, role.Name)
		}
		names[role.Name] = true
		if role.Kind == Worker {
			if err := flow.ValidGroup(role.Name); err != nil {
				return err
			}
		}
		outside := role.Kind == Publisher || role.Kind == Reader
		if outside != (len(role.Sources) > 0) {
			return fmt.Errorf("%w: %s %s has %d sources", ErrRole, role.Kind, role.Name, len(role.Sources))
		}
		for _, source := range role.Sources {
			if source == AnySource {
				continue
			}
			if err := flow.ValidToken("source of "+role.Name, source); err != nil {
				return err
			}
		}
	}
	return nil
}

// Of are the permissions of a role.
func (t Table) Of(role Role) Permissions {
	g := grants{table: t}
	g.subscribe(flow.Inbox(t.Prefix, role.Name) + ".>")
	switch role.Kind {
	case Provisioner:
		g.provisioner()
	case Producer:
		g.producer()
	case Worker:
		g.worker(role.Name)
	case Fuser:
		g.fuser()
	case Gateway:
		g.gateway()
	case Monitor:
		g.monitor()
	case Publisher:
		for _, source := range role.Sources {
			g.publish(t.subject("ingest." + source))
		}
	case Reader:
		for _, source := range role.Sources {
			g.subscribe(t.subject("scenes.live.*."+source), t.subject("scenes.lossless.*."+source+".>"))
		}
	}
	g.Publish, g.Subscribe = sorted(g.Publish), sorted(g.Subscribe)
	return g.Permissions
}

func sorted(subjects []string) []string {
	slices.Sort(subjects)
	return slices.Compact(subjects)
}

func (t Table) subject(plain string) string { return flow.Prefixed(t.Prefix, plain) }
func (t Table) stream(plain string) string  { return flow.PrefixedStream(t.Prefix, plain) }

func frames(mode flow.Mode) string { return "FRAMES_" + strings.ToUpper(string(mode)) }
func scenes(mode flow.Mode) string { return "SCENES_" + strings.ToUpper(string(mode)) }
func results(group string, mode flow.Mode) string {
	return "RESULTS_" + strings.ToUpper(group) + "_" + strings.ToUpper(string(mode))
}

// grants are the permissions of one role while they are made.
type grants struct {
	Permissions
	table Table
}

func (g *grants) publish(subjects ...string)   { g.Publish = append(g.Publish, subjects...) }
func (g *grants) subscribe(subjects ...string) { g.Subscribe = append(g.Subscribe, subjects...) }

// plain are subjects that get the deployment's prefix.
func (g *grants) publishPlain(subjects ...string) {
	for _, s := range subjects {
		g.publish(g.table.subject(s))
	}
}

func (g *grants) subscribePlain(subjects ...string) {
	for _, s := range subjects {
		g.subscribe(g.table.subject(s))
	}
}

// api is a call of JetStream about a stream, and what follows the stream's name.
func (g *grants) api(call, stream string, rest ...string) {
	g.publish(strings.Join(append([]string{"$JS.API." + call, g.table.stream(stream)}, rest...), "."))
}

// service is what every program of ours does: it asks whether there is JetStream, and tells that it is alive.
func (g *grants) service(stage string) {
	g.publish("$JS.API.INFO")
	g.publishPlain("alive." + stage + ".>")
}

// watch is an ephemeral consumer of one key, or of those that a filter selects: the server compares the filter in the subject with
// that of the consumer.
func (g *grants) watch(bucket string, filters ...string) {
	stream := "KV_" + bucket
	for _, filter := range filters {
		g.api("CONSUMER.CREATE", stream, "*", g.table.subject("$KV."+bucket+"."+filter))
	}
	g.api("CONSUMER.MSG.NEXT", stream, "*")
}

// read is the value of a key.
func (g *grants) read(bucket string, keys ...string) {
	stream := "KV_" + bucket
	g.api("STREAM.INFO", stream)
	for _, key := range keys {
		g.api("DIRECT.GET", stream, g.table.subject("$KV."+bucket+"."+key))
	}
}

// write is the value of a key, which is read too.
func (g *grants) write(bucket string, keys ...string) {
	g.read(bucket, keys...)
	for _, key := range keys {
		g.publishPlain("$KV." + bucket + "." + key)
	}
}

// lookUp are the messages of a stream by their sequence, and so all of them.
func (g *grants) lookUp(stream string) {
	g.api("STREAM.INFO", stream)
	g.api("STREAM.MSG.GET", stream)
}

// take is what a durable consumer has, and its acks: in both forms, of which the second names domain and account.
func (g *grants) take(stream, consumer string) {
	g.api("CONSUMER.INFO", stream, consumer)
	g.api("CONSUMER.MSG.NEXT", stream, consumer)
	name := g.table.stream(stream)
	g.publish("$JS.ACK."+name+"."+consumer+".>", "$JS.ACK.*.*."+name+"."+consumer+".>")
}
