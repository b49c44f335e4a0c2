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

	"sigs.k8s.io/yaml"
)

// composeService is as much of one as is looked at; `docker compose config` and images-test say the rest.
type composeService struct {
	Image         string
	PullPolicy    string `json:"pull_policy"`
	Build         *struct{ Target string }
	Command       []string
	Environment   map[string]string
	User          string
	ReadOnly      bool     `json:"read_only"`
	CapDrop       []string `json:"cap_drop"`
	SecurityOpt   []string `json:"security_opt"`
	Ports         []string `json:"ports"`
	Volumes       []string `json:"volumes"`
	MemLimit      string   `json:"mem_limit"`
	CPUs          any      `json:"cpus"`
	PidsLimit     int      `json:"pids_limit"`
	Grace         string   `json:"stop_grace_period"`
	Restart       string   `json:"restart"`
	Logging       *struct{ Options map[string]string }
	Healthcheck   *struct{ Test []string }
	DependsOn     map[string]struct{ Condition string } `json:"depends_on"`
	Profiles      []string
	ContainerName string `json:"container_name"`
	Deploy        *struct{}
}

type composeFile struct {
	Services map[string]composeService
	Volumes  map[string]any
}

func compose(t *testing.T) composeFile {
	t.Helper()
	var c composeFile
	if err := yaml.Unmarshal([]byte(file(t, "docker-compose.yml")), &c); err != nil {
		t.Fatal(err)
	}
	if len(c.Services) < 10 {
		t.Fatalf("%d services", len(c.Services))
	}
	return c
}

// target is the image of ours that a service runs; empty for another's.
func (s composeService) target() string {
	name, _, _ := strings.Cut(s.Image, ":")
	target, _ := strings.CutPrefix(name, "spatial-flow-")
	if target == name {
		return ""
	}
	return target
}

func TestComposeServices(t *testing.T) {
	built, run := map[string]int{}, map[string]bool{}
	for name, s := range compose(t).Services {
		if !regexp.MustCompile(`^[1-9]\d*:[1-9]\d*$`).MatchString(s.User) || !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) ||
			!slices.Equal(s.SecurityOpt, []string{"no-new-privileges:true"}) {
			t.Errorf("%s: user %q, read-only %v, without capabilities %v, %v", name, s.User, s.ReadOnly, s.CapDrop, s.SecurityOpt)
		}
		if s.MemLimit == "" || s.PidsLimit == 0 || s.CPUs == nil && s.Deploy == nil || s.Logging == nil || s.Logging.Options["max-size"] == "" {
			t.Errorf("%s: memory %q, processes %d, CPUs %v, log %v", name, s.MemLimit, s.PidsLimit, s.CPUs, s.Logging)
		}
		if s.Grace != "45s" || s.ContainerName != "" {
			t.Errorf("%s: %q to end, named %q: two of one name can't be", name, s.Grace, s.ContainerName)
		}
		if s.Restart != "unless-stopped" {
			t.Errorf("%s: restart %q", name, s.Restart)
		}
		for _, port := range s.Ports {
			if !strings.HasPrefix(port, "127.0.0.1:${") {
				t.Errorf("%s: port %s is open to others, or can't be another", name, port)
			}
		}
		if ours := s.target(); ours != "" {
			run[ours] = true
			if s.Image != "spatial-flow-"+ours+":${VERSION:-"+load(t).Metadata.AppVersion+"}" || s.PullPolicy != "never" {
				t.Errorf("%s: %s, pulled: %s", name, s.Image, s.PullPolicy)
			}
			if s.Build != nil {
				built[ours]++
				if s.Build.Target != ours {
					t.Errorf("%s: %s is built as %s", name, s.Image, s.Build.Target)
				}
			}
		}
		if named := strings.HasSuffix(s.Image, ":latest") || !strings.Contains(s.Image, ":"); named {
			t.Errorf("%s: %s may be another image tomorrow", name, s.Image)
		}
		for needed, how := range s.DependsOn {
			if how.Condition != "service_healthy" {
				t.Errorf("%s waits for %s: %s", name, needed, how.Condition)
			}
		}
		// The exporter's image has nothing to ask itself with.
		if s.Healthcheck == nil && name != "nats-exporter" {
			t.Errorf("%s has no healthcheck", name)
		}
	}
	for image := range run {
		if built[image] != 1 {
			t.Errorf("%s is built by %d services", image, built[image])
		}
	}
	if len(run) != 3 {
		t.Errorf("images %v", run)
	}
}

func TestComposePrograms(t *testing.T) {
	users := map[string]bool{}
	for _, match := range regexp.MustCompile(`user: (\w+), password: \$(\w+)`).FindAllStringSubmatch(file(t, "deploy/compose/nats.conf"), -1) {
		if match[2] != "NATS_"+strings.ToUpper(match[1])+"_PASSWORD" {
			t.Errorf("user %s has the password %s", match[1], match[2])
		}
		users[match[1]] = true
	}
	if len(users) != 7 {
		t.Errorf("users %v", users)
	}
	c := compose(t)
	for name, s := range c.Services {
		if s.target() == "" {
			continue
		}
		checkCommand(t, name, s.target(), s.Command, slices.Collect(maps.Keys(s.Environment)))
		user := s.Environment["SPATIALFLOW_NATS_USER"]
		if want := fmt.Sprintf("${NATS_%s_PASSWORD:?", strings.ToUpper(user)); !users[user] || !strings.HasPrefix(s.Environment["SPATIALFLOW_NATS_PASSWORD"], want) {
			t.Errorf("%s is user %q with the password %q", name, user, s.Environment["SPATIALFLOW_NATS_PASSWORD"])
		}
		if h := s.Healthcheck; h != nil && !slices.Equal(h.Test, []string{"CMD", s.Command[0], "healthy"}) {
			t.Errorf("%s asks its health by %v", name, h.Test)
		}
	}
	for user := range users {
		if !strings.Contains(c.Services["nats"].Environment["NATS_"+strings.ToUpper(user)+"_PASSWORD"], ":?") {
			t.Errorf("the server starts without the password of %s", user)
		}
		if !strings.Contains(file(t, "build/compose.sh"), strings.ToUpper(user)) {
			t.Errorf("make compose makes no password for %s", user)
		}
	}
}

// What is mounted is there, and what Prometheus is told to scrape is a service that has metrics.
func TestComposeFiles(t *testing.T) {
	c := compose(t)
	mounted := 0
	for name, s := range c.Services {
		for _, volume := range s.Volumes {
			from, _, _ := strings.Cut(volume, ":")
			path, ours := strings.CutPrefix(from, "./")
			switch {
			case !ours:
				if _, ok := c.Volumes[from]; !ok {
					t.Errorf("%s: no volume %s", name, from)
				}
			case path == "media" || path == "models": // people's own
			default:
				mounted++
				if _, err := os.Stat(filepath.Join(root, path)); err != nil || !strings.HasSuffix(volume, ":ro") {
					t.Errorf("%s: %s: %v, or it may be written to", name, volume, err)
				}
			}
		}
	}
	if mounted < 5 {
		t.Errorf("%d files and folders are mounted", mounted)
	}
	var prometheus struct {
		ScrapeConfigs []struct {
			JobName string `json:"job_name"`
			DNS     []struct {
				Names []string
				Port  int
			} `json:"dns_sd_configs"`
		} `json:"scrape_configs"`
	}
	if err := yaml.Unmarshal([]byte(file(t, "deploy/compose/prometheus.yml")), &prometheus); err != nil {
		t.Fatal(err)
	}
	scraped := map[string]bool{}
	for _, config := range prometheus.ScrapeConfigs {
		for _, dns := range config.DNS {
			for _, name := range dns.Names {
				scraped[name] = true
				s, ok := c.Services[name]
				admin := fmt.Sprintf(":%d", dns.Port) == s.Environment["SPATIALFLOW_ADMIN"]
				exporter := slices.Contains(s.Command, fmt.Sprintf("-port=%d", dns.Port))
				if !ok || !admin && !exporter {
					t.Errorf("%s has no metrics at port %d", name, dns.Port)
				}
			}
		}
	}
	for name, s := range c.Services {
		if s.Environment["SPATIALFLOW_ADMIN"] != "" && !scraped[strings.TrimSuffix(name, "-gpu")] {
			t.Errorf("nobody scrapes %s", name)
		}
	}
	// The exporter is started as in the chart, and as dashboards and alerts want it.
	if flags := c.Services["nats-exporter"].Command; !slices.Contains(flags, "-prefix=nats") || !slices.Contains(flags, "-jsz=all") || !slices.Contains(flags, "-varz") {
		t.Errorf("the exporter is started with %v", flags)
	}
}
