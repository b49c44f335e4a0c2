package charts_test

import (
	"encoding/json"
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
	Secrets       []composeSecret
	MemLimit      string `json:"mem_limit"`
	CPUs          any    `json:"cpus"`
	PidsLimit     int    `json:"pids_limit"`
	Grace         string `json:"stop_grace_period"`
	Restart       string `json:"restart"`
	Logging       *struct{ Options map[string]string }
	Healthcheck   *struct{ Test []string }
	DependsOn     map[string]struct{ Condition string } `json:"depends_on"`
	Profiles      []string
	ContainerName string `json:"container_name"`
	Deploy        *struct{}
}

// composeSecret is one that a container sees as /run/secrets/<Target>.
type composeSecret struct{ Source, Target string }

func (s *composeSecret) UnmarshalJSON(data []byte) error {
	if json.Unmarshal(data, &s.Source) == nil {
		s.Target = s.Source
		return nil
	}
	type long composeSecret
	return json.Unmarshal(data, (*long)(s))
}

type composeFile struct {
	Services map[string]composeService
	Volumes  map[string]any
	Secrets  map[string]struct{ File string }
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

// composeRoles are the roles of the services at NATS.
var composeRoles = map[string]string{
	"provision": "provisioner", "producer": "producer", "detect": "detect", "depth": "depth", "fuser": "fuser", "gateway": "gateway",
	"detect-gpu": "detect", "depth-gpu": "depth",
}

func TestComposePrograms(t *testing.T) {
	c := compose(t)
	for name, s := range c.Services {
		for variable := range s.Environment {
			if strings.HasSuffix(variable, "PASSWORD") || strings.HasSuffix(variable, "TOKEN") {
				t.Errorf("%s: docker inspect shows %s", name, variable)
			}
		}
		if s.target() == "" {
			continue
		}
		checkCommand(t, name, s.target(), s.Command, slices.Collect(maps.Keys(s.Environment)))
		role := composeRoles[name]
		if !slices.Equal(s.Secrets, []composeSecret{{role, "nats"}}) || c.Secrets[role].File != "${SECRETS}/roles/"+role ||
			s.Environment["SPATIALFLOW_NATS_PASSWORD_FILE"] != "/run/secrets/nats" {
			t.Errorf("%s should be %q at NATS, and has %v of %v", name, role, s.Secrets, c.Secrets)
		}
		if group := slices.Index(s.Command, "--group"); group >= 0 && s.Command[group+1] != role {
			t.Errorf("%s: %v as %s", name, s.Command, role)
		}
		if h := s.Healthcheck; h != nil && !slices.Equal(h.Test, []string{"CMD", s.Command[0], "healthy"}) {
			t.Errorf("%s asks its health by %v", name, h.Test)
		}
	}
	if nats := c.Services["nats"]; len(nats.Secrets) != 0 || len(nats.Environment) != 0 {
		t.Errorf("the server is given %v and %v", nats.Secrets, nats.Environment)
	}
}

// What is mounted is there, and what Prometheus is told to scrape is a service that has metrics.
func TestComposeFiles(t *testing.T) {
	c := compose(t)
	mounted := 0
	for name, s := range c.Services {
		for _, volume := range s.Volumes {
			if folder, ok := strings.CutPrefix(volume, "${SECRETS"); ok { // as make compose makes it
				if !strings.HasSuffix(folder, ":ro") {
					t.Errorf("%s may write to %s", name, volume)
				}
				continue
			}
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
	if mounted < 4 {
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
