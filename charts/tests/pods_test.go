package charts_test

import (
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	podsecurity "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

// workload is what makes pods.
type workload struct {
	object
	meta     metav1.ObjectMeta
	spec     corev1.PodSpec
	selector *metav1.LabelSelector // nil where the cluster makes it
	ends     bool                  // a Job, or a pod that is one
	replicas int32
	claims   []corev1.PersistentVolumeClaim
}

func workloads(objects []object) []workload {
	var found []workload
	for _, o := range objects {
		w := workload{object: o, replicas: 1}
		switch typed := o.typed.(type) {
		case *appsv1.Deployment:
			w.meta, w.spec, w.selector = typed.Spec.Template.ObjectMeta, typed.Spec.Template.Spec, typed.Spec.Selector
			if typed.Spec.Replicas != nil {
				w.replicas = *typed.Spec.Replicas
			}
		case *appsv1.StatefulSet:
			w.meta, w.spec, w.selector = typed.Spec.Template.ObjectMeta, typed.Spec.Template.Spec, typed.Spec.Selector
			w.replicas, w.claims = *typed.Spec.Replicas, typed.Spec.VolumeClaimTemplates
		case *batchv1.Job:
			w.meta, w.spec, w.ends = typed.Spec.Template.ObjectMeta, typed.Spec.Template.Spec, true
		case *corev1.Pod:
			w.meta, w.spec, w.ends = typed.ObjectMeta, typed.Spec, true
		default:
			continue
		}
		found = append(found, w)
	}
	return found
}

// containers are all of a pod; first are those that run before the others.
func (w workload) containers() (first, main []corev1.Container) {
	return w.spec.InitContainers, w.spec.Containers
}

func (w workload) all() []corev1.Container {
	return slices.Concat(w.spec.InitContainers, w.spec.Containers)
}

// What a cluster asks that enforces the restricted Pod Security Standard, judged by the code that clusters judge it with.
func TestPodsAreRestricted(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	restricted := podsecurity.LevelVersion{Level: podsecurity.LevelRestricted, Version: podsecurity.LatestVersion()}
	forEach(t, func(t *testing.T, _ matrixCase, objects []object) {
		for _, w := range workloads(objects) {
			for _, result := range evaluator.EvaluatePod(restricted, &w.meta, &w.spec) {
				if !result.Allowed {
					t.Errorf("%s: %s: %s", w, result.ForbiddenReason, result.ForbiddenDetail)
				}
			}
		}
	})
}

// What the project asks beyond that standard.
func TestPods(t *testing.T) {
	forEach(t, func(t *testing.T, c matrixCase, objects []object) {
		for _, w := range workloads(objects) {
			if w.spec.EnableServiceLinks == nil || *w.spec.EnableServiceLinks {
				t.Errorf("%s: enableServiceLinks would set variables that are flags", w)
			}
			if w.spec.AutomountServiceAccountToken == nil || *w.spec.AutomountServiceAccountToken {
				t.Errorf("%s is given a token, which it has no use for", w)
			}
			if w.spec.HostNetwork || w.spec.HostPID || w.spec.HostIPC {
				t.Errorf("%s uses the host's namespaces", w)
			}
			if s := w.spec.TerminationGracePeriodSeconds; s == nil || *s < 45 {
				t.Errorf("%s has less than 45 s to end", w)
			}
			if s := w.spec.SecurityContext; s == nil || s.RunAsUser == nil || *s.RunAsUser == 0 || s.FSGroup == nil {
				t.Errorf("%s: no numeric user, or no group for volumes", w)
			}
			for _, v := range w.spec.Volumes {
				if v.HostPath != nil {
					t.Errorf("%s: volume %s is of the host", w, v.Name)
				}
				if v.EmptyDir != nil && v.EmptyDir.SizeLimit == nil && !strings.Contains(c.values, "emptyDir: {}") {
					t.Errorf("%s: volume %s has no limit", w, v.Name)
				}
			}
			for _, container := range w.all() {
				checkContainer(t, w, container)
			}
		}
	})
}

func checkContainer(t *testing.T, w workload, c corev1.Container) {
	t.Helper()
	if s := c.SecurityContext; s == nil || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem {
		t.Errorf("%s: %s may write to its root file system", w, c.Name)
	}
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		request, limit := c.Resources.Requests[name], c.Resources.Limits[name]
		if request.IsZero() || limit.IsZero() || request.Cmp(limit) > 0 {
			t.Errorf("%s: %s asks for %s %v, of at most %v", w, c.Name, name, &request, &limit)
		}
	}
	mounted := map[string]bool{}
	for _, m := range c.VolumeMounts {
		mounted[m.MountPath] = true
		if !slices.ContainsFunc(w.spec.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name }) &&
			!slices.ContainsFunc(w.claims, func(v corev1.PersistentVolumeClaim) bool { return v.Name == m.Name }) {
			t.Errorf("%s: %s mounts %s, which is not there", w, c.Name, m.Name)
		}
	}
	if len(mounted) != len(c.VolumeMounts) {
		t.Errorf("%s: %s mounts two volumes at one place", w, c.Name)
	}
	names := map[string]bool{}
	for _, e := range c.Env {
		if names[e.Name] {
			t.Errorf("%s: %s is given %s twice", w, c.Name, e.Name)
		}
		names[e.Name] = true
		lower := strings.ToLower(e.Name)
		if strings.Contains(lower, "password") && !strings.HasSuffix(lower, "_file") {
			t.Errorf("%s: %s has its password in %s", w, c.Name, e.Name)
		}
	}
	for _, argument := range slices.Concat(c.Command, c.Args) {
		if flag, _, _ := strings.Cut(argument, "="); strings.Contains(strings.ToLower(argument), "password") && !strings.HasSuffix(flag, "-password-file") {
			t.Errorf("%s: %s has a password among its arguments: %s", w, c.Name, argument)
		}
	}
	_, main := w.containers()
	if w.ends || !slices.ContainsFunc(main, func(m corev1.Container) bool { return m.Name == c.Name }) {
		return
	}
	for kind, probe := range map[string]*corev1.Probe{"startup": c.StartupProbe, "liveness": c.LivenessProbe, "readiness": c.ReadinessProbe} {
		if probe == nil || probe.HTTPGet == nil && probe.TCPSocket == nil {
			t.Errorf("%s: %s has no %s probe", w, c.Name, kind)
			continue
		}
		if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Port.StrVal != "admin" {
			continue // not a service's
		}
		// While NATS is away nothing is ready, and nothing may be restarted for that.
		if want := map[string]string{"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}[kind]; probe.HTTPGet.Path != want {
			t.Errorf("%s: %s: the %s probe asks for %s, want %s", w, c.Name, kind, probe.HTTPGet.Path, want)
		}
	}
	if c.Lifecycle != nil && c.Lifecycle.PreStop != nil && c.Lifecycle.PreStop.Sleep != nil &&
		c.Lifecycle.PreStop.Sleep.Seconds+30 > *w.spec.TerminationGracePeriodSeconds {
		t.Errorf("%s: %s has no 30 s left to end after its preStop", w, c.Name)
	}
}

// A model that is loaded, or an engine that is built, may take its time, after the node came and the image was pulled: the
// rollout waits.
func TestWorkersMayStartSlowly(t *testing.T) {
	least := func(d *appsv1.Deployment) int32 {
		if slices.ContainsFunc(d.Spec.Template.Spec.Containers[0].Args, func(a string) bool { return a == "--provider=tensorrt" }) {
			return 900
		}
		return 600
	}
	forEach(t, func(t *testing.T, _ matrixCase, objects []object) {
		for _, d := range of[*appsv1.Deployment](objects) {
			if d.Spec.Template.Spec.Containers[0].Name != "worker" {
				continue
			}
			if s := d.Spec.ProgressDeadlineSeconds; s == nil || *s < least(d) {
				t.Errorf("a rollout of %s waits %v s, less than %d", d.Name, s, least(d))
			}
		}
	})
	objects, err := rendering{values: "workers: {depth: {startupSeconds: 1800}}"}.objects(t)
	if err != nil {
		t.Fatal(err)
	}
	found := slices.ContainsFunc(of[*appsv1.Deployment](objects), func(d *appsv1.Deployment) bool {
		return strings.HasSuffix(d.Name, "-worker-depth") && *d.Spec.ProgressDeadlineSeconds == 2100
	})
	if !found {
		t.Error("startupSeconds 1800: no rollout waits 2100 s")
	}
}

// GPU groups roll without a spare GPU; a group with a GPU has its image, its resource and its tolerations.
func TestGPU(t *testing.T) {
	found := 0
	forEach(t, func(t *testing.T, _ matrixCase, objects []object) {
		for _, d := range of[*appsv1.Deployment](objects) {
			c := d.Spec.Template.Spec.Containers[0]
			image := strings.Contains(c.Image, "/spatial-flow-vision-cuda")
			provider := slices.ContainsFunc(c.Args, func(a string) bool { return a == "--provider=cuda" || a == "--provider=tensorrt" })
			var resource corev1.ResourceName
			for name := range c.Resources.Limits {
				if strings.HasPrefix(string(name), "nvidia.com/") {
					resource = name
				}
			}
			if image != provider || image != (resource != "") {
				t.Errorf("%s: GPU image %v, provider %v, resource %q", d.Name, image, provider, resource)
			}
			if !image {
				continue
			}
			found++
			if surge := d.Spec.Strategy.RollingUpdate.MaxSurge; surge.IntValue() != 0 {
				t.Errorf("%s: rolls with %v more pods, which have no GPU", d.Name, surge)
			}
			for _, key := range []string{"nvidia.com/gpu", string(resource)} {
				if !slices.ContainsFunc(d.Spec.Template.Spec.Tolerations, func(toleration corev1.Toleration) bool {
					return toleration.Key == key && toleration.Operator == corev1.TolerationOpExists
				}) {
					t.Errorf("%s does not tolerate nodes that are kept for %s", d.Name, key)
				}
			}
		}
	})
	if found < 4 {
		t.Errorf("%d groups with a GPU in all cases", found)
	}
}
