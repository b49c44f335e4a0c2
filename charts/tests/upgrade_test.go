package charts_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func passwords(t *testing.T, objects []object) (*corev1.Secret, map[string]any) {
	t.Helper()
	secret := made(t, objects, "-nats")
	return secret, stored(t, secret)
}

// made is the Secret of the release whose name ends so.
func made(t *testing.T, objects []object, ending string) *corev1.Secret {
	t.Helper()
	for _, secret := range of[*corev1.Secret](objects) {
		if strings.HasSuffix(secret.Name, ending) {
			secret.Namespace = namespace
			return secret
		}
	}
	t.Fatalf("no Secret …%s", ending)
	return nil
}

// stored is an object as a cluster has it.
func stored(t *testing.T, secret *corev1.Secret) map[string]any {
	t.Helper()
	raw, err := json.Marshal(secret)
	if err != nil {
		t.Fatal(err)
	}
	stored := map[string]any{}
	if err := json.Unmarshal(raw, &stored); err != nil {
		t.Fatal(err)
	}
	stored["apiVersion"], stored["kind"] = "v1", "Secret"
	return stored
}

// Passwords are made when the release is installed, and kept when it is upgraded, whatever else changes.
func TestPasswordsAreKept(t *testing.T) {
	install := rendering{preset: "values-cpu.yaml", cluster: emptyCluster}
	objects, err := install.objects(t)
	if err != nil {
		t.Fatal(err)
	}
	first, stored := passwords(t, objects)
	users := append(natsUsers("detect", "depth", "publisher"), "cluster")
	if got := slices.Sorted(maps.Keys(first.Data)); !slices.Equal(got, slices.Sorted(slices.Values(users))) {
		t.Errorf("users %v, want %v", got, users)
	}
	seen := map[string]bool{}
	for user, password := range first.Data {
		if len(password) < 24 || seen[string(password)] {
			t.Errorf("%s has a password of %d characters, or another's", user, len(password))
		}
		seen[string(password)] = true
	}
	other, err := install.objects(t)
	if err != nil {
		t.Fatal(err)
	}
	if another, _ := passwords(t, other); string(another.Data["fuser-a"]) == string(first.Data["fuser-a"]) {
		t.Error("two releases have one password")
	}

	upgrade := rendering{values: "{nats: {replicas: 3}, fuser: {replicas: 3}}", cluster: append(slices.Clone(emptyCluster), stored), upgrade: true}
	objects, err = upgrade.objects(t)
	if err != nil {
		t.Fatal(err)
	}
	if second, _ := passwords(t, objects); !maps.EqualFunc(first.Data, second.Data, slices.Equal) {
		t.Error("an upgrade makes new passwords: no pod that runs would get back to NATS")
	}

	// One that is missing, as of a user who came with a later version, is made, and the others stay.
	delete(stored["data"].(map[string]any), "monitor-a")
	objects, err = upgrade.objects(t)
	if err != nil {
		t.Fatal(err)
	}
	third, _ := passwords(t, objects)
	if len(third.Data["monitor-a"]) < 24 {
		t.Error("a user who is new has no password")
	}
	delete(third.Data, "monitor-a")
	for user, password := range third.Data {
		if !slices.Equal(password, first.Data[user]) {
			t.Errorf("%s has a new password", user)
		}
	}
}

// Helm deletes what leaves a release, so an upgrade may not name the release's own Secret as one that exists.
func TestOwnSecretIsNotNamed(t *testing.T) {
	objects, err := rendering{preset: "values-cpu.yaml"}.objects(t)
	if err != nil {
		t.Fatal(err)
	}
	secret, _ := passwords(t, objects)
	for owner, refused := range map[string]bool{release: true, "another": false, "": false} {
		if owner != "" { // as Helm marks what it makes
			secret.Annotations = map[string]string{"meta.helm.sh/release-name": owner, "meta.helm.sh/release-namespace": namespace}
		} else {
			secret.Annotations = nil
		}
		_, stored := passwords(t, objects)
		c := append(slices.Clone(emptyCluster), stored)
		for _, elsewhere := range []string{"", "enabled: false, url: 'nats://x:4222', "} {
			values := "nats: {" + elsewhere + "auth: {existingSecret: " + secret.Name + "}}"
			_, err := rendering{values: values, cluster: c, upgrade: true}.render(t)
			if refused && (err == nil || !strings.Contains(err.Error(), "Copy it under another name first")) || !refused && err != nil {
				t.Errorf("%s, made by %q: %v", values, owner, err)
			}
		}
		// A copy keeps the annotations, perhaps.
		stored["metadata"].(map[string]any)["name"] = "copy"
		if _, err := (rendering{values: "nats: {auth: {existingSecret: copy}}", cluster: c, upgrade: true}).render(t); err != nil {
			t.Errorf("a copy: %v", err)
		}
	}
}

// Without a cluster each rendering would make new passwords, so it is refused, and says what to do.
func TestNoPasswordsWithoutACluster(t *testing.T) {
	for name, r := range map[string]rendering{
		"helm template": {preset: "values-cpu.yaml"},
		"an upgrade":    {preset: "values-cpu.yaml", upgrade: true},
		"a cluster that shows nothing of what every cluster has": {preset: "values-cpu.yaml", cluster: cluster{}},
	} {
		_, err := r.render(t)
		if err == nil || !strings.Contains(err.Error(), "nats.auth.existingSecret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, values := range map[string]string{
		"a Secret that exists": "{nats: {auth: {existingSecret: passwords}}, gateway: {tokens: {existingSecret: tokens}}}",
		"a store":              "{nats: {auth: {externalSecret: {enabled: true, storeName: s, remoteKey: k}}}, gateway: {tokens: {existingSecret: tokens}}}",
	} {
		files, err := rendering{values: values}.render(t)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for path, text := range files {
			if strings.Contains(text, "kind: Secret\n") {
				t.Errorf("%s: %s makes one all the same", name, path)
			}
		}
	}
	// Where the namespace is to be made, it shows nothing yet, but the cluster does.
	if _, err := (rendering{preset: "values-cpu.yaml", cluster: emptyCluster[:1]}).render(t); err != nil {
		t.Errorf("a new namespace: %v", err)
	}
}

// The gateway's token is made once, and what the gateway is given is its hash.
func TestTokenIsKept(t *testing.T) {
	objects, err := rendering{preset: "values-cpu.yaml", cluster: emptyCluster}.objects(t)
	if err != nil {
		t.Fatal(err)
	}
	first := made(t, objects, "-gateway-tokens")
	token, hash := string(first.Data["token"]), sha256.Sum256(first.Data["token"])
	if !regexp.MustCompile(`^sf_[A-Za-z0-9_-]{43}$`).MatchString(token) || !strings.Contains(string(first.Data["tokens.yaml"]), "sha256: "+hex.EncodeToString(hash[:])) ||
		strings.Contains(string(first.Data["tokens.yaml"]), token) {
		t.Errorf("token of %d characters, and\n%s", len(token), first.Data["tokens.yaml"])
	}
	first.Data["tokens.yaml"] = append(first.Data["tokens.yaml"], "# and one more\n"...)
	all := append(slices.Clone(emptyCluster), stored(t, first))
	_, nats := passwords(t, objects)
	objects, err = rendering{values: "gateway: {replicas: 3, anonymous: [view]}", cluster: append(all, nats), upgrade: true}.objects(t)
	if err != nil {
		t.Fatal(err)
	}
	if second := made(t, objects, "-gateway-tokens"); !maps.EqualFunc(first.Data, second.Data, slices.Equal) {
		t.Error("an upgrade changes the tokens")
	}
	for _, w := range workloads(objects) {
		for _, v := range w.spec.Volumes {
			if v.Secret != nil && v.Secret.SecretName == first.Name && (len(v.Secret.Items) != 1 || v.Secret.Items[0].Key != "tokens.yaml") {
				t.Errorf("%s is given %v", w, v.Secret.Items)
			}
		}
	}
	for path, text := range must(t, rendering{values: "{nats: {auth: {existingSecret: passwords}}, gateway: {tokens: {existingSecret: tokens}}}"}) {
		if strings.Contains(text, "kind: Secret\n") {
			t.Errorf("%s makes a Secret all the same", path)
		}
	}
}

func must(t *testing.T, r rendering) map[string]string {
	t.Helper()
	files, err := r.render(t)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// What can't be changed must not change with values, or with the chart's version: selectors, and names of what has state.
func TestUpgradesCanBeApplied(t *testing.T) {
	before, err := rendering{preset: "values-cpu.yaml"}.objects(t)
	if err != nil {
		t.Fatal(err)
	}
	after, err := rendering{preset: "values-cpu.yaml", values: `
pod: {labels: {team: a}}
log: {level: debug}
image: {tag: "9.9.9"}
workers: {detect: {replicas: 3, autoscaling: {type: hpa}}}
provision: {scenesKeep: 1h}
nats: {memoryStore: 512Mi}`}.objects(t)
	if err != nil {
		t.Fatal(err)
	}
	selectors := func(objects []object) map[string]string {
		found := map[string]string{}
		for _, w := range workloads(objects) {
			if w.selector != nil {
				raw, _ := json.Marshal(w.selector)
				found[w.String()] = string(raw)
			}
		}
		return found
	}
	if a, b := selectors(before), selectors(after); !maps.Equal(a, b) || len(a) < 6 {
		t.Errorf("selectors or names change:\n%v\n%v", a, b)
	}
}
