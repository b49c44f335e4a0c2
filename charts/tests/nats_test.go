package charts_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// checkNATS is what all services ask of a server, and that nobody but its users comes in.
func checkNATS(t *testing.T, o *server.Options, users []string) {
	t.Helper()
	if o.MaxPayload != 4<<20 || o.Port != 4222 || o.HTTPPort != 8222 || !o.JetStream || o.JetStreamMaxStore < 1<<30 || o.JetStreamMaxMemory <= 0 {
		t.Errorf("payload %d, ports %d and %d, JetStream %v of %d bytes", o.MaxPayload, o.Port, o.HTTPPort, o.JetStream, o.JetStreamMaxStore)
	}
	var names []string
	for _, user := range o.Users {
		names = append(names, user.Username)
		if user.Permissions == nil || user.Permissions.Publish == nil || user.Permissions.Subscribe == nil {
			t.Errorf("%s may do everything", user.Username)
		}
	}
	if slices.Sort(names); !slices.Equal(names, slices.Sorted(slices.Values(users))) {
		t.Errorf("users %v, want %v", names, users)
	}
	if o.NoAuthUser != "" {
		t.Errorf("who says nothing is %s", o.NoAuthUser)
	}
}

const clusterPassword = "0123456789abcdefABCDEF0123456789"

// natsConfig runs the init container of the servers, and reads what it wrote as the server does. Its paths are below folder.
func natsConfig(t *testing.T, c corev1.Container, pod string, secret map[string][]byte) *server.Options {
	t.Helper()
	given, written := filepath.Join(t.TempDir(), "given"), t.TempDir()
	if err := os.Mkdir(given, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, data := range secret {
		if err := os.WriteFile(filepath.Join(given, name), data, 0o400); err != nil {
			t.Fatal(err)
		}
	}
	places := strings.NewReplacer("/run/secrets/nats", given, "/etc/nats", written, "$(POD_NAME)", pod)
	arguments := make([]string, len(c.Args))
	for i, argument := range c.Args {
		arguments[i] = places.Replace(argument)
	}
	if output, err := exec.Command(filepath.Join(root, "bin", c.Command[0]), arguments...).CombinedOutput(); err != nil || len(output) > 0 {
		t.Fatalf("%v: %v\n%s", arguments, err, output)
	}
	o, err := server.ProcessConfigFile(filepath.Join(written, "nats-server.conf"))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// natsUsers are those of a deployment with such groups and outsiders.
func natsUsers(more ...string) (users []string) {
	for _, role := range append([]string{"provisioner", "producer", "fuser", "gateway", "monitor"}, more...) {
		users = append(users, role+"-a", role+"-b")
	}
	return users
}

// The servers' configuration is that of the program, with a role for every service, group and outsider, from the Secret that the chart
// makes; each service is given its own.
func TestNATSConfiguration(t *testing.T) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			objects := mustObjects(t, c)
			user := "a"
			roles := []string{"detect", "depth", "publisher"}
			if c.name == "outsiders, and a third group" {
				user, roles = "b", []string{"detect", "depth", "faces", "yard", "wall"}
			}
			for _, w := range workloads(objects) {
				for _, v := range w.spec.Volumes {
					if v.Name == "nats-password" {
						key := v.Secret.Items[0].Key
						if len(v.Secret.Items) != 1 || !strings.HasSuffix(key, "-"+user) {
							t.Errorf("%s is given %v", w, v.Secret.Items)
						}
						if c := w.spec.Containers[0]; c.Command[0] == "worker" && c.Args[0]+"-"+user != "--group="+key {
							t.Errorf("%s has %s, and is %s", w, key, c.Args[0])
						}
					}
				}
			}
			for _, s := range of[*appsv1.StatefulSet](objects) {
				if len(s.Spec.Template.Spec.InitContainers) != 1 {
					t.Fatalf("%d init containers", len(s.Spec.Template.Spec.InitContainers))
				}
				init := s.Spec.Template.Spec.InitContainers[0]
				for _, argument := range init.Args { // of cases with groups of their own
					if group, ok := strings.CutPrefix(argument, "--group="); ok && !slices.Contains(roles, group) {
						roles = append(roles, group)
					}
				}
				secret := map[string][]byte{"cluster": []byte(clusterPassword)}
				for _, user := range natsUsers(roles...) {
					secret[user] = []byte(user + "\nthe password of " + user + "\n")
				}
				if made := of[*corev1.Secret](objects); len(made) > 0 {
					for _, one := range made {
						if one.Name == s.Name {
							secret = one.Data
						}
					}
				}
				o := natsConfig(t, init, s.Name+"-0", secret)
				checkNATS(t, o, natsUsers(roles...))
				data := slices.ContainsFunc(s.Spec.Template.Spec.Containers[0].VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == "data" && m.MountPath == o.StoreDir })
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
					if host := fmt.Sprintf("%s-%d.%s", s.Name, i, s.Spec.ServiceName); route.Hostname() != host || password != string(secret["cluster"]) || o.Cluster.Password != password {
						t.Errorf("route %s, want %s, with the cluster's password", route.Redacted(), host)
					}
				}
			}
		})
	}
}
