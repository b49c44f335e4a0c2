package charts_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// natsOptions reads a configuration as the server reads it, with the environment of its container.
func natsOptions(t *testing.T, config string, environment map[string]string) *server.Options {
	t.Helper()
	for name, value := range environment {
		t.Setenv(name, value)
	}
	path := filepath.Join(t.TempDir(), "nats.conf")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	options, err := server.ProcessConfigFile(path)
	if err != nil {
		t.Fatalf("%v\n%s", err, config)
	}
	return options
}

// checkNATS is what all services ask of a server.
func checkNATS(t *testing.T, o *server.Options, passwords map[string]string) {
	t.Helper()
	if o.MaxPayload != 4<<20 || o.Port != 4222 || o.HTTPPort != 8222 || !o.JetStream || o.JetStreamMaxStore < 1<<30 || o.JetStreamMaxMemory <= 0 {
		t.Errorf("payload %d, ports %d and %d, JetStream %v of %d bytes", o.MaxPayload, o.Port, o.HTTPPort, o.JetStream, o.JetStreamMaxStore)
	}
	users := map[string]string{}
	for _, user := range o.Users {
		users[user.Username] = user.Password
	}
	if !maps.Equal(users, passwords) {
		t.Errorf("users %v, want %v", users, passwords)
	}
	if o.NoAuthUser != "" {
		t.Errorf("who says nothing is %s", o.NoAuthUser)
	}
}

var reference = regexp.MustCompile(`\$\(\w+\)`)

var natsUsers = []string{"provisioner", "producer", "worker", "fuser", "gateway", "publisher", "monitor"}

// Whatever the passwords of a Secret are, of digits alone too, the server reads them as they are.
func TestNATSConfiguration(t *testing.T) {
	forEach(t, func(t *testing.T, _ matrixCase, objects []object) {
		for _, s := range of[*appsv1.StatefulSet](objects) {
			c := s.Spec.Template.Spec.Containers[0]
			environment, passwords := map[string]string{}, map[string]string{}
			for i, user := range append(slices.Clone(natsUsers), "cluster") {
				environment["SECRET_"+strings.ToUpper(user)] = []string{"0123456789", "1e5", "true", "a#b", "x$y", "20k", "p;q", "letters"}[i]
				if user != "cluster" {
					passwords[user] = environment["SECRET_"+strings.ToUpper(user)]
				}
			}
			for _, e := range c.Env {
				if e.ValueFrom != nil && e.ValueFrom.FieldRef != nil {
					environment[e.Name] = s.Name + "-0"
				} else if e.Value != "" { // with $(NAMES) that come before it, as Kubernetes does it
					environment[e.Name] = reference.ReplaceAllStringFunc(e.Value, func(name string) string { return environment[name[2:len(name)-1]] })
				}
			}
			config := slices.IndexFunc(of[*corev1.ConfigMap](objects), func(m *corev1.ConfigMap) bool { return m.Data["nats.conf"] != "" })
			o := natsOptions(t, of[*corev1.ConfigMap](objects)[config].Data["nats.conf"], environment)
			checkNATS(t, o, passwords)
			data := slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == "data" && m.MountPath == o.StoreDir })
			if !data {
				t.Errorf("%s stores in %s, which is no volume", s.Name, o.StoreDir)
			}
			storage := s.Spec.VolumeClaimTemplates[0].Spec.Resources.Requests.Storage().Value()
			if o.JetStreamMaxStore > storage*9/10 {
				t.Errorf("%s may fill %d bytes of %d: a full disk stops everything", s.Name, o.JetStreamMaxStore, storage)
			}
			if o.ServerName != s.Name+"-0" {
				t.Errorf("the server is named %q", o.ServerName)
			}
			replicas := int(*s.Spec.Replicas)
			if replicas == 1 && (o.Cluster.Port != 0 || len(o.Routes) > 0) || replicas > 1 && (o.Cluster.Port != 6222 || len(o.Routes) != replicas) {
				t.Errorf("%d servers, cluster port %d, routes %v", replicas, o.Cluster.Port, o.Routes)
			}
			for i, route := range o.Routes {
				password, _ := route.User.Password()
				if host := fmt.Sprintf("%s-%d.%s", s.Name, i, s.Spec.ServiceName); route.Hostname() != host || password != "letters" || o.Cluster.Password != "letters" {
					t.Errorf("route %s, want %s, with the cluster's password", route, host)
				}
			}
		}
	})
}
