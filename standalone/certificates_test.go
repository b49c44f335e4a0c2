package standalone

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/spatial-flow/spatial-flow/client"
	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/flow/porttest"
	"github.com/spatial-flow/spatial-flow/flow/telemetry/tlstest"
	"github.com/spatial-flow/spatial-flow/gateway/access"
)

// pairOf is a certificate and its key in files of their own, of one authority first and then of another.
type pairOf struct {
	t         *testing.T
	cert, key string
}

func newPair(t *testing.T, of *tlstest.Authority) pairOf {
	t.Helper()
	dir := t.TempDir()
	p := pairOf{t, filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")}
	p.take(of)
	return p
}

// take replaces the files one after the other, as one who copies them does.
func (p pairOf) take(of *tlstest.Authority) {
	p.t.Helper()
	cert, key := of.Issue("127.0.0.1")
	copyFiles(p.t, p.cert, cert)
	copyFiles(p.t, p.key, key)
}

// copyFiles makes a file of others.
func copyFiles(t *testing.T, to string, from ...string) {
	t.Helper()
	var all []byte
	for _, file := range from {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, data...)
	}
	if err := os.WriteFile(to, all, 0o600); err != nil {
		t.Fatal(err)
	}
}

// viewed is what a viewer got.
type viewed struct {
	film, camera atomic.Uint64 // the newest frame of each
	lost         atomic.Int64  // connections
}

// view watches a gateway, with the token of a file, until the test ends.
func view(t *testing.T, address string, config *tls.Config, token string) *viewed {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	transport := &http.Transport{TLSClientConfig: config}
	c, err := client.New("https://"+address, client.Options{HTTP: &http.Client{Transport: transport}, Token: client.TokenFile(token)})
	if err != nil {
		t.Fatal(err)
	}
	s, ended := new(viewed), make(chan struct{})
	t.Cleanup(func() { cancel(); <-ended; transport.CloseIdleConnections() })
	go func() {
		defer close(ended)
		for event, err := range c.Events(ctx, api.Watch{Sources: []string{"film", "camera"}}) {
			switch {
			case err != nil:
				t.Errorf("a viewer: %v", err)
			case event.Lost != nil && ctx.Err() == nil:
				s.lost.Add(1)
				t.Logf("a viewer is dropped: %v", event.Lost)
			case event.Scene != nil && event.Scene.Frame.Source == "film":
				s.film.Store(event.Scene.Frame.Seq)
			case event.Scene != nil:
				s.camera.Store(event.Scene.Frame.Seq)
			}
		}
	}()
	return s
}

// mayView says whether a gateway takes the token of a file.
func mayView(t *testing.T, address string, config *tls.Config, token string) bool {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: config}
	defer transport.CloseIdleConnections()
	_, err := client.Dial(t.Context(), "https://"+address, client.Options{HTTP: &http.Client{Transport: transport}, Token: client.TokenFile(token)})
	return err == nil
}

// goesOn waits until a viewer has newer scenes of both sources.
func (s *viewed) goesOn(t *testing.T) {
	t.Helper()
	film, camera := s.film.Load(), s.camera.Load()
	eventually(t, "the viewer gets newer scenes", func() bool { return s.film.Load() > film && s.camera.Load() > camera })
}

// tokens are those of a gateway's file, by name.
type tokens struct {
	t    *testing.T
	file string
	of   map[string]string // entries
}

// add makes a token, takes it into the gateway's file, and puts it into one of its own.
func (k tokens) add(name string) (file string) {
	k.t.Helper()
	token := access.NewToken()
	k.of[name] = fmt.Sprintf("  - {name: %s, sha256: %x, sources: [\"*\"], may: [view]}\n", name, access.Sum(token))
	k.write()
	file = filepath.Join(filepath.Dir(k.file), name)
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		k.t.Fatal(err)
	}
	return file
}

func (k tokens) withdraw(name string) {
	k.t.Helper()
	delete(k.of, name)
	k.write()
}

func (k tokens) write() {
	k.t.Helper()
	text := "tokens:\n"
	for _, e := range k.of {
		text += e
	}
	if err := os.WriteFile(k.file, []byte(text), 0o600); err != nil {
		k.t.Fatal(err)
	}
}

// The certificates of the gateway and of NATS are changed, to those of another authority, and a token, while a film and a camera run and
// two watch: nobody is started again or dropped but who had that token, who goes on with the new one; who comes then has the new
// certificates; and every frame has its scene.
func TestCertificatesAreChangedUnderLoad(t *testing.T) {
	t.Parallel()
	first, second := tlstest.New(t, "first"), tlstest.New(t, "second")
	detect, depth := noCost(t)
	nats, front := newPair(t, first), newPair(t, first)
	d := newClosed(t, "--tls-cert", nats.cert, "--tls-key", nats.key)
	d.ca = filepath.Join(t.TempDir(), "ca.pem") // what programs believe
	copyFiles(t, d.ca, first.CA)
	d.startNATS()
	eventually(t, "the server listens", d.listens)
	d.as("provisioner-a", "provision", "--watch").says("provisioned:")
	detecting := d.as("detect-a", "worker", "--group", "detect", "--model", detect)
	services := []*process{
		detecting, d.as("depth-a", "worker", "--group", "depth", "--model", depth, "--depth-size", "56"), d.as("fuser-a", "fuser"),
	}
	address, may := porttest.Address(t), tokens{t, filepath.Join(t.TempDir(), "tokens.yaml"), map[string]string{}}
	wall, guest := may.add("wall"), may.add("guest")
	services = append(services, d.as("gateway-a", "gateway", "--http", address, "--tls-cert", front.cert, "--tls-key", front.key, "--tokens", may.file))
	eventually(t, "the gateway listens", func() bool { return answersBy(address, first) })
	producer := d.as("producer-a", "producer", "--run", "rotate", "--frames", "600", "--exit-when-done",
		"--source", "film=street:?seed=7&fps=20&size=320x180#mode=lossless", "--source", "camera=street:?seed=8&fps=10&size=320x180#mode=live")
	own := d.connectAs("provisioner-a", "provisioner")
	viewer := view(t, address, first.Client(), wall)
	viewer.goesOn(t)
	renewed := view(t, address, first.Client(), guest)
	renewed.goesOn(t)

	next := may.add("guest-2")
	eventually(t, "the new token is taken", func() bool { return mayView(t, address, first.Client(), next) })
	copyFiles(t, guest, next)
	may.withdraw("guest")
	eventually(t, "the old token is not", func() bool { return renewed.lost.Load() == 1 })
	renewed.goesOn(t)
	if renewed.lost.Load() > 1 || viewer.lost.Load() > 0 {
		t.Errorf("whose token was changed was dropped %d times, the other %d times", renewed.lost.Load(), viewer.lost.Load())
	}

	front.take(second)
	eventually(t, "the gateway has its new certificate", func() bool { return answersBy(address, second) })
	viewer.goesOn(t)

	copyFiles(t, d.ca, first.CA, second.CA)
	nats.take(second)
	d.reload()
	if own.Reconnects() != 0 {
		t.Error("who is connected was dropped")
	}
	copyFiles(t, d.ca, second.CA)
	detecting.kill()
	detecting.run() // comes by the new certificate
	d.connectAs("provisioner-b", "provisioner").Close()
	viewer.goesOn(t)
	late := view(t, address, second.Client(), wall)
	late.goesOn(t)

	endsAlone(t, producer, services)
	if lost := viewer.lost.Load() + late.lost.Load(); lost > 0 {
		t.Errorf("viewers were dropped %d times", lost)
	}
	scenes, _ := storedScenes(t, own, 600)
	for _, s := range scenes {
		if len(s.Missing) > 0 || len(s.Errors) > 0 {
			t.Errorf("scene %s lacks %v: %v", s.Frame, s.Missing, s.Errors)
		}
	}
}

// answersBy says whether an address shows a certificate of an authority.
func answersBy(address string, a *tlstest.Authority) bool {
	conn, err := tls.Dial("tcp", address, a.Client())
	if err == nil {
		conn.Close()
	}
	return err == nil
}

// A server whose certificate does not match is refused by every program at once, with one line that says so.
func TestEveryProgramRefusesAWrongCertificate(t *testing.T) {
	t.Parallel()
	right, wrong := tlstest.New(t, "right"), tlstest.New(t, "wrong")
	detect, _ := noCost(t)
	pair := newPair(t, right)
	d := newClosed(t, "--tls-cert", pair.cert, "--tls-key", pair.key)
	d.ca = wrong.CA
	d.startNATS()
	eventually(t, "the server listens", d.listens)
	for name, arguments := range map[string][]string{
		"provisioner-a": {"provision"},
		"producer-a":    {"producer", "--source", "film=street:#mode=lossless"},
		"detect-a":      {"worker", "--group", "detect", "--model", detect},
		"fuser-a":       {"fuser"},
		"gateway-a":     {"gateway", "--http", "127.0.0.1:0"},
	} {
		p := d.as(name, arguments[0], arguments[1:]...)
		err := <-p.ended
		p.ended <- nil
		if said := p.output.String(); err == nil || strings.Count(said, "\n") != 1 || !strings.Contains(said, "the server's certificate: x509: certificate signed by unknown authority") {
			t.Errorf("%s: %v\n%s", arguments[0], err, said)
		}
	}
}

// Programs in Python read scenes by TLS: of the authority they are told by OpenSSL's own variable.
func TestPythonByTLS(t *testing.T) {
	t.Parallel()
	a := tlstest.New(t, "authority")
	pair := newPair(t, a)
	d := newClosed(t, "--tls-cert", pair.cert, "--tls-key", pair.key, "--reader", "wall=cam1")
	d.startNATS()
	eventually(t, "the server listens", d.listens)
	login, err := os.ReadFile(filepath.Join(d.users, "wall-a"))
	if err != nil {
		t.Fatal(err)
	}
	user, password, _ := strings.Cut(string(bytes.TrimSpace(login)), "\n")
	packages := fixture(t, pythonPackages)
	for _, test := range []struct{ name, ca, says string }{{"its authority", a.CA, "reading scenes.live"}, {"another one", tlstest.New(t, "other").CA, "CERTIFICATE_VERIFY_FAILED"}} {
		p := d.start("read_scenes.py", func() *exec.Cmd {
			command := exec.Command("python3", filepath.Join("..", "examples", "python", "read_scenes.py"), "cam1")
			command.Env = append(os.Environ(), "PYTHONPATH="+packages, "PYTHONDONTWRITEBYTECODE=1", "SSL_CERT_FILE="+test.ca,
				"NATS_URL=tls://"+user+":"+password+"@"+strings.TrimPrefix(d.url, "nats://"))
			return command
		})
		p.says(test.says)
	}
}

// Everything in one process by TLS: it says where to look, healthy and drain ask it by its own certificate, and a certificate that can't
// be used ends it before it begins.
func TestUpByTLS(t *testing.T) {
	t.Parallel()
	pair := newPair(t, tlstest.New(t, "authority"))
	detect, depth := noCost(t)
	page, admin := porttest.Address(t), porttest.Address(t)
	start := func(key string) *process {
		arguments := []string{"up", "--source", "street:?size=320x180", "--detect-model", detect, "--depth-model", depth, "--depth-size", "56",
			"--http", page, "--tls-cert", pair.cert, "--tls-key", pair.key, "--base-path", "/spatial-flow", "--admin", admin, "--admin-tls-cert", pair.cert, "--admin-tls-key", key}
		p := (&process{t: t, name: "up", start: func() *exec.Cmd {
			command := exec.Command(os.Args[0], arguments...)
			command.Env = append(os.Environ(), asProgram+"=1")
			return command
		}}).run()
		t.Cleanup(p.kill)
		return p
	}
	up := start(pair.key)
	up.says("watch at https://" + page + "/spatial-flow/ (REST: /spatial-flow/api/v1/sources)")
	for _, command := range []string{"healthy", "drain"} {
		eventually(t, command, func() bool {
			c, _ := program(t, command, "--admin", admin)
			c.Env = append(c.Env, "SPATIALFLOW_ADMIN_TLS_CERT="+pair.cert)
			return c.Run() == nil
		})
	}
	err := <-up.ended
	if up.ended <- nil; err != nil {
		t.Errorf("it ends with %v:\n%s", err, up.output.String())
	}
	_, other := tlstest.New(t, "other").Issue("127.0.0.1")
	wrong := start(other)
	err = <-wrong.ended
	if wrong.ended <- nil; err == nil || !strings.Contains(wrong.output.String(), "--admin-tls-cert") || !strings.Contains(wrong.output.String(), other) {
		t.Errorf("with the key of another it ends with %v:\n%s", err, wrong.output.String())
	}
}
