package standalone

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/flow/service"
)

// selfSigned makes a certificate for an address of this host, which is its own authority.
func selfSigned(t *testing.T, host string) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.ParseIP(host)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	data, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	write := func(name, kind string, bytes []byte) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("cert.pem", "CERTIFICATE", data), write("key.pem", "EC PRIVATE KEY", encoded)
}

// The Python examples as roles of their own, over TLS: the server has nothing to refuse. Who has no password, or does not know the
// authority, is told so.
func TestPythonExamplesAsTheirRoles(t *testing.T) {
	t.Parallel()
	certificate, key := selfSigned(t, "127.0.0.1")
	d := newClosed(t, "--group", "detect,depth,brightness", "--publisher", "yard=cam1", "--reader", "wall=cam1", "--tls-cert", certificate, "--tls-key", key)
	packages := fixture(t, pythonPackages)
	python := func(role string, more []string, script string, arguments ...string) *exec.Cmd {
		command := exec.Command("python3", append([]string{filepath.Join("..", "examples", "python", script)}, arguments...)...)
		command.Env = append(os.Environ(), "PYTHONPATH="+packages, "PYTHONDONTWRITEBYTECODE=1", "NATS_URL="+d.url,
			"NATS_PASSWORD_FILE="+filepath.Join(d.users, role+"-a"), "NATS_INBOX_PREFIX=_INBOX_"+role, "NATS_CA="+certificate)
		command.Env = append(command.Env, more...)
		return command
	}
	detect, depth := noCost(t)
	d.startNATS()
	as := func(user, name string, arguments ...string) *process {
		return d.as(user, name, append(arguments, "--nats-ca", certificate)...)
	}
	as("provisioner-a", "provision", "--watch", "--groups", `[{"name":"detect","slot":1},{"name":"depth","slot":2},{"name":"brightness","slot":3,"need":"optional"}]`).says("provisioned:")
	as("detect-a", "worker", "--group", "detect", "--model", detect)
	as("depth-a", "worker", "--group", "depth", "--model", depth, "--depth-size", "56")
	as("fuser-a", "fuser")
	as("producer-a", "producer", "--ingest")
	d.start("brightness.py", func() *exec.Cmd { return python("brightness", nil, "brightness.py") })
	reader := d.start("read_scenes.py", func() *exec.Cmd { return python("wall", nil, "read_scenes.py", "cam1") })
	reader.says("reading scenes.live.*.cam1")
	picture := filepath.Join(t.TempDir(), "picture.jpg")
	if err := os.WriteFile(picture, grey(t, 320, 240, 90), 0o600); err != nil {
		t.Fatal(err)
	}
	// The user in the environment, and the password alone in the file, are as good.
	data, err := os.ReadFile(filepath.Join(d.users, "yard-b"))
	if err != nil {
		t.Fatal(err)
	}
	_, password, _ := strings.Cut(string(data), "\n")
	alone := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(alone, []byte(password), 0o600); err != nil {
		t.Fatal(err)
	}
	published := func() bool {
		output, err := python("yard", []string{"NATS_USER=yard-b", "NATS_PASSWORD_FILE=" + alone}, "publish.py", "cam1", picture).CombinedOutput()
		if err != nil {
			t.Logf("publish.py: %v\n%s", err, output) // the producer may still be starting
		}
		return err == nil && strings.Contains(string(output), "picture.jpg {")
	}
	eventually(t, "read_scenes.py reads what publish.py publishes", func() bool { return published() && strings.Contains(reader.output.String(), "[") })
	c := service.Connection{NATS: d.url, NATSPasswordFile: filepath.Join(d.users, "provisioner-a"), NATSCA: certificate}
	own, err := c.Connect(t.Context(), "provisioner", quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(own.Close)
	eventually(t, "brightness.py answers", func() bool {
		if !published() {
			return false
		}
		scene, err := own.LastLiveScene(t.Context(), "cam1")
		return err == nil && len(scene.Answers["brightness"]["mean"]) > 0
	})
	other, _ := selfSigned(t, "127.0.0.1")
	for want, environment := range map[string][]string{
		"Authorization Violation":   {"NATS_PASSWORD_FILE=" + filepath.Join(d.users, "wall-a"), "NATS_USER=yard-a"},
		"CERTIFICATE_VERIFY_FAILED": {"NATS_CA=" + other},
	} {
		if output, err := python("yard", environment, "publish.py", "cam1", picture).CombinedOutput(); err == nil || !strings.Contains(string(output), want) {
			t.Errorf("%s: %v\n%s", want, err, output)
		}
	}
	if refused := d.violations(); len(refused) > 0 {
		t.Errorf("the server refused:\n%s", strings.Join(refused, "\n"))
	}
}
