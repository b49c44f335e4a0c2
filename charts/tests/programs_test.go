package charts_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

const root = "../.."

// ours are the programs of the images; of others nothing is known here.
var ours = map[string][]string{
	"static": {"fuser", "gateway", "provision", "smoke"}, "vision": {"producer", "worker"}, "vision-cuda": {"producer", "worker"},
}

// programs are read once: --help tells all flags, and the variables that mean the same.
var programs sync.Map

type flags struct{ flags, variables map[string]bool }

var (
	flagInHelp     = regexp.MustCompile(`(?m)^\s+(?:-\w, )?(--[a-z][a-z0-9-]*)`)
	variableInHelp = regexp.MustCompile(`\$(SPATIALFLOW_[A-Z0-9_]+)`)
)

func program(t *testing.T, name string) flags {
	t.Helper()
	if known, ok := programs.Load(name); ok {
		return known.(flags)
	}
	help, err := exec.Command(filepath.Join(root, "bin", name), "--help").CombinedOutput()
	if err != nil {
		t.Fatalf("bin/%s: %v (make build)\n%s", name, err, help)
	}
	found := flags{flags: map[string]bool{}, variables: map[string]bool{}}
	for _, flag := range flagInHelp.FindAllStringSubmatch(string(help), -1) {
		found.flags[flag[1]] = true
	}
	for _, variable := range variableInHelp.FindAllStringSubmatch(string(help), -1) {
		found.variables[variable[1]] = true
	}
	if len(found.flags) < 8 || len(found.variables) < 6 {
		t.Fatalf("bin/%s --help is not understood: %v", name, found)
	}
	programs.Store(name, found)
	return found
}

// foreign are variables that other things read than kong: Go's runtime, and the libraries for GPUs.
var foreign = []string{"GOMEMLIMIT", "GOGC", "XDG_CACHE_HOME", "CUDA_CACHE_PATH"}

// checkCommand says what a program does not know of what it is given.
func checkCommand(t *testing.T, at, image string, command, variables []string) {
	t.Helper()
	name := command[0]
	if !slices.Contains(ours[image], name) {
		t.Errorf("%s: image %s has no program %s", at, image, name)
		return
	}
	known := program(t, name)
	for _, argument := range command[1:] {
		if flag, _, _ := strings.Cut(argument, "="); strings.HasPrefix(flag, "--") && !known.flags[flag] {
			t.Errorf("%s: %s has no flag %s", at, name, flag)
		}
	}
	for _, variable := range variables {
		switch {
		case strings.HasPrefix(variable, "SPATIALFLOW_"):
			if !known.variables[variable] {
				t.Errorf("%s: %s has no variable %s", at, name, variable)
			}
		case !slices.Contains(foreign, variable):
			t.Errorf("%s: %s is given %s, which it does not read", at, name, variable)
		}
	}
}

var ourImage = regexp.MustCompile(`/spatial-flow-([a-z-]+)[:@]`)

func TestFlags(t *testing.T) {
	forEach(t, func(t *testing.T, _ matrixCase, objects []object) {
		checked := 0
		for _, w := range workloads(objects) {
			for _, c := range w.spec.Containers {
				image := ourImage.FindStringSubmatch(c.Image)
				if image == nil {
					continue
				}
				checked++
				var variables []string
				for _, e := range c.Env {
					variables = append(variables, e.Name)
				}
				checkCommand(t, w.String(), image[1], slices.Concat(c.Command, c.Args), variables)
			}
		}
		if checked < 4 {
			t.Errorf("%d containers are ours", checked)
		}
	})
}

// What the chart gives to the programs they take, values and all: each is started, and gets as far as to look for NATS.
func TestProgramsTakeWhatTheyAreGiven(t *testing.T) {
	tried := map[string]bool{}
	for _, c := range cases {
		for _, w := range workloads(mustObjects(t, c)) {
			for _, container := range w.spec.Containers {
				if ourImage.MatchString(container.Image) {
					if key := fmt.Sprint(container.Command, container.Args, container.Env); !tried[key] {
						tried[key] = true
						start(t, c.name+": "+w.String(), container)
					}
				}
			}
		}
	}
	if len(tried) < 30 {
		t.Errorf("%d commands are tried", len(tried))
	}
}

// notHere are paths in the containers.
var notHere = regexp.MustCompile(`open /run/secrets/sources/sources: no such file|/films/[a-z]+\.mp4: no such file|/run/secrets/(tls/tls\.(crt|key)|gateway/ca\.crt): no such file`)

func start(t *testing.T, at string, c corev1.Container) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, filepath.Join(root, "bin", c.Command[0]), c.Args...)
	command.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	for _, e := range c.Env {
		switch e.Name {
		case "SPATIALFLOW_NATS_PASSWORD_FILE":
		case "SPATIALFLOW_NATS":
			command.Env = append(command.Env, "SPATIALFLOW_NATS=nats://127.0.0.1:1")
		case "SPATIALFLOW_ADMIN":
			command.Env = append(command.Env, "SPATIALFLOW_ADMIN=")
		default:
			command.Env = append(command.Env, e.Name+"="+e.Value)
		}
	}
	out, err := command.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatalf("%s: %v (make build)", at, err)
	}
	said := ""
	for lines := bufio.NewScanner(out); lines.Scan(); {
		said += lines.Text() + "\n"
		if strings.Contains(lines.Text(), "waiting for nats") {
			said = ""
			break
		}
	}
	_ = command.Process.Kill()
	_ = command.Wait()
	if said != "" && !notHere.MatchString(said) || ctx.Err() != nil {
		t.Errorf("%s: %v %v ends with:\n%s", at, c.Command, c.Args, said)
	}
}
