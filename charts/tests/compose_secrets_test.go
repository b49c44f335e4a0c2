package charts_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"sigs.k8s.io/yaml"
)

// docker is one that has no engine: it runs nats-config here, and writes down what it is asked.
const docker = `#!/usr/bin/env bash
printf '%s\n' "$*" >>docker.log
case "$1 ${2:-}" in
"compose config") echo spatial-flow-static:0.1.0 ;;
"compose port") echo "127.0.0.1:$4" ;;
"compose ps") [ ! -e seen ] || echo 0123456789ab ;;
"compose up") ls -di secrets/nats >seen ;; # a folder that is removed and made again is another
"compose exec") [ "$(ls -di secrets/nats)" != "$(cat seen)" ] || cat secrets/nats/users.conf ;;
"run "*)
	while [ "$1" != nats-config ]; do
		case $1 in *target=/users) users=${1#*source=} ;; *target=/nats) nats=${1#*source=} ;; esac
		shift
	done
	shift
	users=${users%,*} nats=${nats%,*}
	set -- "${@/#\/users/$users}"
	exec "$NATS_CONFIG" "${@/#\/nats\//$nats/}"
	;;
esac
`

// checkout is as much of one as make compose reads.
type checkout struct {
	*testing.T
	folder, path, program string
}

func newCheckout(t *testing.T) checkout {
	t.Helper()
	program, err := filepath.Abs(filepath.Join(root, "bin", "nats-config"))
	if err != nil {
		t.Fatal(err)
	}
	c := checkout{t, t.TempDir(), t.TempDir(), program}
	if err := os.Mkdir(filepath.Join(c.folder, "build"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		filepath.Join(c.folder, "build", "compose.sh"): file(t, "build/compose.sh"),
		filepath.Join(c.folder, "docker-compose.yml"):  file(t, "docker-compose.yml"),
		filepath.Join(c.path, "docker"):                docker,
	} {
		if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// make is make compose with settings; it returns what that said, and what docker was asked.
func (c checkout) make(settings ...string) (said, asked string) {
	c.Helper()
	_ = os.Remove(filepath.Join(c.folder, "docker.log"))
	command := exec.Command(filepath.Join(c.folder, "build", "compose.sh"))
	command.Env = append([]string{"PATH=" + c.path + ":" + os.Getenv("PATH"), "NATS_CONFIG=" + c.program, "GIT_CEILING_DIRECTORIES=" + filepath.Dir(c.folder)}, settings...)
	out, err := command.CombinedOutput()
	if err != nil {
		c.Fatalf("make compose %v: %v (make build)\n%s", settings, err, out)
	}
	return string(out), c.read("docker.log")
}

func (c checkout) read(name string) string {
	c.Helper()
	data, err := os.ReadFile(filepath.Join(c.folder, name))
	if err != nil {
		c.Fatal(err)
	}
	return string(data)
}

// secrets are all files of the folder of secrets.
func (c checkout) secrets() map[string]string {
	c.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(filepath.Join(c.folder, "secrets"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(c.folder, path)
		all[name] = c.read(name)
		return err
	})
	if err != nil {
		c.Fatal(err)
	}
	return all
}

func TestMakeComposeSecrets(t *testing.T) {
	t.Parallel()
	c := newCheckout(t)
	older := "SOURCE='street:?seed=4'\nNATS_WORKER_PASSWORD='pworker'\nexport NATS_MONITOR_PASSWORD='pmonitor'\nGRAFANA_PASSWORD='pgrafana'\n"
	if err := os.WriteFile(filepath.Join(c.folder, ".env"), []byte(older), 0o600); err != nil {
		t.Fatal(err)
	}
	said, _ := c.make()
	if settings := c.read(".env"); strings.Contains(settings, "PASSWORD") || !strings.Contains(settings, "SOURCE='street:?seed=4'\n") {
		t.Errorf(".env is now:\n%s", settings)
	}
	if c.read("secrets/grafana") != "pgrafana\n" {
		t.Error("Grafana, which knows its password, is given another")
	}

	// Nobody else comes to the files; what is mounted can be read by the user of the containers, and is of one role.
	for name, want := range map[string]fs.FileMode{
		"secrets": 0o700, "secrets/users": 0o700, "secrets/users/detect-a": 0o600, "secrets/roles/detect": 0o644, "secrets/grafana": 0o644,
		"secrets/tokens": 0o755, "secrets/tokens/tokens.yaml": 0o644, "secrets/token": 0o600,
		"secrets/nats": 0o755, "secrets/nats/nats-server.conf": 0o644, "secrets/nats/users.conf": 0o644, ".env": 0o600,
	} {
		if info, err := os.Stat(filepath.Join(c.folder, name)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v %v, want %v", name, info.Mode(), err, want)
		}
	}
	for _, secret := range compose(t).Secrets {
		c.read(strings.Replace(secret.File, "${SECRETS}", "secrets", 1))
	}
	for _, role := range composeRoles {
		if c.read("secrets/roles/"+role) != c.read("secrets/users/"+role+"-a") {
			t.Errorf("%s is another", role)
		}
	}
	first := c.secrets()
	for name, secret := range first {
		lines := strings.Split(strings.TrimSpace(secret), "\n")
		if strings.HasPrefix(name, "secrets/nats/") || strings.HasPrefix(name, "secrets/tokens/") {
			continue
		}
		if password := lines[len(lines)-1]; strings.Contains(said, password) || strings.Contains(first["secrets/nats/nats-server.conf"]+first["secrets/nats/users.conf"]+first["secrets/tokens/tokens.yaml"], password) {
			t.Errorf("what is in %s is told to others", name)
		}
	}

	said, asked := c.make()
	for name, secret := range c.secrets() {
		if secret != first[name] {
			t.Errorf("made again, %s is another", name)
		}
	}
	if strings.Contains(asked, "kill") || strings.Contains(asked, "--force-recreate") || strings.Contains(said, "compose:") {
		t.Errorf("made again, it asks for\n%s and says\n%s", asked, said)
	}
}

// A container has the file mounted, not its name: what is changed must be changed in it.
func TestMakeComposeRenew(t *testing.T) {
	t.Parallel()
	c := newCheckout(t)
	c.make()
	mounted, err := os.Open(filepath.Join(c.folder, "secrets/roles/detect"))
	if err != nil {
		t.Fatal(err)
	}
	defer mounted.Close()
	for _, step := range []struct{ renew, renewed, kept, is string }{
		{"*-a", "a", "b", "detect-b"}, {"*-b", "b", "a", "detect-a"}, {"depth-a", "", "ab", "detect-a"}, {"detect-a,*-b", "ab", "", "detect-a"},
	} {
		before := c.secrets()
		said, asked := c.make("RENEW=" + step.renew)
		if strings.Count(asked, "kill -s HUP nats\n") != 1 || strings.Contains(asked, "compose up") || !strings.Contains(said, "new passwords: ") {
			t.Errorf("RENEW=%s says\n%s and asks for\n%s", step.renew, said, asked)
		}
		after := c.secrets()
		for variant := range strings.SplitSeq(step.renewed+step.kept, "") {
			name := "secrets/users/detect-" + variant
			if (before[name] != after[name]) != strings.Contains(step.renewed, variant) {
				t.Errorf("RENEW=%s: %s changed: %v", step.renew, name, before[name] != after[name])
			}
		}
		var now bytes.Buffer
		if _, err := mounted.Seek(0, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := now.ReadFrom(mounted); err != nil {
			t.Fatal(err)
		}
		if now.String() != after["secrets/users/"+step.is] {
			t.Errorf("RENEW=%s: its container sees another than %s", step.renew, step.is)
		}
	}
}

// Containers that run have a folder mounted that nobody writes to any more.
func TestMakeComposeSecretsRemoved(t *testing.T) {
	t.Parallel()
	c := newCheckout(t)
	if _, asked := c.make(); strings.Contains(asked, "--force-recreate") {
		t.Errorf("at first it asks for\n%s", asked)
	}
	for _, settings := range [][]string{nil, {"RENEW=*-a"}} {
		if err := os.Rename(filepath.Join(c.folder, "secrets"), filepath.Join(t.TempDir(), "away")); err != nil {
			t.Fatal(err)
		}
		if _, asked := c.make(settings...); !strings.Contains(asked, "compose up -d --build --wait --force-recreate") {
			t.Errorf("with %v containers that have another folder mounted stay:\n%s", settings, asked)
		}
	}
}

func TestMakeComposeToken(t *testing.T) {
	t.Parallel()
	c := newCheckout(t)
	said, _ := c.make("ANONYMOUS=view,predict")
	if !strings.Contains(said, "everybody: view,predict; more: those with a token") {
		t.Errorf("it says\n%s", said)
	}
	token := strings.TrimSuffix(c.read("secrets/token"), "\n")
	if !regexp.MustCompile(`^sf_[A-Za-z0-9_-]{43}$`).MatchString(token) {
		t.Errorf("%d letters are no token", len(token))
	}
	var known struct {
		Tokens []struct {
			Name, SHA256 string
			Sources, May []string
		}
	}
	if err := yaml.UnmarshalStrict([]byte(c.read("secrets/tokens/tokens.yaml")), &known); err != nil {
		t.Fatal(err)
	}
	if len(known.Tokens) != 1 || known.Tokens[0].SHA256 != fmt.Sprintf("%x", sha256.Sum256([]byte(token))) || !slices.Equal(known.Tokens[0].Sources, []string{"*"}) ||
		!slices.Equal(known.Tokens[0].May, []string{"view", "predict", "status"}) {
		t.Errorf("the gateway knows %+v", known.Tokens)
	}
	if said, _ = c.make("ANONYMOUS="); !strings.Contains(said, "Who may      those with a token") {
		t.Errorf("it says\n%s", said)
	}
	gateway := compose(t).Services["gateway"]
	if !slices.Contains(gateway.Volumes, "${SECRETS}/tokens:/etc/spatial-flow:ro") || gateway.Environment["SPATIALFLOW_TOKENS"] != "/etc/spatial-flow/tokens.yaml" ||
		gateway.Environment["SPATIALFLOW_ANONYMOUS"] != "${ANONYMOUS:-}" {
		t.Errorf("the gateway has %v and %v", gateway.Volumes, gateway.Environment)
	}
}

func TestComposeNATSConfiguration(t *testing.T) {
	t.Parallel()
	c := newCheckout(t)
	c.make("WORKER_GROUPS=detect,depth,third", "NATS_MAX_FILE=7GB")
	o, err := server.ProcessConfigFile(filepath.Join(c.folder, "secrets/nats/nats-server.conf"))
	if err != nil {
		t.Fatal(err)
	}
	if o.MaxPayload != 4<<20 || o.Port != 4222 || o.HTTPPort != 8222 || !o.JetStream || o.JetStreamMaxStore != 7e9 && o.JetStreamMaxStore != 7<<30 || o.JetStreamMaxMemory <= 0 {
		t.Errorf("payload %d, ports %d and %d, JetStream %v of %d bytes", o.MaxPayload, o.Port, o.HTTPPort, o.JetStream, o.JetStreamMaxStore)
	}
	if nats := compose(t).Services["nats"]; !slices.Contains(nats.Volumes, "nats:"+filepath.Dir(o.StoreDir)) || !slices.Contains(nats.Command, "/etc/nats/nats-server.conf") {
		t.Errorf("it stores in %s, which is none of %v, or it runs on another configuration: %v", o.StoreDir, nats.Volumes, nats.Command)
	}
	var users []string
	for _, user := range o.Users {
		users = append(users, user.Username)
		if !strings.HasPrefix(user.Password, "$2a$") || user.Permissions == nil || user.Permissions.Publish == nil || user.Permissions.Subscribe == nil {
			t.Errorf("%s: in the clear, or free", user.Username)
		}
	}
	for _, role := range []string{"provisioner", "producer", "detect", "depth", "third", "fuser", "gateway", "publisher", "monitor"} {
		for _, variant := range []string{"-a", "-b"} {
			if !slices.Contains(users, role+variant) {
				t.Errorf("no user %s", role+variant)
			}
		}
	}
	if len(users) != 18 || o.NoAuthUser != "" {
		t.Errorf("users %v, and who says nothing is %q", users, o.NoAuthUser)
	}
	c.read("secrets/roles/third")
}
